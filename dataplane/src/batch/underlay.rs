//! Encrypted datagrams to send, grouped for UDP segmentation offload (GSO).

use crate::UnderlayPath;

/// The largest UDP payload over IPv4 (RFC 768): 65,535 bytes less both headers.
const MAX_UDP_PAYLOAD: usize = 65_507;

/// Groups that may still grow. Traffic of one turn seldom goes to more paths, and a search through these is short.
const MAX_OPEN: usize = 8;

/// Datagrams that one system call can send: all to the same path, all `segment_size` bytes long except that the last
/// may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderlayGroup<'a> {
    /// Where they go.
    pub path: UnderlayPath,
    /// Bytes of each datagram but the last.
    pub segment_size: usize,
    /// The datagrams, back to back.
    pub bytes: &'a [u8],
}

impl<'a> UnderlayGroup<'a> {
    /// The single datagrams, in order.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.bytes.chunks(self.segment_size)
    }
}

/// Encrypted datagrams to send. Its buffers are reused from turn to turn.
///
/// Order is kept among the datagrams of one path, not between paths.
#[derive(Debug)]
pub struct UnderlayBatch {
    max_segments: usize,
    /// The first `used` hold datagrams, the rest wait for the next turn.
    groups: Vec<Group>,
    used: usize,
    datagrams: usize,
    /// Groups that may grow, by index. At most one a path, so that order is kept.
    open: Vec<usize>,
    reserved: Option<Reservation>,
}

#[derive(Debug)]
struct Group {
    path: UnderlayPath,
    segment_size: usize,
    segments: usize,
    len: usize,
    /// Grows to what was ever reserved and never shrinks, so that it is zeroed only once.
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Reservation {
    group: usize,
    path: UnderlayPath,
    max: usize,
}

impl UnderlayBatch {
    /// An empty batch that puts at most `max_segments` datagrams in a group. 1 means no segmentation offload.
    pub fn new(max_segments: usize) -> Self {
        Self {
            max_segments: max_segments.max(1),
            groups: Vec::new(),
            used: 0,
            datagrams: 0,
            open: Vec::with_capacity(MAX_OPEN),
            reserved: None,
        }
    }

    /// Room for one datagram of at most `max` bytes (no more than 65,535) to `path`. Holds what it held before: the
    /// caller overwrites it. A reservation that is not followed by [`Self::commit`] is forgotten.
    pub fn reserve(&mut self, path: UnderlayPath, max: usize) -> &mut [u8] {
        let open = self.open.iter().rev().copied().find(|&index| self.groups[index].path == path);
        let group = open.unwrap_or_else(|| self.fresh(path));
        self.reserved = Some(Reservation { group, path, max });
        self.groups[group].room(max)
    }

    /// Makes the first `len` bytes of the reservation a datagram; 0 drops it. Without a reservation this does nothing.
    pub fn commit(&mut self, len: usize) {
        let Some(Reservation { mut group, path, max }) = self.reserved.take() else { return };
        let len = len.min(max);
        if len == 0 {
            return;
        }
        if !self.groups[group].takes(len) {
            group = self.move_to_fresh(group, path, len);
        }
        if group == self.used {
            self.open_group(group);
        }
        self.datagrams += 1;
        if self.groups[group].append(len, self.max_segments) == Growth::Ended {
            self.open.retain(|&index| index != group);
        }
    }

    /// Copies a datagram that exists already.
    pub fn push(&mut self, path: UnderlayPath, datagram: &[u8]) {
        self.reserve(path, datagram.len()).copy_from_slice(datagram);
        self.commit(datagram.len());
    }

    /// What to send, in order.
    pub fn groups(&self) -> impl Iterator<Item = UnderlayGroup<'_>> {
        self.groups[..self.used].iter().map(|group| UnderlayGroup {
            path: group.path,
            segment_size: group.segment_size,
            bytes: &group.buffer[..group.len],
        })
    }

    /// How many datagrams it holds.
    pub fn len(&self) -> usize {
        self.datagrams
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.datagrams == 0
    }

    /// Forgets all datagrams and keeps the buffers.
    pub fn clear(&mut self) {
        self.used = 0;
        self.datagrams = 0;
        self.open.clear();
        self.reserved = None;
    }

    /// Prepares the first unused group for `path`. It counts as used only once something is committed to it.
    fn fresh(&mut self, path: UnderlayPath) -> usize {
        match self.groups.get_mut(self.used) {
            Some(group) => group.reset(path),
            None => self.groups.push(Group { path, segment_size: 0, segments: 0, len: 0, buffer: Vec::new() }),
        }
        self.used
    }

    /// The datagram just written behind `from` is longer than that group's others: it begins a group of its own.
    fn move_to_fresh(&mut self, from: usize, path: UnderlayPath, len: usize) -> usize {
        self.open.retain(|&index| index != from);
        let to = self.fresh(path);
        let (before, after) = self.groups.split_at_mut(to);
        let source = &before[from];
        after[0].room(len).copy_from_slice(&source.buffer[source.len..source.len + len]);
        to
    }

    fn open_group(&mut self, group: usize) {
        self.used += 1;
        if self.open.len() == MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push(group);
    }
}

/// Whether a group may take further datagrams.
#[derive(Debug, PartialEq, Eq)]
enum Growth {
    Open,
    Ended,
}

impl Group {
    fn reset(&mut self, path: UnderlayPath) {
        self.path = path;
        self.segment_size = 0;
        self.segments = 0;
        self.len = 0;
    }

    fn room(&mut self, max: usize) -> &mut [u8] {
        let end = self.len + max;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        &mut self.buffer[self.len..end]
    }

    fn takes(&self, len: usize) -> bool {
        self.segments == 0 || len <= self.segment_size
    }

    fn append(&mut self, len: usize, max_segments: usize) -> Growth {
        if self.segments == 0 {
            self.segment_size = len;
        }
        self.segments += 1;
        self.len += len;
        let full = self.segments == max_segments || self.len + self.segment_size > MAX_UDP_PAYLOAD;
        if full || len < self.segment_size { Growth::Ended } else { Growth::Open }
    }
}

#[cfg(test)]
mod tests;
