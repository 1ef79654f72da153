//! Decrypted packets for the local device, joined into large segments while they are decrypted.
//!
//! A packet is decrypted where its payload would have to be if it continued the flow of the one before:
//!
//! ```text
//!  the train so far                         the reservation
//! |headers|payload 1|payload 2      |headers|payload 3        |
//!                            ^ set aside    ^ the train's end
//! ```
//!
//! So its headers overwrite the end of the train, which was set aside and is put back once they were read. Most packets
//! do continue, and none of their payload is copied.

use super::join::{self, Class, Growth, MAX_HEADERS, Shape, Train};
use crate::packet::offload::VnetHeader;

/// Trains that may still grow. A search through these is short.
const MAX_OPEN: usize = 8;

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
///
/// Order is kept within a flow, not between flows.
#[derive(Debug)]
pub struct OverlayBatch {
    coalesce: Coalesce,
    /// The first `used` hold packets, the rest wait for the next turn.
    slots: Vec<Slot>,
    used: usize,
    /// Slots with a train that may grow, by index; at most one a flow. The last is the one that grew last.
    open: Vec<usize>,
    reserved: Option<Reservation>,
}

#[derive(Debug, Default)]
struct Slot {
    len: usize,
    train: Option<Train>,
    /// Grows to what was ever reserved and never shrinks, so that it is zeroed only once.
    buffer: Vec<u8>,
}

/// Where a packet is being decrypted.
#[derive(Debug, Clone, Copy)]
struct Reservation {
    slot: usize,
    start: usize,
    max: usize,
    /// The end of the train before, over which the packet's headers are written.
    aside: [u8; MAX_HEADERS],
    aside_len: usize,
}

/// A packet of a flow that is not in its place yet.
#[derive(Debug, Clone, Copy)]
struct Arrival<'a> {
    headers: &'a [u8],
    /// Where its payload is.
    slot: usize,
    start: usize,
    len: usize,
}

impl OverlayBatch {
    /// An empty batch that joins what `coalesce` allows.
    pub fn new(coalesce: Coalesce) -> Self {
        let open = Vec::with_capacity(MAX_OPEN);
        Self { coalesce, slots: Vec::new(), used: 0, open, reserved: None }
    }

    /// Room for one packet of at most `max` bytes: where it is decrypted. Holds what it held before: the caller
    /// overwrites it. A reservation that is not followed by [`Self::commit`] is forgotten.
    pub fn reserve(&mut self, max: usize) -> &mut [u8] {
        self.abandon();
        let (slot, aside_len) = match self.open.last() {
            Some(&slot) => (slot, self.slots[slot].train.map_or(0, |train| train.shape.headers)),
            None => (self.fresh(), 0),
        };
        let start = self.slots[slot].len - aside_len;
        let mut aside = [0; MAX_HEADERS];
        aside[..aside_len].copy_from_slice(&self.slots[slot].buffer[start..start + aside_len]);
        self.reserved = Some(Reservation { slot, start, max, aside, aside_len });
        self.slots[slot].room(start, max)
    }

    /// Makes the first `len` bytes of the reservation a packet, joined with those before if it continues them; 0 drops
    /// it. Without a reservation this does nothing.
    pub fn commit(&mut self, len: usize) {
        let len = match &self.reserved {
            Some(reservation) => len.min(reservation.max),
            None => return,
        };
        if len == 0 {
            self.abandon();
            return;
        }
        match self.classify(len) {
            Class::Joinable(shape) => self.place(shape, len),
            Class::Single(shape) => {
                let slot = self.settle(len);
                self.end_flow(shape, slot);
            }
            Class::Unknown => {
                self.settle(len);
                self.open.clear();
            }
        }
    }

    /// Copies a packet that exists already.
    pub fn push(&mut self, packet: &[u8]) {
        self.reserve(packet.len()).copy_from_slice(packet);
        self.commit(packet.len());
    }

