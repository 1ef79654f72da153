//! A disk that fails, for tests and the simulation: the power goes, it is full, it is slow, its bits flip.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use redb::StorageBackend;

use crate::storage::Opening;

/// A disk writes this many bytes or none of them.
const SECTOR: usize = 512;

/// A disk in memory. A clone is the same disk.
#[derive(Debug, Clone, Default)]
pub struct FaultyDisk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    disk: Mutex<Disk>,
    resumed: Condvar,
}

#[derive(Debug, Default)]
struct Disk {
    /// What survives for sure.
    synced: Vec<u8>,
    /// What a program reads.
    seen: Vec<u8>,
    /// What was done since the last sync.
    unsynced: Vec<Change>,
    /// How often whoever had the disk open has lost it.
    losses: u64,
    /// How often it had been lost when the one opened it who has it open now.
    opened: Option<u64>,
    power_cuts: u64,
    /// Writes and syncs until the power goes, and the seed that decides what survives.
    cut: Option<(u64, u64)>,
    limit: Option<usize>,
    is_stalled: bool,
    /// Syncs are acknowledged and do nothing.
    is_lying: bool,
    syncs: u64,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

/// What redb writes to.
#[derive(Debug)]
pub struct Backend {
    disk: FaultyDisk,
    losses: u64,
}

impl FaultyDisk {
    /// What redb writes to. It fails once the power goes.
    ///
    /// # Panics
    /// When a program that still runs has the disk open: a file would be locked, and two that write to it destroy it.
    pub fn backend(&self) -> Backend {
        let mut disk = self.lock();
        assert!(!disk.is_open(), "the disk is open already");
        disk.opened = Some(disk.losses);
        Backend { disk: self.clone(), losses: disk.losses }
    }

    /// Whether a program that still runs has it open.
    pub fn is_open(&self) -> bool {
        self.lock().is_open()
    }

    /// The power goes now: of what was not synced, `seed` decides sector by sector what survives.
    pub fn cut_power(&self, seed: u64) {
        self.lock().cut_power(seed);
        self.0.resumed.notify_all();
    }

    /// Whoever has the disk open is killed: it loses the disk, which loses nothing.
    pub fn kill(&self) {
        self.lock().losses += 1;
        self.0.resumed.notify_all();
    }

    /// The power goes at the write or sync behind the next `operations`.
    pub fn cut_power_after(&self, operations: u64, seed: u64) {
        self.lock().cut = Some((operations, seed));
    }

    /// How often the power went.
    pub fn power_cuts(&self) -> u64 {
        self.lock().power_cuts
    }

    /// How often whoever had the disk open has lost it.
    pub fn losses(&self) -> u64 {
        self.lock().losses
    }

    /// From now on there is room for this many bytes; for any number if `None`.
    pub fn set_limit(&self, limit: Option<usize>) {
        self.lock().limit = limit;
    }

    /// Whether there is room for so many bytes only.
    pub fn is_limited(&self) -> bool {
        self.lock().limit.is_some()
    }

    /// From now on a sync blocks its thread until [`FaultyDisk::resume`].
    pub fn stall(&self) {
        self.lock().is_stalled = true;
    }

    /// From now on syncs are acknowledged and do nothing. A power cut takes back all that was written since.
    pub fn lie(&self) {
        self.lock().is_lying = true;
    }

    /// Lets syncs happen again.
    pub fn resume(&self) {
        self.lock().is_stalled = false;
        self.0.resumed.notify_all();
    }

    /// The syncs so far.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Where `bytes` stand on the disk, at every place.
    pub fn find(&self, bytes: &[u8]) -> Vec<usize> {
        let disk = self.lock();
        disk.seen.windows(bytes.len()).enumerate().filter(|(_, found)| *found == bytes).map(|(at, _)| at).collect()
    }

