//! What the shell could not deliver.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that the driver writes and anyone may read.
#[derive(Debug, Default)]
pub struct IoCounters {
    underlay_groups: AtomicU64,
    underlay_lost: AtomicU64,
    overlay_packets: AtomicU64,
    overlay_lost: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoCounts {
    /// Groups of datagrams sent, each by one system call where the kernel segments.
    pub underlay_groups: u64,
    /// Datagrams that are lost because the kernel did not take their group as a whole.
    pub underlay_lost: u64,
    /// Packets written to the device, joined ones counted once.
    pub overlay_packets: u64,
    /// Packets that the device did not take.
    pub overlay_lost: u64,
}

impl IoCounters {
    /// The counters now.
    pub fn counts(&self) -> IoCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IoCounts {
            underlay_groups: read(&self.underlay_groups),
            underlay_lost: read(&self.underlay_lost),
            overlay_packets: read(&self.overlay_packets),
            overlay_lost: read(&self.overlay_lost),
        }
    }

    pub(super) fn underlay(&self, groups: u64, lost: u64) {
        self.underlay_groups.fetch_add(groups, Ordering::Relaxed);
        self.underlay_lost.fetch_add(lost, Ordering::Relaxed);
    }

    pub(super) fn overlay(&self, packets: u64, lost: u64) {
        self.overlay_packets.fetch_add(packets, Ordering::Relaxed);
        self.overlay_lost.fetch_add(lost, Ordering::Relaxed);
    }
}