    /// What to write, in order. Forgets a reservation that was not committed.
    pub fn packets(&mut self) -> impl Iterator<Item = OverlayPacket<'_>> {
        self.abandon();
        self.slots[..self.used].iter().map(|slot| OverlayPacket {
            header: slot.train.map_or_else(VnetHeader::default, |train| train.vnet_header()),
            bytes: &slot.buffer[..slot.len],
        })
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
        self.open.clear();
        self.reserved = None;
    }

    /// Prepares the first unused slot. It counts as used only once a packet is in it.
    fn fresh(&mut self) -> usize {
        if self.slots.len() == self.used {
            self.slots.push(Slot::default());
        }
        let slot = &mut self.slots[self.used];
        slot.len = 0;
        slot.train = None;
        self.used
    }

    /// Forgets the reservation and puts back what it overwrote.
    fn abandon(&mut self) {
        if let Some(Reservation { slot, start, aside, aside_len, .. }) = self.reserved.take() {
            self.slots[slot].buffer[start..start + aside_len].copy_from_slice(&aside[..aside_len]);
        }
    }

    fn classify(&self, len: usize) -> Class {
        match &self.reserved {
            Some(at) => join::classify(&self.slots[at.slot].buffer[at.start..at.start + len], self.coalesce),
            None => Class::Unknown,
        }
    }

    /// Puts a packet that stands alone into a slot of its own.
    fn settle(&mut self, len: usize) -> usize {
        let (from, start) = self.reserved.map_or((self.used, 0), |at| (at.slot, at.start));
        let to = if from == self.used { from } else { self.fresh() };
        self.copy(from, start, to, 0, len);
        self.abandon();
        self.slots[to].len = len;
        self.used += 1;
        to
    }

    /// Joins a packet with the train of its flow, or makes it the beginning of one.
    fn place(&mut self, shape: Shape, len: usize) {
        let Some(at) = self.reserved else { return };
        let mut headers = [0; MAX_HEADERS];
        let headers = &mut headers[..shape.headers];
        headers.copy_from_slice(&self.slots[at.slot].buffer[at.start..at.start + shape.headers]);
        let (slot, start) = if at.aside_len == 0 || at.aside_len == shape.headers {
            (at.slot, at.start + shape.headers)
        } else {
            // What was set aside ends elsewhere than these headers, so the payload is in its way.
            let slot = self.fresh();
            self.copy(at.slot, at.start, slot, 0, len);
            (slot, shape.headers)
        };
        self.abandon();
        let arrival = Arrival { headers, slot, start, len: len - shape.headers };
        match self.flow_of(shape, headers) {
            Some(open) if self.join(open, &arrival) => {}
            _ => self.begin_with(shape, &arrival),
        }
    }

    /// The position in `open` of the train of the flow that `headers` belong to.
    fn flow_of(&self, shape: Shape, headers: &[u8]) -> Option<usize> {
        self.open.iter().rposition(|&slot| shape.same_flow(headers, &self.slots[slot].buffer))
    }

    /// Adds `arrival` to an open train of its flow; `false` if it does not continue it.
    fn join(&mut self, open: usize, arrival: &Arrival<'_>) -> bool {
        let to = self.open[open];
        let Slot { len, train: Some(mut train), ref buffer } = self.slots[to] else { return false };
        if !train.continues(&buffer[..train.shape.headers], len, arrival.headers, arrival.len) {
            return false;
        }
        self.copy(arrival.slot, arrival.start, to, len, arrival.len);
        let slot = &mut self.slots[to];
        slot.len += arrival.len;
        let growth = train.extend(&mut slot.buffer[..slot.len], arrival.headers, arrival.len);
        slot.train = Some(train);
        self.open.remove(open);
        if growth == Growth::Open {
            self.open.push(to);
        }
        true
    }

    fn begin_with(&mut self, shape: Shape, arrival: &Arrival<'_>) {
        let to = if arrival.slot == self.used { arrival.slot } else { self.fresh() };
        self.copy(arrival.slot, arrival.start, to, shape.headers, arrival.len);
        let slot = &mut self.slots[to];
        slot.room(0, shape.headers).copy_from_slice(arrival.headers);
        slot.len = shape.headers + arrival.len;
        self.used += 1;
        self.begin(shape, to);
    }

    /// Makes the packet in `slot` the train of its flow in place of any other.
    fn begin(&mut self, shape: Shape, slot: usize) {
        self.end_flow(shape, slot);
        let Slot { len, buffer, .. } = &self.slots[slot];
        let (train, growth) = Train::begin(shape, &buffer[..*len]);
        self.slots[slot].train = Some(train);
        if growth == Growth::Ended {
            return;
        }
        if self.open.len() == MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push(slot);
    }

    /// No packet may be joined to an earlier one of the flow that the packet in `slot` belongs to.
    fn end_flow(&mut self, shape: Shape, slot: usize) {
        let Self { open, slots, .. } = self;
        let headers = &slots[slot].buffer;
        open.retain(|&other| !shape.same_flow(headers, &slots[other].buffer));
    }

    /// Copies between slots; does nothing if the bytes are in place.
    fn copy(&mut self, from: usize, start: usize, to: usize, at: usize, len: usize) {
        if from == to {
            return;
        }
        self.slots[to].room(at, len);
        if let Ok([from, to]) = self.slots.get_disjoint_mut([from, to]) {
            to.buffer[at..at + len].copy_from_slice(&from.buffer[start..start + len]);
        }
    }
}

impl Slot {
    fn room(&mut self, start: usize, max: usize) -> &mut [u8] {
        let end = start + max;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        &mut self.buffer[start..end]
    }
}

#[cfg(test)]
mod tests;
