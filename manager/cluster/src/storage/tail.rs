//! The end of the log in memory: what is not on disk yet, and what is read most.

use std::collections::BTreeMap;
use std::ops::Range;

use openraft::{Entry, LogId};

use crate::types::{MemberId, TypeConfig};

/// Entries that stay in memory when they are on disk. Members that follow closely never need more.
pub(super) const KEPT: usize = 1024;

/// The log as Raft sees it, which may be ahead of the disk.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Every entry of the log from the first of these on.
    entries: BTreeMap<u64, Entry<TypeConfig>>,
    /// The first index that may not be on disk.
    unflushed: u64,
    last: Option<LogId<MemberId>>,
    purged: Option<LogId<MemberId>>,
}

impl Tail {
    /// The log that is on disk, which is `entries` behind `purged`.
    pub(super) fn new(purged: Option<LogId<MemberId>>, entries: Vec<Entry<TypeConfig>>) -> Self {
        let mut tail = Self { purged, last: purged, ..Self::default() };
        let unflushed = entries.last().map_or(0, |entry| entry.log_id.index + 1);
        tail.append(entries);
        tail.flushed(unflushed);
        tail
    }

    /// The last entry, or the last that was purged if there is none.
    pub(super) const fn last(&self) -> Option<LogId<MemberId>> {
        self.last
    }

    /// The last entry that was purged.
    pub(super) const fn purged(&self) -> Option<LogId<MemberId>> {
        self.purged
    }

    /// Adds entries, which are not on disk yet.
    pub(super) fn append(&mut self, entries: impl IntoIterator<Item = Entry<TypeConfig>>) {
        for entry in entries {
            self.last = Some(entry.log_id);
            self.entries.insert(entry.log_id.index, entry);
        }
    }

    /// All before `unflushed` is on disk.
    pub(super) fn flushed(&mut self, unflushed: u64) {
        self.unflushed = self.unflushed.max(unflushed);
        while self.entries.len() > KEPT
            && let Some(first) = self.entries.first_entry()
            && *first.key() < self.unflushed
        {
            first.remove();
        }
    }

    /// The log ends with `last` now, on disk too.
    pub(super) fn truncate(&mut self, since: u64, last: Option<LogId<MemberId>>) {
        self.entries.split_off(&since);
        self.unflushed = self.unflushed.min(since);
        self.last = last.or(self.purged);
    }

    /// The log begins behind `upto` now. Returns whether there is a gap between what was the last entry and that; `None`
    /// if it began there already.
    pub(super) fn purge(&mut self, upto: LogId<MemberId>) -> Option<bool> {
        if self.purged >= Some(upto) {
            return None;
        }
        // By index, for an entry that nobody else took may have a later term than all that was committed.
        let is_gap = self.last.is_none_or(|last| last.index < upto.index);
        self.entries = self.entries.split_off(&(upto.index + 1));
        self.purged = Some(upto);
        self.last = if is_gap { self.purged } else { self.last };
        Some(is_gap)
    }

    /// The entries of `range` that are in memory, and the indexes of those that may be on disk alone, which come before
    /// them.
    pub(super) fn read(&self, range: Range<u64>) -> (Range<u64>, Vec<Entry<TypeConfig>>) {
        let start = range.start.max(self.purged.map_or(0, |purged| purged.index + 1));
        let end = range.end.min(self.last.map_or(0, |last| last.index + 1)).max(start);
        let first = self.entries.keys().next().copied().unwrap_or(end).clamp(start, end);
        (start..first, self.entries.range(first..end).map(|(_, entry)| entry.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;
    use crate::storage::tests::log_id;

    fn entries(term: u64, indexes: Range<u64>) -> Vec<Entry<TypeConfig>> {
        indexes.map(|index| Entry { log_id: log_id(term, index), payload: EntryPayload::Blank }).collect()
    }

    #[test]
    fn what_is_not_on_disk_stays_in_memory() {
        let end = KEPT as u64 * 2;
        let mut tail = Tail::new(None, Vec::new());
        tail.append(entries(1, 0..end));
        assert_eq!(tail.read(0..end).0, 0..0);
        tail.flushed(10);
        assert_eq!(tail.read(0..end).0, 0..10);
        tail.flushed(end);
        assert_eq!(tail.read(0..end).0, 0..KEPT as u64);
        assert_eq!(tail.read(0..end).1.len(), KEPT);
    }

    #[test]
    fn an_entry_of_a_later_term_that_was_never_committed_gives_way_to_a_snapshot() {
        let mut tail = Tail::new(None, entries(3, 0..6));
        assert_eq!(tail.purge(log_id(2, 9)), Some(true));
        assert_eq!((tail.last(), tail.purged()), (Some(log_id(2, 9)), Some(log_id(2, 9))));
        assert_eq!(tail.read(0..20), (10..10, Vec::new()));
    }

    #[test]
    fn it_ends_before_what_is_truncated_and_begins_behind_what_is_purged() {
        let mut tail = Tail::new(None, entries(1, 0..10));
        tail.truncate(6, Some(log_id(1, 5)));
        assert_eq!(tail.purge(log_id(1, 2)), Some(false));
        assert_eq!(tail.purge(log_id(1, 1)), None, "it begins there already");
        assert_eq!(tail.last(), Some(log_id(1, 5)));
        assert_eq!(tail.read(0..20), (3..3, entries(1, 3..6)));
    }
}
