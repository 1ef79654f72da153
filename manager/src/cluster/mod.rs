//! The registry's way to disk and to other managers: what `festoon-cluster` leaves to the shell.

mod disk;
mod https;
mod routes;

use std::time::{SystemTime, UNIX_EPOCH};

use festoon_cluster::storage::{Execution, Storage, StorageError};
use festoon_cluster::{MemberId, StartError};
use festoon_control::registry::UnixMs;

use crate::data_dir::{DataDir, DataDirError, Identity};
use crate::pki::Credentials;
use crate::vault::Vault;

pub use disk::{DiskError, open};
pub use festoon_cluster::{Health, MemberHealth, ProposeError, Role};
pub use https::{Https, NoWay};
pub(crate) use routes::authenticate;
pub use routes::{NO_SECRETS, router};

/// The registry of this manager.
pub type Cluster = festoon_cluster::Cluster<Https>;

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
    /// The epoch of the cluster.
    pub epoch: u32,
}

/// Opens the registry and takes part in it. Must run inside tokio.
pub async fn build(data: &DataDir, identity: &Identity, credentials: &Credentials) -> Result<Parts, BuildError> {
    let vault = Vault::load(data, identity.manager)?;
    let Storage { log, machine, .. } = Storage::open(open(&data.registry())?, Execution::Threads).await?;
    let managers = Https::new(credentials, machine.watch());
    let me = MemberId { manager: identity.manager, incarnation: identity.incarnation };
    let epoch = identity.epoch;
    let cluster = Cluster::start(festoon_cluster::Identity { me, epoch }, log, machine, managers.clone()).await?;
    Ok(Parts { cluster, managers, vault, epoch })
}