    /// The bytes on the disk.
    pub fn len(&self) -> usize {
        self.lock().seen.len()
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Flips a bit.
    pub fn flip(&self, bit: usize) {
        let mut disk = self.lock();
        let disk = &mut *disk;
        for bytes in [&mut disk.seen, &mut disk.synced] {
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Another disk with the same bytes.
    pub fn copy(&self) -> Self {
        let disk = self.lock();
        let copy = Disk { synced: disk.synced.clone(), seen: disk.seen.clone(), ..Disk::default() };
        Self(Arc::new(Shared { disk: Mutex::new(copy), resumed: Condvar::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An audit log on `disk`.
pub fn audit_on(disk: &FaultyDisk) -> Opening {
    let backend = disk.backend();
    Box::pin(async move { Ok(redb::Builder::new().set_cache_size(1 << 20).create_with_backend(backend)?) })
}

impl Disk {
    fn is_open(&self) -> bool {
        self.opened == Some(self.losses)
    }

    fn cut_power(&mut self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let share = if self.is_lying { 0.0 } else { [0.0, 0.1, 0.5, 0.9, 1.0][random.random_range(0..5)] };
        for change in std::mem::take(&mut self.unsynced) {
            change.make(&mut self.synced, || random.random_bool(share));
        }
        self.seen.clone_from(&self.synced);
        self.cut = None;
        self.losses += 1;
        self.power_cuts += 1;
    }

    fn sync(&mut self) {
        if self.is_lying {
            return;
        }
        for change in self.unsynced.drain(..) {
            change.make(&mut self.synced, || true);
        }
    }

    /// Counts a write or sync.
    fn count(&mut self) {
        match self.cut {
            Some((0, seed)) => self.cut_power(seed),
            Some((operations, seed)) => self.cut = Some((operations - 1, seed)),
            None => {}
        }
    }

    fn make_room(&self, len: usize) -> io::Result<()> {
        if self.limit.is_some_and(|limit| len > limit) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Change {
    /// Changes `bytes`, but only the sectors that are let through, or the length if that is.
    fn make(self, bytes: &mut Vec<u8>, mut is_made: impl FnMut() -> bool) {
        match self {
            Self::SetLen(len) if is_made() => bytes.resize(len, 0),
            Self::SetLen(_) => {}
            Self::Write(offset, data) => {
                for sector in sectors(offset, data.len()).filter(|_| is_made()) {
                    write(bytes, sector.start, &data[sector.start - offset..sector.end - offset]);
                }
            }
        }
    }
}

/// The range, cut where sectors begin.
fn sectors(offset: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = offset + len;
    let first = offset / SECTOR * SECTOR;
    (first..end).step_by(SECTOR).map(move |start| start.max(offset)..(start + SECTOR).min(end))
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

fn size(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(io::Error::other)
}

impl Backend {
    /// The disk, if it was not lost since it was opened.
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk.lock();
        if disk.losses == self.losses { Ok(disk) } else { Err(io::Error::other("the disk is gone")) }
    }

    /// The disk for a write or a sync, at which the power may go.
    fn disk_to_change(&self) -> io::Result<MutexGuard<'_, Disk>> {
        self.disk()?.count();
        self.disk()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        disk.opened.take_if(|losses| *losses == self.losses);
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk()?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.disk()?;
        let start = size(offset)?;
        let bytes = disk.seen.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk_to_change()?;
        let len = size(len)?;
        disk.make_room(len)?;
        disk.seen.resize(len, 0);
        disk.unsynced.push(Change::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let disk = self.disk_to_change()?;
        let resumed = &self.disk.0.resumed;
        let is_waiting = |disk: &mut Disk| disk.is_stalled && disk.losses == self.losses;
        drop(resumed.wait_while(disk, is_waiting).unwrap_or_else(PoisonError::into_inner));
        let mut disk = self.disk()?;
        disk.sync();
        disk.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.disk_to_change()?;
        let offset = size(offset)?;
        disk.make_room(offset + data.len())?;
        write(&mut disk.seen, offset, data);
        disk.unsynced.push(Change::Write(offset, data.to_vec()));
        Ok(())
    }
}
