//! Opening the registry on disk: whose it is, and what is done if it is another's.

use festoon_cluster::storage::{Execution, Label, Storage};
use festoon_cluster::{MemberId, Settings, StartError};

use super::check::{Part, check_apart};
use super::current::Member;
use super::{BuildError, DiskError, Https, audit_file, disk, peers};
use crate::data_dir::{DataDir, Identity};

/// Opens the registry and takes part in it as `identity` says, on the threads of consensus.
///
/// The label in the file wins if it is newer, for it came with the file, in one step; the identity does if it is newer, and
/// then the file is kept aside.
pub(super) async fn take_part(data: &DataDir, identity: &mut Identity, transport: Https) -> Result<Member, BuildError> {
    let threads = transport.threads().clone();
    threads.within(open(data, identity, transport)).await
}

async fn open(data: &DataDir, identity: &mut Identity, transport: Https) -> Result<Member, BuildError> {
    expect_registry(data, identity)?;
    check_apart(data, Part::Registry).await?;
    let mut storage =
        Storage::open(disk::open(&data.registry())?, audit_file::opening(data), Execution::Threads).await?;
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
            storage =
                Storage::open(disk::open(&data.registry())?, audit_file::opening(data), Execution::Threads).await?;
        }
    }
    if storage.labels.get().is_none() {
        storage.labels.set(label_of(identity)).await?;
    }
    if !identity.has_registry {
        identity.has_registry = true;
        // `init` writes it when all else is done.
        if data.has_identity() {
            data.write_identity(identity)?;
        }
    }
    let Storage { log, machine, .. } = storage;
    let (me, epoch, later) = (member_of(identity), identity.epoch, identity.fenced_by);
    let (signing_key, roster) = (data.signing_key()?, peers::load(data)?);
    let introductions = peers::introductions(data)?;
    let identity = festoon_cluster::Identity { me, epoch, later, signing_key, introductions, roster };
    Ok(Member::start(settings(), identity, log, machine, transport).await?)
}

/// Tests in this crate make up the time.
fn settings() -> Settings {
    Settings { takes_any_date: cfg!(test), ..Settings::default() }
}

/// A registry that is gone must not become an empty one: this manager would vote as if it had promised nothing.
fn expect_registry(data: &DataDir, identity: &Identity) -> Result<(), DiskError> {
    let path = data.registry();
    let is_there = path.metadata().is_ok_and(|file| file.len() > 0);
    match is_there || !identity.has_registry {
        true => Ok(()),
        false => Err(DiskError::Damaged { path, reason: "it is missing or empty".to_owned() }),
    }
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
