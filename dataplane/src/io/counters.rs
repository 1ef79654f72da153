//! What the shell received, sent, and could not deliver.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that the driver writes and anyone may read.
#[derive(Debug, Default)]
pub struct IoCounters {
    received_batches: AtomicU64,
    received_datagrams: AtomicU64,
    received_bytes: AtomicU64,
    underlay_groups: AtomicU64,
    underlay_datagrams: AtomicU64,
    underlay_bytes: AtomicU64,
    underlay_lost: AtomicU64,
    overlay_packets: AtomicU64,
    overlay_lost: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoCounts {
    /// Batches of datagrams received, each of one sender and by one system call where the kernel joins.
    pub received_batches: u64,
    /// Datagrams received.
    pub received_datagrams: u64,
    /// Bytes in these datagrams.
    pub received_bytes: u64,
    /// Groups of datagrams sent, each by one system call where the kernel segments.
    pub underlay_groups: u64,
    /// Datagrams in these groups.
    pub underlay_datagrams: u64,
    /// Bytes in these datagrams.
    pub underlay_bytes: u64,
    /// Datagrams that are lost because the kernel did not take their group as a whole.
    pub underlay_lost: u64,
    /// Packets written to the device, joined ones counted once.
    pub overlay_packets: u64,
    /// Packets that the device did not take.
    pub overlay_lost: u64,
}

/// What was received or sent in one go.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) batches: u64,
    pub(super) datagrams: u64,
    pub(super) bytes: u64,
}

impl Moved {
    /// Adds a batch of datagrams, each `stride` bytes long but for the last.
    pub(super) fn add(&mut self, bytes: usize, stride: usize) {
        self.batches += 1;
        self.datagrams += bytes.div_ceil(stride.max(1)).max(1) as u64;
        self.bytes += bytes as u64;
    }
}

impl IoCounters {
    /// The counters now.
    pub fn counts(&self) -> IoCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IoCounts {
            received_batches: read(&self.received_batches),
            received_datagrams: read(&self.received_datagrams),
            received_bytes: read(&self.received_bytes),
            underlay_groups: read(&self.underlay_groups),
            underlay_datagrams: read(&self.underlay_datagrams),
            underlay_bytes: read(&self.underlay_bytes),
            underlay_lost: read(&self.underlay_lost),
            overlay_packets: read(&self.overlay_packets),
            overlay_lost: read(&self.overlay_lost),
        }
    }

    pub(super) fn received(&self, moved: &Moved) {
        self.received_batches.fetch_add(moved.batches, Ordering::Relaxed);
        self.received_datagrams.fetch_add(moved.datagrams, Ordering::Relaxed);
        self.received_bytes.fetch_add(moved.bytes, Ordering::Relaxed);
    }

    pub(super) fn underlay(&self, moved: &Moved, lost: u64) {
        self.underlay_groups.fetch_add(moved.batches, Ordering::Relaxed);
        self.underlay_datagrams.fetch_add(moved.datagrams, Ordering::Relaxed);
        self.underlay_bytes.fetch_add(moved.bytes, Ordering::Relaxed);
        self.underlay_lost.fetch_add(lost, Ordering::Relaxed);
    }

    pub(super) fn overlay(&self, packets: u64, lost: u64) {
        self.overlay_packets.fetch_add(packets, Ordering::Relaxed);
        self.overlay_lost.fetch_add(lost, Ordering::Relaxed);
    }
}
