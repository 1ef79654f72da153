//! The log of Raft, and the vote.
//!
//! Entries are in memory when [`LogStore::append`](RaftLogStorage::append) returns and on disk when its callback is called.
//!
//! What is purged is gone for Raft at once, but leaves the disk only when a snapshot that takes its place is there: Raft
//! purges while a snapshot from the leader is still being installed, and a power cut must leave one or the other. If such
//! a snapshot leaves a gap behind the last entry, the next entries wait for it, so that the log on disk never has a gap.

use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{Entry, ErrorSubject, ErrorVerb, LogId, RaftLogReader, Vote};
use tokio::sync::watch;

use super::StorageError;
use super::disk::{Disk, Flush};
use super::slot::OnDisk;
use super::tables::{Change, Record, Table};
use super::tail::Tail;
use crate::types::{MemberId, TypeConfig};

type RaftError = openraft::StorageError<MemberId>;

/// The log and the vote of a member, for openraft.
pub struct LogStore {
    reader: LogReader,
    snapshot: watch::Receiver<OnDisk>,
    vote: Option<Vote<MemberId>>,
    committed: Option<LogId<MemberId>>,
    /// What is to be purged on disk as well.
    purge: Option<Purge>,
}

/// Reads the log. There may be many.
#[derive(Clone)]
pub struct LogReader {
    disk: Disk,
    tail: Arc<Mutex<Tail>>,
}

#[derive(Debug, Clone, Copy)]
struct Purge {
    upto: LogId<MemberId>,
    /// Whether the log on disk ends before it.
    is_gap: bool,
}

/// What a log store begins with.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) vote: Option<Vote<MemberId>>,
    pub(super) committed: Option<LogId<MemberId>>,
    pub(super) tail: Tail,
}

impl LogStore {
    /// Brings to the disk what may stay in memory for a while.
    pub fn flusher(&self) -> Flush {
        Flush(self.reader.disk.clone())
    }

    pub(super) fn new(disk: Disk, stored: Stored, snapshot: watch::Receiver<OnDisk>) -> Result<Self, StorageError> {
        let reader = LogReader { disk, tail: Arc::new(Mutex::new(stored.tail)) };
        let mut store = Self { reader, snapshot, vote: stored.vote, committed: stored.committed, purge: None };
        let (on_disk, last) = (store.snapshot.borrow().last_log_id(), store.reader.tail().last());
        // The power went after a snapshot came from the leader and before the log was purged.
        if let Some(upto) = on_disk.filter(|upto| last.is_none_or(|last| last.index < upto.index)) {
            store.purge_until(upto)?;
        }
        Ok(store)
    }

    fn purge_until(&mut self, upto: LogId<MemberId>) -> Result<(), StorageError> {
        let Some(is_gap) = self.reader.tail().purge(upto) else { return Ok(()) };
        self.purge = Some(Purge { upto, is_gap: is_gap || self.purge.is_some_and(|purge| purge.is_gap) });
        let changes = self.take_purge()?;
        self.reader.disk.submit_lazily(changes)
    }

    /// Removes from the disk what was purged, if a snapshot is there in its place.
    fn take_purge(&mut self) -> Result<Vec<Change>, StorageError> {
        let on_disk = self.snapshot.borrow().last_log_id();
        let Some(purge) = self.purge.take_if(|purge| on_disk >= Some(purge.upto)) else { return Ok(Vec::new()) };
        let records = Change::record(Record::Purged, &purge.upto)?;
        Ok(vec![Change::Remove(Table::Log, 0..=purge.upto.index), records])
    }

    /// Waits until entries may follow the last one on disk.
    async fn close_gap(&mut self) -> Result<(), StorageError> {
        let Some(Purge { upto, is_gap: true }) = self.purge else { return Ok(()) };
        let is_there = |on_disk: &OnDisk| on_disk.is_broken() || on_disk.last_log_id() >= Some(upto);
        let is_broken = self.snapshot.wait_for(is_there).await.map_or(true, |on_disk| on_disk.is_broken());
        if is_broken { Err(StorageError::Closed) } else { Ok(()) }
    }

