//! Decrypted packets for the local device.

use crate::packet::offload::VnetHeader;

/// What may be joined into large segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coalesce {
    /// Nothing: the device takes single packets only.
    None,
    /// TCP segments of one flow.
    Tcp,
    /// TCP segments and UDP datagrams of one flow (Linux 6.2 and later).
    TcpAndUdp,
}

/// A packet for the local device, perhaps a large one that stands for several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverlayPacket<'a> {
    /// What the device must know of it.
    pub header: VnetHeader,
    /// The IP packet.
    pub bytes: &'a [u8],
}

/// Decrypted packets for the local device. Its buffers are reused from turn to turn.
#[derive(Debug)]
pub struct OverlayBatch {
    slots: Vec<(Vec<u8>, usize)>,
    used: usize,
}

impl OverlayBatch {
    /// An empty batch that joins what `coalesce` allows.
    pub fn new(_coalesce: Coalesce) -> Self {
        Self { slots: Vec::new(), used: 0 }
    }

    /// Room for one packet of at most `max` bytes: where it is decrypted.
    pub fn reserve(&mut self, max: usize) -> &mut [u8] {
        if self.slots.len() == self.used {
            self.slots.push((Vec::new(), 0));
        }
        let buffer = &mut self.slots[self.used].0;
        if buffer.len() < max {
            buffer.resize(max, 0);
        }
        &mut buffer[..max]
    }

    /// Makes the first `len` bytes of the reservation a packet; 0 drops it.
    pub fn commit(&mut self, len: usize) {
        if len > 0 {
            self.slots[self.used].1 = len;
            self.used += 1;
        }
    }

    /// Copies a packet that exists already.
    pub fn push(&mut self, packet: &[u8]) {
        self.reserve(packet.len()).copy_from_slice(packet);
        self.commit(packet.len());
    }

    /// What to write, in order.
    pub fn packets(&self) -> impl Iterator<Item = OverlayPacket<'_>> {
        let slots = self.slots[..self.used].iter();
        slots.map(|(buffer, len)| OverlayPacket { header: VnetHeader::default(), bytes: &buffer[..*len] })
    }

    /// How many packets it holds, joined ones counted once.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Forgets all packets and keeps the buffers.
    pub fn clear(&mut self) {
        self.used = 0;
    }
}
