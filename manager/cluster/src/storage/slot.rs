//! The place on disk for the one snapshot that a member keeps.
//!
//! A snapshot is written in pieces, each with a commit of its own between those of the log, so that a large one holds up
//! no vote and no entry for long. It counts once its record is there, and the same commit removes the one before it.

use openraft::{EmptyNode, LogId, SnapshotMeta};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use super::StorageError;
use super::disk::Disk;
use super::snapshot::{self, SnapshotError};
use super::tables::{Change, Record, Table, View};
use crate::types::MemberId;

/// A little less than a power of two, which is what redb makes room for.
#[cfg(not(test))]
const PIECE_LEN: usize = (1 << 20) - 1024;
/// Small enough that small snapshots have several.
#[cfg(test)]
const PIECE_LEN: usize = 1024;

pub(super) type Meta = SnapshotMeta<MemberId, EmptyNode>;

/// How far the snapshot on disk goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OnDisk {
    last_log_id: Option<LogId<MemberId>>,
    is_broken: bool,
}

impl OnDisk {
    /// The last entry that it contains.
    pub(super) const fn last_log_id(&self) -> Option<LogId<MemberId>> {
        self.last_log_id
    }

    /// Whether none will come any more.
    pub(super) const fn is_broken(&self) -> bool {
        self.is_broken
    }
}

/// The record of a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    /// Tells its pieces from those of the snapshot before it.
    generation: u32,
    pieces: u32,
    meta: Meta,
}

const fn piece_key(generation: u32, piece: u32) -> u64 {
    (generation as u64) << 32 | piece as u64
}

/// The place. Several may want to write; the newest snapshot stays.
pub(super) struct Slot {
    disk: Disk,
    head: Mutex<Option<Head>>,
    on_disk: watch::Sender<OnDisk>,
}

impl Slot {
    /// The place, with the snapshot that is there.
    pub(super) fn new(disk: Disk, head: Option<Head>) -> Self {
        let last_log_id = head.as_ref().and_then(|head| head.meta.last_log_id);
        let on_disk = watch::Sender::new(OnDisk { last_log_id, is_broken: false });
        Self { disk, head: Mutex::new(head), on_disk }
    }

    /// How far the snapshot on disk goes, and will go.
    pub(super) fn watch(&self) -> watch::Receiver<OnDisk> {
        self.on_disk.subscribe()
    }

    /// No snapshot comes any more, for one could not be installed and Raft stops.
    pub(super) fn give_up(&self) {
        self.on_disk.send_modify(|on_disk| on_disk.is_broken = true);
    }

    /// The snapshot that is on disk. If it is damaged this is an error, so that nobody else gets it.
    pub(super) async fn get(&self) -> Result<Option<(Meta, Vec<u8>)>, StorageError> {
        let read = |view: &View| {
            let Some((head, bytes)) = load(view)? else { return Ok(None) };
            snapshot::verify(&bytes)?;
            Ok(Some((head.meta, bytes)))
        };
        self.disk.read(read).await
    }

    /// Replaces the snapshot, unless that is as new.
    pub(super) async fn put(&self, meta: &Meta, bytes: &[u8]) -> Result<(), StorageError> {
        let mut head = self.head.lock().await;
        if head.as_ref().is_some_and(|head| head.meta.last_log_id >= meta.last_log_id) {
            return Ok(());
        }
        let generation = head.as_ref().map_or(0, |head| head.generation.wrapping_add(1));
        let new = self.write(generation, meta, bytes).await?;
        *head = Some(new);
        self.on_disk.send_modify(|on_disk| on_disk.last_log_id = meta.last_log_id);
        Ok(())
    }

    async fn write(&self, generation: u32, meta: &Meta, bytes: &[u8]) -> Result<Head, StorageError> {
        let own = piece_key(generation, 0)..=piece_key(generation, u32::MAX);
        // What an attempt that was cut off has left behind.
        self.disk.write(vec![Change::Remove(Table::Pieces, own.clone())]).await?;
        let mut pieces = 0;
        for piece in bytes.chunks(PIECE_LEN) {
            let key = piece_key(generation, pieces);
            self.disk.write(vec![Change::Put(Table::Pieces, key, piece.to_vec())]).await?;
            pieces += 1;
        }
        let head = Head { generation, pieces, meta: meta.clone() };
        let mut changes = vec![Change::record(Record::Snapshot, &head)?];
        if let Some(before) = own.start().checked_sub(1) {
            changes.push(Change::Remove(Table::Pieces, 0..=before));
        }
        if let Some(behind) = own.end().checked_add(1) {
            changes.push(Change::Remove(Table::Pieces, behind..=u64::MAX));
        }
        self.disk.write(changes).await?;
        Ok(head)
    }
}

/// The snapshot that is there, and its record.
pub(super) fn load(view: &View) -> Result<Option<(Head, Vec<u8>)>, StorageError> {
    let Some(head) = view.record::<Head>(Record::Snapshot)? else { return Ok(None) };
    let mut bytes = Vec::with_capacity(head.pieces as usize * PIECE_LEN);
    let (first, end) = (piece_key(head.generation, 0), piece_key(head.generation, head.pieces));
    let mut next = first;
    view.rows(Table::Pieces, first..=end.saturating_sub(1), |key, piece| {
        next = if key == next { key + 1 } else { return Err(SnapshotError::Damaged.into()) };
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    if next == end { Ok(Some((head, bytes))) } else { Err(SnapshotError::Damaged.into()) }
}
