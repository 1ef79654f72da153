//! The log of commands on disk.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use festoon_control::registry::{Command, State, apply};
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// A command of the log, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its place, from 1 on without a gap.
    pub index: u64,
    /// What it says.
    pub command: Command,
}

/// The log can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("the registry is in use: another festoon-manager runs on this --data-dir")]
    InUse,
    /// The disk or the file fails.
    #[error("the registry can't be read or written: {0}")]
    Database(#[from] redb::Error),
    /// An entry is no command of this version.
    #[error("entry {0} of the registry is not understood: a newer version of Festoon wrote it, install that version")]
    Entry(u64),
    /// A follower's entries do not go on where its log ends.
    #[error("entry {got} of the registry came where {expected} was due: remove this manager and join it again")]
    Gap {
        /// The one that was due.
        expected: u64,
        /// The one that came.
        got: u64,
    },
}

/// The log. Every append is on disk before it returns.
#[derive(Debug)]
pub struct Store {
    database: Database,
}

impl Store {
    /// The log at `path`, made if there is none.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // redb would make a file that all can read.
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(redb::Error::from)?;
        let database = Database::builder().create_file(file).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse,
            error => StoreError::Database(error.into()),
        })?;
        let store = Self { database };
        // Makes the table, so that reading an empty log is no special case.
        store.append(&[])?;
        Ok(store)
    }

    /// Adds entries at the end, all or none.
    pub fn append(&self, entries: &[LogEntry]) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        {
            let mut log = transaction.open_table(LOG).map_err(redb::Error::from)?;
            let last = log.last().map_err(redb::Error::from)?.map_or(0, |(index, _)| index.value());
            for (expected, entry) in (last + 1..).zip(entries) {
                if entry.index != expected {
                    return Err(StoreError::Gap { expected, got: entry.index });
                }
                let bytes = postcard::to_stdvec(&entry.command).map_err(|_| StoreError::Entry(entry.index))?;
                log.insert(entry.index, bytes.as_slice()).map_err(redb::Error::from)?;
            }
        }
        transaction.commit().map_err(|error| StoreError::Database(error.into()))
    }

    /// The index of the last entry; 0 if there is none.
    pub fn last(&self) -> Result<u64, StoreError> {
        let transaction = self.database.begin_read().map_err(redb::Error::from)?;
        let log = transaction.open_table(LOG).map_err(redb::Error::from)?;
        Ok(log.last().map_err(redb::Error::from)?.map_or(0, |(index, _)| index.value()))
    }

    /// The entries behind `after`, at most `limit`.
    pub fn read(&self, after: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        let transaction = self.database.begin_read().map_err(redb::Error::from)?;
        let log = transaction.open_table(LOG).map_err(redb::Error::from)?;
        let range = log.range(after.saturating_add(1)..).map_err(redb::Error::from)?;
        range
            .take(limit)
            .map(|entry| {
                let (index, bytes) = entry.map_err(redb::Error::from)?;
                let index = index.value();
                let command = postcard::from_bytes(bytes.value()).map_err(|_| StoreError::Entry(index))?;
                Ok(LogEntry { index, command })
            })
            .collect()
    }

    /// The state after the whole log.
    pub fn replay(&self) -> Result<State, StoreError> {
        Ok(advance(&State::default(), &self.read(0, usize::MAX)?))
    }
}

/// The state after `entries`. One that is refused was refused by the writer as well and changes nothing.
pub(super) fn advance(state: &State, entries: &[LogEntry]) -> State {
    entries.iter().fold(state.clone(), |state, entry| match apply(&state, entry.index, &entry.command) {
        Ok((next, _)) => next,
        Err(refusal) => {
            tracing::warn!(index = entry.index, %refusal, "an entry of the registry is refused");
            state
        }
    })
}

#[cfg(test)]
mod tests {
    use festoon_control::registry::UnixMs;

    use super::*;

    fn entry(index: u64) -> LogEntry {
        LogEntry { index, command: Command::Expire(UnixMs(index)) }
    }

    #[test]
    fn what_was_appended_is_there_after_a_restart_and_gaps_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let store = Store::open(&path).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::InUse)));
        store.append(&[entry(1), entry(2)]).unwrap();
        assert!(matches!(store.append(&[entry(3), entry(5)]), Err(StoreError::Gap { expected: 4, got: 5 })));
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.read(0, 10).unwrap(), [entry(1), entry(2)], "all or none of an append");
        assert_eq!(store.last().unwrap(), 2);
        assert_eq!(store.read(1, 10).unwrap(), [entry(2)]);
        assert_eq!(store.read(0, 1).unwrap(), [entry(1)]);
        assert_eq!(store.read(u64::MAX, 10).unwrap(), []);
    }
}
