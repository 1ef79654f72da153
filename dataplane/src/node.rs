//! What a driver drives: one node of the overlay, as a state machine.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::batch::{Coalesce, OverlayBatch, UnderlayBatch};
use crate::packet::offload::VnetHeader;

/// The two ends of an underlay path, as this node sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnderlayPath {
    /// The other end.
    pub remote: SocketAddr,
    /// Our address on it, where a host with several must answer from the one that was asked. `None` leaves the choice to
    /// the kernel, which follows a change of our own address.
    pub local: Option<IpAddr>,
}

/// What a node wants sent, gathered over one turn of its driver.
#[derive(Debug)]
pub struct Effects {
    /// Encrypted datagrams for the underlay.
    pub underlay: UnderlayBatch,
    /// As `underlay`, but no router on the way may cut these into fragments: they measure a path. Few, and seldom any.
    pub whole: UnderlayBatch,
    /// Decrypted packets for the local device. Stays empty on a node without one.
    pub overlay: OverlayBatch,
}

impl Effects {
    /// Nothing yet. For a socket that sends at most `max_segments` datagrams at once, and a device that takes what
    /// `coalesce` says joined.
    pub fn new(max_segments: usize, coalesce: Coalesce) -> Self {
        Self {
            underlay: UnderlayBatch::new(max_segments),
            whole: UnderlayBatch::new(1),
            overlay: OverlayBatch::new(coalesce),
        }
    }
}

/// The datagrams that arrived back to back, each `stride` bytes long except that the last may be shorter. No bytes at all
/// are one empty datagram: it means nothing, but it is counted like any other that does not.
pub fn split_datagrams(bytes: &[u8], stride: usize) -> impl Iterator<Item = &[u8]> {
    let empty = bytes.is_empty().then_some(bytes);
    empty.into_iter().chain(bytes.chunks(stride.max(1)))
}

/// A node of the overlay: a state machine that reads no clock and no socket.
///
/// `handle_*` methods take input and may leave something to send in [`Effects`]; `poll_*` methods give output. After any
/// `handle_*` call the driver must ask for the next timeout anew.
pub trait Node {
    /// What the rest of the program asks of the node.
    type Command;
    /// What the node tells the rest of the program.
    type Event;

    /// Datagrams that arrived back to back on one path, each `stride` bytes long except that the last may be shorter.
    fn handle_underlay(
        &mut self,
        now: Instant,
        path: UnderlayPath,
        datagrams: &[u8],
        stride: usize,
        effects: &mut Effects,
    );

    /// A packet from the local device, perhaps a large one to be split. `frame` is scratch space afterwards.
    fn handle_overlay(&mut self, now: Instant, header: &VnetHeader, frame: &mut [u8], effects: &mut Effects);

    /// The underlay says that `to` cannot be reached. Not authenticated: a hint, never a verdict.
    fn handle_unreachable(&mut self, now: Instant, to: SocketAddr, effects: &mut Effects);

    /// The time that [`Node::poll_timeout`] gave has come.
    fn handle_timeout(&mut self, now: Instant, effects: &mut Effects);

    /// The rest of the program asks for something.
    fn handle_command(&mut self, now: Instant, command: Self::Command, effects: &mut Effects);

    /// When to call [`Node::handle_timeout`] next.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The next thing the rest of the program should know.
    fn poll_event(&mut self) -> Option<Self::Event>;
}

#[cfg(test)]
mod tests {
    use super::split_datagrams;

    #[test]
    fn an_empty_datagram_is_a_datagram() {
        let lengths = |bytes: &[u8]| split_datagrams(bytes, 2).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!((lengths(&[]), lengths(&[1, 2]), lengths(&[1, 2, 3])), (vec![0], vec![2], vec![2, 1]));
    }
}
