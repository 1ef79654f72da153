//! The tables of the database and how their rows are read and changed.

use std::ops::RangeInclusive;

use openraft::Entry;
use redb::{Database, ReadTransaction, ReadableDatabase as _, TableDefinition, TableError, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{StorageError, seal};
use crate::types::TypeConfig;

/// One of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// Entries of the log by index.
    Log,
    /// One row for each [`Record`].
    Records,
    /// Snapshots in pieces.
    Pieces,
    /// Entries of the audit log by number.
    Audit,
}

impl Table {
    const fn definition(self) -> TableDefinition<'static, u64, &'static [u8]> {
        TableDefinition::new(match self {
            Self::Log => "log",
            Self::Records => "records",
            Self::Pieces => "snapshot pieces",
            Self::Audit => "audit",
        })
    }
}

/// What there is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    Format = 0,
    Label = 1,
    Vote = 2,
    Purged = 3,
    Committed = 4,
    Snapshot = 5,
    /// In the database of the audit log.
    Whole = 6,
}

impl Record {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Label => "label",
            Self::Vote => "vote",
            Self::Purged => "purged",
            Self::Committed => "committed",
            Self::Snapshot => "snapshot",
            Self::Whole => "whole part of the audit log",
        }
    }
}

/// A change of some rows.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Put(Table, u64, Vec<u8>),
    Remove(Table, RangeInclusive<u64>),
}

impl Change {
    /// Sets a record.
    pub(super) fn record<T: Serialize>(record: Record, value: &T) -> Result<Self, StorageError> {
        let key = record as u64;
        let value = postcard::to_stdvec(value).map_err(|_| StorageError::Unwritable(record.name()))?;
        Ok(Self::Put(Table::Records, key, seal::seal(key, &value)))
    }

    /// Sets an entry of the log.
    pub(super) fn entry(entry: &Entry<TypeConfig>) -> Result<Self, StorageError> {
        let key = entry.log_id.index;
        let value = postcard::to_stdvec(entry).map_err(|_| StorageError::Unwritable("log entry"))?;
        Ok(Self::Put(Table::Log, key, seal::seal(key, &value)))
    }

    fn make(&self, transaction: &WriteTransaction) -> Result<(), StorageError> {
        match self {
            Self::Put(table, key, value) => {
                transaction.open_table(table.definition())?.insert(key, value.as_slice())?;
            }
            Self::Remove(table, keys) => {
                transaction.open_table(table.definition())?.retain_in(keys.clone(), |_, _| false)?;
            }
        }
        Ok(())
    }
}

/// Makes all the changes in this order, or none. They are on disk when it returns.
pub(super) fn commit(database: &Database, changes: &[Change]) -> Result<(), StorageError> {
    let transaction = database.begin_write()?;
    for change in changes {
        change.make(&transaction)?;
    }
    Ok(transaction.commit()?)
}

/// The database as it is at one moment.
pub(super) struct View(ReadTransaction);

impl View {
    pub(super) fn new(database: &Database) -> Result<Self, StorageError> {
        Ok(Self(database.begin_read()?))
    }

    /// Calls `row` with each row of `keys`, in order.
    pub(super) fn rows(
        &self,
        table: Table,
        keys: RangeInclusive<u64>,
        row: impl FnMut(u64, &[u8]) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.first_rows(table, keys, usize::MAX, row)
    }

    /// As [`View::rows`], with the first `limit` that are there.
    pub(super) fn first_rows(
        &self,
        table: Table,
        keys: RangeInclusive<u64>,
        limit: usize,
        mut row: impl FnMut(u64, &[u8]) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let rows = match self.0.open_table(table.definition()) {
            Ok(rows) => rows,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for found in rows.range(keys)?.take(limit) {
            let (key, value) = found?;
            row(key.value(), value.value())?;
        }
        Ok(())
    }

    /// A record, if it was ever set.
    pub(super) fn record<T: DeserializeOwned>(&self, record: Record) -> Result<Option<T>, StorageError> {
        let key = record as u64;
        let mut found = None;
        self.rows(Table::Records, key..=key, |_, sealed| {
            let value = seal::open(key, sealed).and_then(|value| postcard::from_bytes(value).ok());
            found = Some(value.ok_or(StorageError::Record(record.name()))?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The entries of the log with these indexes.
    pub(super) fn entries(&self, indexes: RangeInclusive<u64>) -> Result<Vec<Entry<TypeConfig>>, StorageError> {
        let mut entries = Vec::new();
        self.rows(Table::Log, indexes, |index, sealed| {
            let value = seal::open(index, sealed).and_then(|value| postcard::from_bytes(value).ok());
            entries.push(value.ok_or(StorageError::Entry(index))?);
            Ok(())
        })?;
        Ok(entries)
    }
}
