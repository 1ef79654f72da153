//! The audit log on disk, in a database of its own.
//!
//! Entries are made again from the log when they are lost with what was not on disk yet, so nobody waits for them, except
//! the snapshot that takes the place of that log.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
pub struct AuditLog {
    disk: Disk,
    /// The last entries that were added, so that whoever follows need not wait for the disk.
    newest: Arc<Mutex<VecDeque<Entry>>>,
}

/// So many are in memory.
const NEWEST: usize = 1_000;

impl AuditLog {
    /// Must run inside tokio.
    pub(super) fn open(opening: Opening, execution: Execution) -> Self {
        Self { disk: Disk::start(opening, execution).0, newest: Arc::default() }
    }

    /// Adds entries that this member has just made. They are on disk a little later.
    pub(super) fn add(&self, entries: &[Entry]) -> Result<(), StorageError> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        self.remember(entries);
        let mut changes = rows(entries);
        // Now and then, for it looks at each row it removes.
        if first.number / KEPT != last.number.saturating_add(1) / KEPT && last.number > KEPT {
            changes.push(Change::Remove(Table::Audit, 0..=last.number - KEPT));
        }
        self.disk.submit_lazily(changes)
    }

    fn remember(&self, entries: &[Entry]) {
        let mut newest = self.newest();
        for entry in entries {
            // After a start, and when a snapshot was taken over, they begin anew.
            if newest.back().is_some_and(|last| last.number + 1 != entry.number) {
                newest.clear();
            }
            newest.push_back(entry.clone());
        }
        let surplus = newest.len().saturating_sub(NEWEST);
        newest.drain(..surplus);
    }

    /// What is asked for, if all of it is in memory.
    fn in_memory(&self, after: u64, last: u64, limit: usize) -> Option<Vec<Entry>> {
        let newest = self.newest();
        let next = after.saturating_add(1);
        let first = newest.front().filter(|first| first.number <= next)?.number;
        let skipped = usize::try_from(next - first).ok()?;
        let found: Vec<_> =
            newest.iter().skip(skipped).take_while(|entry| entry.number <= last).take(limit).cloned().collect();
        (!found.is_empty()).then_some(found)
    }

    fn newest(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        // It is right after every statement.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first entries behind `after` and up to `last` that are here, at most so many. What was never made here or is
    /// damaged is missing, and what an epoch of the registry took back may be there still: the chain tells.
    pub async fn read(&self, after: u64, last: u64, limit: usize) -> Result<Vec<Entry>, StorageError> {
        if let Some(newest) = self.in_memory(after, last, limit) {
            return Ok(newest);
        }
        self.disk.read(move |view| entries(view, after.saturating_add(1), last, limit)).await
    }

    /// All that was added before is on disk, and can be read, when this returns.
    pub async fn flush(&self) -> Result<(), StorageError> {
        self.disk.write(Vec::new()).await
    }

    /// Stores entries that another manager has.
    pub async fn fill(&self, entries: &[Entry]) -> Result<(), StorageError> {
        self.disk.write(rows(entries)).await
    }

    /// The part that is whole, as it was last noted.
    pub async fn whole(&self) -> Result<Whole, StorageError> {
        self.disk.read(|view| Ok(view.record(Record::Whole)?.unwrap_or_default())).await
    }

    /// Notes which part is whole. On disk a little later.
    pub fn note(&self, whole: &Whole) -> Result<(), StorageError> {
        self.disk.submit_lazily(vec![Change::record(Record::Whole, whole)?])
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
