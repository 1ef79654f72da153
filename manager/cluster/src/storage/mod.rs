//! The registry on a disk: the log, the vote and a snapshot, in one redb database, and the audit log in another.
//!
//! [`Storage::open`] takes the databases, so where their bytes are is the business of the caller. An entry, a vote and a
//! snapshot that was acknowledged is on disk, and every value has a checksum, so that a damaged one is found and named.
//! The audit log has a database of its own, for it is much larger and nobody waits for it at a start.

mod audit;
mod disk;
mod error;
mod execution;
mod log;
mod machine;
mod seal;
mod seed;
mod slot;
pub mod snapshot;
mod tables;
mod tail;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use festoon_control::registry::State;
use festoon_control::registry::audit::Entry;
use festoon_proto::{ClusterId, EpochId};
use openraft::LogId;
use redb::Database;
use serde::{Deserialize, Serialize};

use crate::types::MemberId;
use disk::Disk;
use slot::{Head, Slot};
use snapshot::{Contents, SnapshotError};
use tables::{Change, Record, View};
use tail::Tail;

pub use audit::{AuditLog, KEPT as AUDIT_KEPT, Opening, Whole};
pub use disk::Flush;
pub use error::{CURE, StorageError};
pub use execution::Execution;
pub use log::{LogReader, LogStore};
pub use machine::{Builder, Machine, Witness};
#[cfg(test)]
pub(crate) use seed::seed_members;
pub use seed::{Seed, next_epoch, next_index, seed};

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
    pub epoch: EpochId,
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
    /// Opens the registry in `database`, or begins one if that is empty. Reads and checks all of it. The audit log is in the
    /// database that `opening` gives in its time. Must run inside tokio.
    pub async fn open(database: Database, opening: Opening, execution: Execution) -> Result<Self, StorageError> {
        let audit = AuditLog::open(opening, execution.clone());
        let (database, found) = execution.run(move || read_all(database)).await?;
        let disk = Disk::new(database, execution);
        if found.format.is_none() {
            disk.write(vec![Change::record(Record::Format, &FORMAT)?]).await?;
        }
        audit.add(&found.written)?;
        let slot = Slot::new(disk.clone(), found.head);
        let log = LogStore::new(disk.clone(), found.log, slot.watch())?;
        let machine = Machine::new(disk.clone(), audit, Arc::new(slot), found.contents);
        Ok(Self { labels: Labels { disk, label: found.label }, log, machine })
    }
}

/// The state in `database` if all of its log counts. Nobody takes part in it; the database is closed when this returns.
pub async fn read_state(database: Database, execution: Execution) -> Result<Arc<State>, StorageError> {
    let read = move || {
        let (database, Found { mut contents, .. }) = read_all(database)?;
        let first = contents.last_applied.map_or(0, |last| last.index + 1);
        for entry in View::new(&database)?.entries(first..=u64::MAX)? {
            // Of what was written of it nobody asks here.
            contents.apply(entry, &mut Vec::new());
        }
        Ok(contents.state)
    };
    execution.run(read).await
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

/// All that is on a disk.
struct Found {
    format: Option<u32>,
    label: Option<Label>,
    head: Option<Head>,
    contents: Contents,
    log: log::Stored,
    /// What was written before the registry began.
    written: Vec<Entry>,
}

/// Sees that the registry in `database` can be opened, and that all of it is as it was written.
pub fn check(database: Database) -> Result<(), StorageError> {
    read_all(database).map(drop)
}

/// Sees that the audit log in `database` is as it was written.
pub fn check_audit(mut database: Database) -> Result<(), StorageError> {
    if database.check_integrity()? { Ok(()) } else { Err(StorageError::File(None)) }
}

/// Reads every value and looks at its checksum, to name what is damaged, and has redb do so with its pages.
fn read_all(mut database: Database) -> Result<(Database, Found), StorageError> {
    let found = Found::read(&View::new(&database)?)?;
    if database.check_integrity()? { Ok((database, found)) } else { Err(StorageError::File(None)) }
}

impl Found {
    fn read(view: &View) -> Result<Self, StorageError> {
        let format = view.record(Record::Format)?;
        if let Some(found) = format.filter(|found| *found > FORMAT) {
            return Err(StorageError::Newer { found, known: FORMAT });
        }
        let label = view.record(Record::Label)?;
        let (head, contents) = match slot::load(view)? {
            Some((head, bytes)) => (Some(head), Contents::decode(&bytes)?),
            None => Default::default(),
        };
        let log = read_log(view, contents.last_applied)?;
        let written = audit::entries(view, 0, u64::MAX, usize::MAX)?;
        Ok(Self { format, label, head, contents, log, written })
    }
}

/// Reads the whole log, which Raft keeps short, and sees that no entry is missing.
fn read_log(view: &View, snapshot: Option<LogId<MemberId>>) -> Result<log::Stored, StorageError> {
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
