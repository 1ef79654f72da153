//! The registry on a disk: the log, the vote and a snapshot, in one redb database.
//!
//! [`Storage::open`] takes the database, so where its bytes are is the business of the caller. An entry, a vote and a
//! snapshot that was acknowledged is on disk, and every value has a checksum, so that a damaged one is found and named.

mod disk;
mod error;
mod execution;
mod log;
mod machine;
mod seal;
mod slot;
pub mod snapshot;
mod tables;
mod tail;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use festoon_proto::ClusterId;
use openraft::LogId;
use redb::Database;
use serde::{Deserialize, Serialize};

use crate::types::MemberId;
use disk::Disk;
use slot::Slot;
use snapshot::{Contents, SnapshotError};
use tables::{Change, Record, View};
use tail::Tail;

pub use error::StorageError;
pub use execution::Execution;
pub use log::{LogReader, LogStore};
pub use machine::{Builder, Machine};

/// The format of the tables that this version writes, and the newest it reads.
const FORMAT: u32 = 1;

/// Whose registry it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member whose vote and log this is.
    pub member: MemberId,
    /// The epoch of the cluster in which the log was begun.
    pub epoch: u32,
}

/// The registry on a disk, in its parts. It is closed when all of them are gone.
pub struct Storage {
    /// Whose it is.
    pub labels: Labels,
    /// The log and the vote.
    pub log: LogStore,
    /// The state.
    pub machine: Machine,
}

/// Where a [`Label`] is kept.
pub struct Labels {
    disk: Disk,
    label: Option<Label>,
}

impl Storage {
    /// Opens the registry in `database`, or begins one if that is empty. Reads and checks all of it. Must run inside tokio.
    pub async fn open(database: Database, execution: Execution) -> Result<Self, StorageError> {
        let check = move || check_pages(database);
        let disk = Disk::new(execution.run(check).await?, execution);
        let label = open_records(&disk).await?;
        let (slot, found) = Slot::open(disk.clone()).await?;
        let contents = match found {
            Some((_, bytes)) => disk.execution().run(move || Ok(Contents::decode(&bytes)?)).await?,
            None => Contents::default(),
        };
        let last_applied = contents.last_applied;
        let stored = disk.read(move |view| open_log(view, last_applied)).await?;
        let log = LogStore::new(disk.clone(), stored, slot.watch());
        let machine = Machine::new(disk.clone(), Arc::new(slot), contents);
        Ok(Self { labels: Labels { disk, label }, log, machine })
    }
}

impl Labels {
    /// Whose registry it is; none if it is new.
    pub const fn get(&self) -> Option<Label> {
        self.label
    }

    /// Says whose it is. On disk when this returns.
    pub async fn set(&mut self, label: Label) -> Result<(), StorageError> {
        self.disk.write(vec![Change::record(Record::Label, &label)?]).await?;
        self.label = Some(label);
        Ok(())
    }
}

/// Has redb compare its pages with their checksums.
fn check_pages(mut database: Database) -> Result<Database, StorageError> {
    if database.check_integrity()? { Ok(database) } else { Err(StorageError::File(None)) }
}

async fn open_records(disk: &Disk) -> Result<Option<Label>, StorageError> {
    let read = |view: &View| Ok((view.record::<u32>(Record::Format)?, view.record(Record::Label)?));
    match disk.read(read).await? {
        (Some(found), _) if found > FORMAT => Err(StorageError::Newer { found, known: FORMAT }),
        (Some(_), label) => Ok(label),
        (None, _) => disk.write(vec![Change::record(Record::Format, &FORMAT)?]).await.map(|()| None),
    }
}

/// Reads the whole log, which Raft keeps short, and sees that no entry is missing.
fn open_log(view: &View, snapshot: Option<LogId<MemberId>>) -> Result<log::Stored, StorageError> {
    let purged: Option<LogId<MemberId>> = view.record(Record::Purged)?;
    if purged > snapshot {
        return Err(SnapshotError::Damaged.into());
    }
    let entries = view.entries(0..=u64::MAX)?;
    let first = purged.map_or(0, |purged| purged.index + 1);
    for (expected, entry) in (first..).zip(&entries) {
        if entry.log_id.index != expected {
            return Err(StorageError::Entry(expected));
        }
    }
    let vote = view.record(Record::Vote)?;
    let committed = view.record::<Option<_>>(Record::Committed)?.flatten();
    Ok(log::Stored { vote, committed, tail: Tail::new(purged, entries) })
}
