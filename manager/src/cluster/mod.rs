//! The registry's way to disk and to other managers: what `festoon-cluster` leaves to the shell.

mod anew;
mod audit_file;
mod check;
mod current;
mod disk;
mod https;
mod member;
mod peers;
mod program;
mod question;
mod renewal;
mod routes;
mod stored;
mod supervisor;
mod take_part;
mod threads;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use festoon_cluster::StartError;
use festoon_cluster::storage::StorageError;
use festoon_cluster::storage::snapshot::SnapshotError;
use festoon_control::registry::{State, UnixMs};
use festoon_proto::ManagerId;
use festoon_proto::epoch::{Roster, RosterEntry};
use tokio::sync::{mpsc, watch};

use crate::data_dir::{DataDir, DataDirError, Identity};
use crate::pki::Credentials;
use crate::vault::Vault;

pub use anew::{AnewError, Kept, part};
pub use check::{Part, check, end_with};
pub use current::{Cluster, Promotion, Rejoined};
pub use disk::{DiskError, open};
pub use festoon_cluster::{Counts, Health, MemberHealth, ProposeError, Removal, Role};
pub use https::{Https, Known, NoWay};
pub(crate) use member::{full_member, member, member_or_expired};
pub use peers::{introductions, write as write_roster, write_introductions};
pub use program::announce_program;
pub use routes::{NO_SECRETS, consensus_router, join_router, router};
pub use stored::stored_state;
pub use supervisor::Supervisor;
pub use threads::Threads;

/// Now, for commands.
#[expect(clippy::disallowed_methods, reason = "commands carry the time, so that applying them needs none")]
pub fn unix_now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The cluster can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file is missing or damaged.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The registry's file can't be opened.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What is in it can't be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It can't take part.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It is damaged, and no other manager can replace it now.
    #[error(
        "{damage}. And {refused}; then start this one again. If there is no other, restore a snapshot with `festoon-manager snapshots restore` and another --data-dir"
    )]
    NoOtherCopy {
        /// What is wrong with it.
        damage: Box<BuildError>,
        /// Why there is no other.
        refused: Box<AnewError>,
    },
}

impl BuildError {
    /// Whether the copy of the registry is of no use any more.
    const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Disk(DiskError::Damaged { .. })
                | Self::Storage(
                    StorageError::File(_)
                        | StorageError::Entry(_)
                        | StorageError::Record(_)
                        | StorageError::Snapshot(SnapshotError::Damaged | SnapshotError::Foreign)
                )
        )
    }
}

/// What the registry needs of the rest of the program.
#[derive(Debug)]
pub struct Parts {
    /// The registry.
    pub cluster: Cluster,
    /// The way to the other managers.
    pub managers: Https,
    /// Its secrets.
    pub vault: Vault,
    /// Who opens the registry again when it has to be; to be run beside everything else.
    pub supervisor: Supervisor,
}

fn known(roster: Option<&Roster>) -> HashMap<ManagerId, Known> {
    let managers = roster.into_iter().flat_map(|roster| &roster.managers);
    let known = |entry: &RosterEntry| Known { https: entry.https.clone(), signing_key: entry.signing_key };
    managers.map(|(id, entry)| (*id, known(entry))).collect()
}

/// Opens the registry and takes part in it, on `threads`. Must run inside tokio.
pub async fn build(
    data: &DataDir,
    identity: &Identity,
    credentials: &Credentials,
    threads: Threads,
) -> Result<Parts, BuildError> {
    let vault = Vault::load(data, identity.manager)?;
    let states = watch::Sender::new(Arc::new(State::default()));
    let roster = peers::load(data)?;
    let managers = Https::new(credentials, states.subscribe(), known(roster.as_ref()), threads);
    let mut identity = identity.clone();
    let member = supervisor::open_or_repair(data, &mut identity, &managers).await?;
    let (orders, waiting) = mpsc::channel(1);
    let cluster = Cluster::new(member, states, orders, (identity.manager, roster));
    let supervisor = Supervisor::new(data.clone(), identity, managers.clone(), cluster.clone(), waiting);
    Ok(Parts { cluster, managers, vault, supervisor })
}
