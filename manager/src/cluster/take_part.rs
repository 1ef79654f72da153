//! Opening the registry on disk: whose it is, and what is done if it is another's.

use festoon_cluster::storage::{Execution, Label, Storage};
use festoon_cluster::{MemberId, StartError};

use super::check::check_apart;
use super::current::Member;
use super::{BuildError, Https, disk};
use crate::data_dir::{DataDir, Identity};

/// Opens the registry and takes part in it as `identity` says. Must run inside tokio.
///
/// The label in the file wins if it is newer, for it came with the file, in one step; the identity does if it is newer, and
/// then the file is kept aside.
pub(super) async fn take_part(data: &DataDir, identity: &mut Identity, transport: Https) -> Result<Member, BuildError> {
    check_apart(data).await?;
    let mut storage = Storage::open(disk::open(&data.registry())?, Execution::Threads).await?;
    if let Some(label) = storage.labels.get() {
        check(identity, label)?;
        let (in_file, in_identity) = ((label.epoch, label.member.incarnation), (identity.epoch, identity.incarnation));
        if in_file > in_identity {
            (identity.epoch, identity.incarnation) = in_file;
            data.write_identity(identity)?;
        }
        if in_file < in_identity {
            drop(storage);
            data.put_registry_aside("old")?;
            storage = Storage::open(disk::open(&data.registry())?, Execution::Threads).await?;
        }
    }
    if storage.labels.get().is_none() {
        storage.labels.set(label_of(identity)).await?;
    }
    let Storage { log, machine, .. } = storage;
    let (me, epoch) = (member_of(identity), identity.epoch);
    Ok(Member::start(festoon_cluster::Identity { me, epoch }, log, machine, transport).await?)
}

fn check(identity: &Identity, label: Label) -> Result<(), StartError> {
    match label.cluster == identity.cluster && label.member.manager == identity.manager {
        true => Ok(()),
        false => Err(StartError::Raft(
            "registry.redb is another manager's than identity.toml: put the right file back".to_owned(),
        )),
    }
}

/// Whose a registry of this manager is.
pub(super) fn label_of(identity: &Identity) -> Label {
    Label { cluster: identity.cluster, member: member_of(identity), epoch: identity.epoch }
}

/// What this manager is to consensus.
pub(super) fn member_of(identity: &Identity) -> MemberId {
    MemberId { manager: identity.manager, incarnation: identity.incarnation }
}
