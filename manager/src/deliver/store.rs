//! How far destinations got, on this manager's own disk: the registry is told every few seconds only, and a restart is not to
//! repeat what was sent meanwhile.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use festoon_events::{Cursor, Position};
use festoon_proto::EventDestinationId;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

/// A [`Row`] in postcard, by the number of its destination.
const ROWS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("deliveries");
const CACHE: usize = 1 << 20;

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("how far events were delivered can't be read or written: {0}")]
pub struct StoreError(String);

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(error.into().to_string())
    }
}

/// How far one destination got.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Row {
    /// All up to here is done.
    pub(super) cursor: Cursor,
    /// And these behind it.
    pub(super) done: BTreeSet<Position>,
    /// Events that were gone before they could be sent.
    pub(super) missed: u64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    cursor: String,
    done: BTreeSet<Position>,
    missed: u64,
}

/// The file. Its methods wait for the disk.
#[derive(Debug)]
pub(super) struct Store(Database);

impl Store {
    /// Opens the file at `path`, made if there is none, for its owner alone. One that can't be read gives way to a new one: the
    /// registry knows almost as much.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        match Self::open_existing(path) {
            Ok(store) => Ok(store),
            Err(damage) => {
                tracing::error!(%damage, "some events may be delivered again");
                let aside = path.with_extension("damaged.redb");
                std::fs::rename(path, aside).map_err(|error| StoreError(error.to_string()))?;
                Self::open_existing(path)
            }
        }
    }

    fn open_existing(path: &Path) -> Result<Self, StoreError> {
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(|error| StoreError(error.to_string()))?;
        let database = Database::builder().set_cache_size(CACHE).create_file(file)?;
        let write = database.begin_write()?;
        write.open_table(ROWS)?;
        write.commit()?;
        Ok(Self(database))
    }

    /// What is known of a destination. Nothing, if that can't be read.
    pub(super) fn get(&self, id: EventDestinationId) -> Result<Option<Row>, StoreError> {
        let read = self.0.begin_read()?;
        let stored = read.open_table(ROWS)?.get(id.0)?;
        Ok(stored.and_then(|row| {
            let Stored { cursor, done, missed } = postcard::from_bytes(row.value()).ok()?;
            Some(Row { cursor: cursor.parse().ok()?, done, missed })
        }))
    }

    /// Stores how far a destination got. It is on disk when it returns.
    pub(super) fn put(&self, id: EventDestinationId, row: &Row) -> Result<(), StoreError> {
        let Row { cursor, done, missed } = row.clone();
        let stored = Stored { cursor: cursor.to_string(), done, missed };
        let bytes = postcard::to_stdvec(&stored).map_err(|error| StoreError(error.to_string()))?;
        let write = self.0.begin_write()?;
        write.open_table(ROWS)?.insert(id.0, bytes.as_slice())?;
        write.commit()?;
        Ok(())
    }

    /// Forgets those that are no more.
    pub(super) fn retain(&self, keep: impl Fn(EventDestinationId) -> bool) -> Result<(), StoreError> {
        let has_others = self
            .0
            .begin_read()?
            .open_table(ROWS)?
            .iter()?
            .flatten()
            .any(|(id, _)| !keep(EventDestinationId(id.value())));
        if has_others {
            let write = self.0.begin_write()?;
            write.open_table(ROWS)?.retain(|id, _| keep(EventDestinationId(id)))?;
            write.commit()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use festoon_events::{Place, Source};

    use super::*;

    #[test]
    fn a_row_is_there_after_a_restart_until_its_destination_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deliveries.redb");
        let at = |number| Position { source: Source::Audit, place: Place { life: 0, number } };
        let row = Row { cursor: [at(4)].into_iter().collect(), done: [at(6), at(9)].into(), missed: 3 };
        let store = Store::open(&path).unwrap();
        store.put(EventDestinationId(1), &row).unwrap();
        store.put(EventDestinationId(2), &Row::default()).unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.get(EventDestinationId(1)).unwrap(), Some(row.clone()));
        store.retain(|id| id == EventDestinationId(1)).unwrap();
        assert_eq!(store.get(EventDestinationId(2)).unwrap(), None);
        assert_eq!(store.get(EventDestinationId(1)).unwrap(), Some(row));
    }

    #[test]
    fn a_file_that_is_none_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deliveries.redb");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        assert_eq!(Store::open(&path).unwrap().get(EventDestinationId(1)).unwrap(), None);
        assert_eq!(std::fs::read(directory.path().join("deliveries.damaged.redb")).unwrap(), vec![7; 100_000]);
    }
}
