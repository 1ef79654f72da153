//! The events on disk, of all sources, in the order in which this manager tells them.
//!
//! Of what the audit log tells only the place is kept here. The oldest give way to new ones.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use festoon_cluster::storage::StorageError;
use festoon_events::{Cursor, Event, Place, Position, Source};
use festoon_proto::ManagerId;
use redb::{Database, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _, TableDefinition};
use tokio::sync::watch;

/// Where an event stands here: the position, and the event in JSON, which is empty if the audit log has it.
const STREAM: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("stream");
/// Where an event of a source stands in the stream.
const PLACES: TableDefinition<'_, (u16, u64, u64), u64> = TableDefinition::new("places");
/// How far each source was told.
const TOLD: TableDefinition<'_, u16, (u64, u64)> = TableDefinition::new("told");

/// Bytes of pages that redb keeps in memory.
const CACHE: usize = 8 << 20;

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the events can't be read or written: {0}")]
pub struct StoreError(String);

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(error.into().to_string())
    }
}

impl StoreError {
    /// The audit log can't be read.
    pub(super) fn audit(error: &StorageError) -> Self {
        Self(format!("the audit log: {error}"))
    }

    /// The program ends.
    pub(super) fn ended() -> Self {
        Self("this manager stops".to_owned())
    }
}

type Result<T> = std::result::Result<T, StoreError>;

/// An event, or the place of one in the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands.
    pub position: Position,
    /// What it is; none if the audit log says so.
    pub event: Option<Event>,
}

/// The file. Its methods wait for the disk.
#[derive(Debug)]
pub struct Store {
    database: Database,
    /// Events that are kept at least. A tenth more may be there.
    keep: u64,
    last: watch::Sender<u64>,
}

/// The number of a source in the file. Managers begin with 1.
const fn key(source: Source) -> u16 {
    match source {
        Source::Audit => 0,
        Source::Manager(ManagerId(id)) => id,
    }
}

const fn source(key: u16) -> Source {
    match key {
        0 => Source::Audit,
        id => Source::Manager(ManagerId(id)),
    }
}

impl Store {
    /// Opens the file at `path`, made if there is none, for its owner alone.
    pub fn open(path: &Path, keep: u64) -> Result<Self> {
        let io = |error: std::io::Error| StoreError(format!("{}: {error}", path.display()));
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let database = Database::builder().set_cache_size(CACHE).create_file(file.map_err(io)?)?;
        let write = database.begin_write()?;
        let last = write.open_table(STREAM)?.last()?.map_or(0, |(key, _)| key.value());
        write.open_table(PLACES)?;
        write.open_table(TOLD)?;
        write.commit()?;
        Ok(Self { database, keep, last: watch::Sender::new(last) })
    }

    /// Changes with every event that is stored.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// How far each source was told.
    pub fn told(&self) -> Result<Cursor> {
        let read = self.database.begin_read()?;
        told(&read.open_table(TOLD)?)
    }

    /// Stores events behind all that are there, in one go. They are on disk when it returns.
    pub fn append(&self, events: &[(Position, Event)]) -> Result<()> {
        let write = self.database.begin_write()?;
        let mut last = *self.last.borrow();
        {
            let (mut stream, mut places) = (write.open_table(STREAM)?, write.open_table(PLACES)?);
            let mut told = write.open_table(TOLD)?;
            for (position, event) in events {
                last += 1;
                let Position { source, place } = *position;
                stream.insert(last, encode(*position, event)?.as_slice())?;
                places.insert((key(source), place.life, place.number), last)?;
                told.insert(key(source), (place.life, place.number))?;
            }
            let len = stream.len()?;
            if len > self.keep + self.keep / 10 {
                let end = last - self.keep;
                for removed in stream.extract_from_if(..=end, |_, _| true)? {
                    let Position { source, place } = decode(removed?.1.value())?.position;
                    places.remove((key(source), place.life, place.number))?;
                }
            }
        }
        write.commit()?;
        self.last.send_replace(last);
        Ok(())
    }

    /// What a reader who is at `after` has not read: at most so many, in order.
    pub fn read(&self, after: &Cursor, limit: usize) -> Result<Vec<Row>> {
        let read = self.database.begin_read()?;
        let (stream, places) = (read.open_table(STREAM)?, read.open_table(PLACES)?);
        let mut first: Option<u64> = None;
        for told in told(&read.open_table(TOLD)?)?.positions().filter(|&told| !after.covers(told)) {
            let source = key(told.source);
            let from = after
                .get(told.source)
                .map_or((source, 0, 0), |place| (source, place.life, place.number.saturating_add(1)));
            let next = places.range(from..=(source, u64::MAX, u64::MAX))?.next().transpose()?;
            let next = next.map(|(_, at)| at.value());
            first = first.into_iter().chain(next).min();
        }
        let Some(first) = first else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        for row in stream.range(first..)? {
            let row = decode(row?.1.value())?;
            if !after.covers(row.position) {
                rows.push(row);
                if rows.len() == limit {
                    break;
                }
            }
        }
        Ok(rows)
    }

    /// Calls `each` with every event that is kept here, the oldest first.
    pub fn for_each(&self, mut each: impl FnMut(&Event)) -> Result<()> {
        let read = self.database.begin_read()?;
        for row in read.open_table(STREAM)?.iter()? {
            if let Some(event) = decode(row?.1.value())?.event {
                each(&event);
            }
        }
        Ok(())
    }
}

fn told(table: &impl ReadableTable<u16, (u64, u64)>) -> Result<Cursor> {
    let mut all = BTreeMap::new();
    for row in table.iter()? {
        let (key, value) = row?;
        let (life, number) = value.value();
        all.insert(source(key.value()), Place { life, number });
    }
    Ok(all.into_iter().map(|(source, place)| Position { source, place }).collect())
}

fn encode(position: Position, event: &Event) -> Result<Vec<u8>> {
    let mut row = postcard::to_stdvec(&position).map_err(|error| StoreError(error.to_string()))?;
    if position.source != Source::Audit {
        serde_json::to_writer(&mut row, event).map_err(|error| StoreError(error.to_string()))?;
    }
    Ok(row)
}

fn decode(row: &[u8]) -> Result<Row> {
    let damaged = || StoreError("a row is damaged".to_owned());
    let (position, rest) = postcard::take_from_bytes::<Position>(row).map_err(|_| damaged())?;
    let event = match rest {
        [] => None,
        json => Some(serde_json::from_slice(json).map_err(|_| damaged())?),
    };
    Ok(Row { position, event })
}

#[cfg(test)]
mod tests;
