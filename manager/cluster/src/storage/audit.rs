//! The audit log on disk. Its entries are made again from the log when they are lost with what was not on disk yet, so
//! nobody waits for them.

use festoon_control::registry::audit::Entry;

use super::disk::Disk;
use super::tables::{Change, Table, View};
use super::{StorageError, seal};

/// Entries that are kept at least. As many again may be there before the oldest are removed.
const KEPT: u64 = 1_000_000;

/// Stores entries behind all that was written before.
pub(super) fn store(disk: &Disk, entries: &[Entry]) -> Result<(), StorageError> {
    let Some(last) = entries.last() else { return Ok(()) };
    let mut changes: Vec<_> = entries.iter().map(row).collect();
    let first = entries.first().map_or(last.number, |first| first.number);
    // Now and then, for it looks at each row it removes.
    if first / KEPT != last.number.saturating_add(1) / KEPT && last.number > KEPT {
        changes.push(Change::Remove(Table::Audit, 0..=last.number - KEPT));
    }
    disk.submit_lazily(changes)
}

fn row(entry: &Entry) -> Change {
    Change::Put(Table::Audit, entry.number, seal::seal(entry.number, entry.line.as_bytes()))
}

/// Reads the audit log, and fills in what this manager never made: what was before the snapshot it began with. It keeps
/// the disk open.
#[derive(Clone)]
pub struct AuditLog(pub(super) Disk);

impl AuditLog {
    /// The entries with numbers behind `after`, at most so many. Some may be missing.
    pub async fn read(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StorageError> {
        let end = after.saturating_add(u64::try_from(limit).unwrap_or(u64::MAX));
        self.0.read(move |view| entries(view, after.saturating_add(1), end)).await
    }

    /// All that was stored before is on disk, and can be read, when this returns.
    pub async fn flush(&self) -> Result<(), StorageError> {
        self.0.write(Vec::new()).await
    }

    /// Stores entries that another manager has.
    pub async fn fill(&self, entries: &[Entry]) -> Result<(), StorageError> {
        self.0.write(entries.iter().map(row).collect()).await
    }
}

fn entries(view: &View, first: u64, last: u64) -> Result<Vec<Entry>, StorageError> {
    let mut all = Vec::new();
    if first > last {
        return Ok(all);
    }
    view.rows(Table::Audit, first..=last, |number, sealed| {
        let line = seal::open(number, sealed).and_then(|line| std::str::from_utf8(line).ok());
        let line = line.ok_or(StorageError::Record("audit entry"))?.to_owned();
        all.push(Entry { number, line });
        Ok(())
    })?;
    Ok(all)
}