    async fn append_entries(
        &mut self,
        entries: Vec<Entry<TypeConfig>>,
        done: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError> {
        self.close_gap().await?;
        let mut changes = self.take_purge()?;
        for entry in &entries {
            changes.push(Change::entry(entry)?);
        }
        let end = entries.last().map_or(0, |entry| entry.log_id.index + 1);
        self.reader.tail().append(entries);
        let tail = Arc::clone(&self.reader.tail);
        let flushed = move |result: Result<(), StorageError>| {
            if result.is_ok() {
                lock(&tail).flushed(end);
            }
            done.log_io_completed(result.map_err(std::io::Error::other));
        };
        self.reader.disk.submit(changes, Box::new(flushed))
    }

    async fn truncate_since(&mut self, since: u64) -> Result<(), StorageError> {
        self.reader.disk.write(vec![Change::Remove(Table::Log, since..=u64::MAX)]).await?;
        let (on_disk, entries) = self.reader.tail().read(since.saturating_sub(1)..since);
        let entries = if on_disk.is_empty() { entries } else { self.reader.read_disk(on_disk).await? };
        self.reader.tail().truncate(since, entries.last().map(|entry| entry.log_id));
        Ok(())
    }
}

impl LogReader {
    fn tail(&self) -> MutexGuard<'_, Tail> {
        lock(&self.tail)
    }

    async fn read_disk(&self, range: std::ops::Range<u64>) -> Result<Vec<Entry<TypeConfig>>, StorageError> {
        // Not empty, so its end is not 0.
        self.disk.read(move |view| view.entries(range.start..=range.end - 1)).await
    }

    async fn read(&self, range: std::ops::Range<u64>) -> Result<Vec<Entry<TypeConfig>>, StorageError> {
        let (on_disk, newest) = self.tail().read(range);
        if on_disk.is_empty() {
            return Ok(newest);
        }
        let mut entries = self.read_disk(on_disk).await?;
        entries.extend(newest);
        Ok(entries)
    }
}

/// The tail is right after every statement, so it can be used after a panic somewhere.
fn lock(tail: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

fn half_open(range: &impl RangeBounds<u64>) -> std::ops::Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry<TypeConfig>>, RaftError>
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        self.read(half_open(&range)).await.map_err(|error| error.into_raft(ErrorSubject::Logs, ErrorVerb::Read))
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry<TypeConfig>>, RaftError>
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        self.reader.try_get_log_entries(range).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, RaftError> {
        let tail = self.reader.tail();
        Ok(LogState { last_purged_log_id: tail.purged(), last_log_id: tail.last() })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<MemberId>) -> Result<(), RaftError> {
        let saved = match Change::record(Record::Vote, vote) {
            Ok(change) => self.reader.disk.write(vec![change]).await,
            Err(error) => Err(error),
        };
        saved.map_err(|error| error.into_raft(ErrorSubject::Vote, ErrorVerb::Write))?;
        self.vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<MemberId>>, RaftError> {
        Ok(self.vote)
    }

    /// Only a hint that saves asking the others after a start, so it is written when something else is.
    async fn save_committed(&mut self, committed: Option<LogId<MemberId>>) -> Result<(), RaftError> {
        self.committed = committed;
        Change::record(Record::Committed, &committed)
            .and_then(|change| self.reader.disk.submit_lazily(vec![change]))
            .map_err(|error| error.into_raft(ErrorSubject::Store, ErrorVerb::Write))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<MemberId>>, RaftError> {
        Ok(self.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), RaftError>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + Send,
        I::IntoIter: Send,
    {
        let entries = entries.into_iter().collect();
        let appended = self.append_entries(entries, callback).await;
        appended.map_err(|error| error.into_raft(ErrorSubject::Logs, ErrorVerb::Write))
    }

    async fn truncate(&mut self, since: LogId<MemberId>) -> Result<(), RaftError> {
        let truncated = self.truncate_since(since.index).await;
        truncated.map_err(|error| error.into_raft(ErrorSubject::Log(since), ErrorVerb::Delete))
    }

    async fn purge(&mut self, upto: LogId<MemberId>) -> Result<(), RaftError> {
        self.purge_until(upto).map_err(|error| error.into_raft(ErrorSubject::Log(upto), ErrorVerb::Delete))
    }
}
