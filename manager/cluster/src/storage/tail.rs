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
        self.last = last.max(self.purged);
    }

    /// The log begins behind `upto` now. Returns whether there is a gap between what was the last entry and that; `None`
    /// if it began there already.
    pub(super) fn purge(&mut self, upto: LogId<MemberId>) -> Option<bool> {
        if self.purged >= Some(upto) {
            return None;
        }
        let is_gap = self.last.is_none_or(|last| last.index < upto.index);
        self.entries = self.entries.split_off(&(upto.index + 1));
        self.purged = Some(upto);
        self.last = self.last.max(self.purged);
        Some(is_gap)
    }

    /// The entries of `range` that are in memory, and the indexes of those that may be on disk alone, which come before
    /// them.
    pub(super) fn read(&self, range: Range<u64>) -> (Range<u64>, Vec<Entry<TypeConfig>>) {
        let start = range.start.max(self.purged.map_or(0, |purged| purged.index + 1));
        let end = range.end.max(start);
        let first = self.entries.keys().next().copied().unwrap_or(end).clamp(start, end);
        (start..first, self.entries.range(first..end).map(|(_, entry)| entry.clone()).collect())
    }
}
