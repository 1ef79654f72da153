//! The audit log on disk, in a database of its own.
//!
//! Entries are made again from the log when they are lost with what was not on disk yet, so nobody waits for them, except
//! the snapshot that takes the place of that log.

use std::pin::Pin;

use festoon_control::registry::audit::{Entry, Head};
use redb::Database;
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::tables::{Change, Record, Table, View};
use super::{Execution, StorageError, seal};

/// Entries that are kept at least. As many again may be there before the oldest are removed.
pub const KEPT: u64 = 1_000_000;

/// Opens the database of the audit log. The registry is there before it is.
pub type Opening = Pin<Box<dyn Future<Output = Result<Database, StorageError>> + Send>>;

/// The part of the chain that is on this disk for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Whole {
    /// The end of the chain before its first entry.
    pub bottom: Head,
    /// The end of the chain with its last entry.
    pub top: Head,
}

/// The audit log of a member. A clone is the same one; all of them keep the database open.
#[derive(Clone)]
pub struct AuditLog(Disk);

impl AuditLog {
    /// Must run inside tokio.
    pub(super) fn open(opening: Opening, execution: Execution) -> Self {
        Self(Disk::start(opening, execution).0)
    }

    /// Adds entries that this member has just made. They are on disk a little later.
    pub(super) fn add(&self, entries: &[Entry]) -> Result<(), StorageError> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        let mut changes = rows(entries);
        // Now and then, for it looks at each row it removes.
        if first.number / KEPT != last.number.saturating_add(1) / KEPT && last.number > KEPT {
            changes.push(Change::Remove(Table::Audit, 0..=last.number - KEPT));
        }
        self.0.submit_lazily(changes)
    }

    /// The first entries behind `after` and up to `last` that are here, at most so many. What was never made here or is
    /// damaged is missing, and what an epoch of the registry took back may be there still: the chain tells.
    pub async fn read(&self, after: u64, last: u64, limit: usize) -> Result<Vec<Entry>, StorageError> {
        self.0.read(move |view| entries(view, after.saturating_add(1), last, limit)).await
    }

    /// All that was added before is on disk, and can be read, when this returns.
    pub async fn flush(&self) -> Result<(), StorageError> {
        self.0.write(Vec::new()).await
    }

    /// Stores entries that another manager has.
    pub async fn fill(&self, entries: &[Entry]) -> Result<(), StorageError> {
        self.0.write(rows(entries)).await
    }

    /// The part that is whole, as it was last noted.
    pub async fn whole(&self) -> Result<Whole, StorageError> {
        self.0.read(|view| Ok(view.record(Record::Whole)?.unwrap_or_default())).await
    }

    /// Notes which part is whole. On disk a little later.
    pub fn note(&self, whole: &Whole) -> Result<(), StorageError> {
        self.0.submit_lazily(vec![Change::record(Record::Whole, whole)?])
    }
}

/// Entries as rows.
pub(super) fn rows(entries: &[Entry]) -> Vec<Change> {
    let row = |entry: &Entry| Change::Put(Table::Audit, entry.number, seal::seal(entry.number, entry.line.as_bytes()));
    entries.iter().map(row).collect()
}

/// The first entries with numbers from `first` to `last`, at most so many.
pub(super) fn entries(view: &View, first: u64, last: u64, limit: usize) -> Result<Vec<Entry>, StorageError> {
    let mut all = Vec::new();
    if first > last {
        return Ok(all);
    }
    view.first_rows(Table::Audit, first..=last, limit, |number, sealed| {
        let line = seal::open(number, sealed).and_then(|line| std::str::from_utf8(line).ok());
        match line {
            Some(line) => all.push(Entry { number, line: line.to_owned() }),
            // As good as missing: another manager has it.
            None => tracing::error!(number, "an entry of the audit log is damaged: the disk may be failing"),
        }
        Ok(())
    })?;
    Ok(all)
}
