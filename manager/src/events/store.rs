//! The events on disk, of all sources, in the order in which this manager tells them.
//!
//! Of what the audit log tells only the place is kept here. The oldest give way to new ones, and those of an endpoint that
//! causes very many give way first, so that it does not push the others out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use festoon_cluster::storage::StorageError;
use festoon_events::{Cursor, Event, Place, Position, Source};
use festoon_proto::{EndpointId, ManagerId};
use redb::{
    Database, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _, Table, TableDefinition,
    WriteTransaction,
};
use tokio::sync::watch;

/// Where an event stands here: the position, the endpoint that it is about, and the event in JSON, which is empty if the audit
/// log has it.
const STREAM: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("stream");
/// Where an event of a source stands in the stream.
const PLACES: TableDefinition<'_, (u16, u64, u64), u64> = TableDefinition::new("places");
/// Which events are about an endpoint: it, and where they stand in the stream.
const BY_ENDPOINT: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("by_endpoint");
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

/// How many events are kept. A tenth more may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Of all.
    pub all: u64,
    /// Of each endpoint at most.
    pub of_endpoint: u64,
}

/// The file. Its methods wait for the disk.
#[derive(Debug)]
pub struct Store {
    database: Database,
    keep: Keep,
    last: watch::Sender<u64>,
    /// How many events are kept about each endpoint. None after a failure: the file knows.
    counts: Mutex<Option<Counts>>,
}

/// By endpoint.
type Counts = HashMap<u64, u64>;

/// The tables that events are in.
struct Tables<'a> {
    stream: Table<'a, u64, &'static [u8]>,
    places: Table<'a, (u16, u64, u64), u64>,
    by_endpoint: Table<'a, (u64, u64), ()>,
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
    pub fn open(path: &Path, keep: Keep) -> Result<Self> {
        let io = |error: std::io::Error| StoreError(format!("{}: {error}", path.display()));
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let database = Database::builder().set_cache_size(CACHE).create_file(file.map_err(io)?)?;
        let write = database.begin_write()?;
        let tables = Tables::open(&write)?;
        let last = tables.stream.last()?.map_or(0, |(key, _)| key.value());
        let counts = tables.counts()?;
        drop(tables);
        write.open_table(TOLD)?;
        write.commit()?;
        Ok(Self { database, keep, last: watch::Sender::new(last), counts: Mutex::new(Some(counts)) })
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
        let mut kept = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = {
            let (mut tables, mut told) = (Tables::open(&write)?, write.open_table(TOLD)?);
            let mut counts = kept.take().map_or_else(|| tables.counts(), Ok)?;
            let mut busy = BTreeSet::new();
            for (position, event) in events {
                last += 1;
                let Position { source, place } = *position;
                tables.insert(last, *position, event)?;
                told.insert(key(source), (place.life, place.number))?;
                if let Some(EndpointId(endpoint)) = event.endpoint {
                    *counts.entry(endpoint).or_default() += 1;
                    busy.insert(endpoint);
                }
            }
            self.trim_endpoints(&mut tables, &mut counts, busy)?;
            self.trim(&mut tables, &mut counts)?;
            counts
        };
        write.commit()?;
        *kept = Some(counts);
        drop(kept);
        self.last.send_replace(last);
        Ok(())
    }

    /// Removes the oldest events of those endpoints that have too many.
    fn trim_endpoints(&self, tables: &mut Tables<'_>, counts: &mut Counts, busy: BTreeSet<u64>) -> Result<()> {
        let most = self.keep.of_endpoint;
        for endpoint in busy {
            let surplus = counts.get(&endpoint).map_or(0, |count| count.saturating_sub(most));
            if surplus > most / 10 {
                let rows = tables.by_endpoint.range((endpoint, 0)..=(endpoint, u64::MAX))?;
                let rows = rows.take(to_usize(surplus)).map(|row| Ok(row?.0.value().1)).collect::<Result<Vec<_>>>()?;
                rows.into_iter().try_for_each(|row| tables.remove(row, counts))?;
            }
        }
        Ok(())
    }

    /// Removes the oldest events if there are too many.
    fn trim(&self, tables: &mut Tables<'_>, counts: &mut Counts) -> Result<()> {
        let surplus = tables.stream.len()?.saturating_sub(self.keep.all);
        if surplus > self.keep.all / 10 {
            let rows = tables.stream.iter()?.take(to_usize(surplus));
            let rows = rows.map(|row| Ok(row?.0.value())).collect::<Result<Vec<_>>>()?;
            rows.into_iter().try_for_each(|row| tables.remove(row, counts))?;
        }
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

impl<'a> Tables<'a> {
    fn open(write: &'a WriteTransaction) -> Result<Self> {
        let (stream, places) = (write.open_table(STREAM)?, write.open_table(PLACES)?);
        Ok(Self { stream, places, by_endpoint: write.open_table(BY_ENDPOINT)? })
    }

    fn counts(&self) -> Result<Counts> {
        let mut counts = Counts::new();
        for row in self.by_endpoint.iter()? {
            *counts.entry(row?.0.value().0).or_default() += 1;
        }
        Ok(counts)
    }

    fn insert(&mut self, row: u64, position: Position, event: &Event) -> Result<()> {
        let Position { source, place } = position;
        self.stream.insert(row, encode(position, event)?.as_slice())?;
        self.places.insert((key(source), place.life, place.number), row)?;
        if let Some(EndpointId(endpoint)) = event.endpoint {
            self.by_endpoint.insert((endpoint, row), ())?;
        }
        Ok(())
    }

    fn remove(&mut self, row: u64, counts: &mut Counts) -> Result<()> {
        let Some(removed) = self.stream.remove(row)?.map(|removed| head(removed.value()).map(|(head, _)| head)) else {
            return Ok(());
        };
        let (Position { source, place }, endpoint) = removed?;
        self.places.remove((key(source), place.life, place.number))?;
        if let Some(EndpointId(endpoint)) = endpoint {
            self.by_endpoint.remove((endpoint, row))?;
            if let Some(count) = counts.get_mut(&endpoint) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    counts.remove(&endpoint);
                }
            }
        }
        Ok(())
    }
}

fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
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
    let mut row = postcard::to_stdvec(&(position, event.endpoint)).map_err(|error| StoreError(error.to_string()))?;
    if position.source != Source::Audit {
        serde_json::to_writer(&mut row, event).map_err(|error| StoreError(error.to_string()))?;
    }
    Ok(row)
}

/// Where an event stands, and the endpoint that it is about.
type Head = (Position, Option<EndpointId>);

fn damaged() -> StoreError {
    StoreError("a row is damaged".to_owned())
}

fn head(row: &[u8]) -> Result<(Head, &[u8])> {
    postcard::take_from_bytes(row).map_err(|_| damaged())
}

fn decode(row: &[u8]) -> Result<Row> {
    let ((position, _), rest) = head(row)?;
    let event = match rest {
        [] => None,
        json => Some(serde_json::from_slice(json).map_err(|_| damaged())?),
    };
    Ok(Row { position, event })
}

#[cfg(test)]
mod tests;
