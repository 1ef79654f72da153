//! What the driver needs of a socket and of a device. Tests have channels behind these traits.

use std::io;
use std::net::SocketAddr;

use crate::UnderlayPath;
use crate::batch::{Coalesce, OverlayPacket, UnderlayGroup};
use crate::packet::offload::VnetHeader;

/// Whether a port may have more to receive without being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It had nothing more: wait for it.
    Drained,
    /// A whole batch was received, and there may be another.
    More,
}

/// What comes in from the underlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received<'a> {
    /// Datagrams that arrived back to back on one path; no bytes are one empty datagram.
    Datagrams {
        /// Where they came from, and to which of our addresses.
        path: UnderlayPath,
        /// The datagrams, back to back.
        bytes: &'a [u8],
        /// The length of each but the last, which may be shorter.
        stride: usize,
    },
    /// An ICMP error, or the kernel's own routes, say that this address cannot be reached.
    Unreachable(SocketAddr),
}

/// A socket of the underlay.
pub trait UnderlayPort: Send + 'static {
    /// Called once, inside the runtime that will wait for the port, before anything else.
    fn register(&mut self) -> io::Result<()>;

    /// Waits until there may be something to receive. May be cancelled at any time.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;

    /// Gives a bounded batch of what has come in to `handle`; never waits.
    ///
    /// # Errors
    /// The socket is broken for good.
    fn receive(&mut self, handle: impl FnMut(Received<'_>)) -> io::Result<Progress>;

    /// Sends a group, after a bounded wait if the socket is full.
    ///
    /// # Errors
    /// At least one of its datagrams was not sent.
    fn send(&mut self, group: &UnderlayGroup<'_>) -> io::Result<()>;

    /// As [`UnderlayPort::send`], but the datagrams arrive whole or not at all: neither this host nor a router may cut them
    /// into fragments, whatever is known of the path.
    ///
    /// # Errors
    /// As [`UnderlayPort::send`]; also if a datagram is too large for the first link.
    fn send_whole(&mut self, group: &UnderlayGroup<'_>) -> io::Result<()>;

    /// The most datagrams a group may have.
    fn max_segments(&self) -> usize;
}

/// A device of the overlay.
pub trait OverlayPort: Send + 'static {
    /// Called once, inside the runtime that will wait for the port, before anything else.
    fn register(&mut self) -> io::Result<()>;

    /// Waits until there may be something to receive. May be cancelled at any time.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;

    /// Gives at most one packet to `handle`, which may use it as scratch space; never waits.
    ///
    /// # Errors
    /// The device is gone.
    fn receive(&mut self, handle: impl FnOnce(&VnetHeader, &mut [u8])) -> io::Result<Progress>;

    /// Writes a packet.
    ///
    /// # Errors
    /// The packet was not written.
    fn send(&mut self, packet: &OverlayPacket<'_>) -> io::Result<()>;

    /// What the device takes joined.
    fn coalesce(&self) -> Coalesce;
}

/// A manager has no device: nothing comes in, and nothing should go out.
impl<P: OverlayPort> OverlayPort for Option<P> {
    fn register(&mut self) -> io::Result<()> {
        self.as_mut().map_or(Ok(()), P::register)
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Some(port) => port.readable().await,
            None => std::future::pending().await,
        }
    }

    fn receive(&mut self, handle: impl FnOnce(&VnetHeader, &mut [u8])) -> io::Result<Progress> {
        self.as_mut().map_or(Ok(Progress::Drained), |port| port.receive(handle))
    }

    fn send(&mut self, packet: &OverlayPacket<'_>) -> io::Result<()> {
        self.as_mut().map_or_else(|| Err(io::ErrorKind::NotFound.into()), |port| port.send(packet))
    }

    fn coalesce(&self) -> Coalesce {
        self.as_ref().map_or(Coalesce::None, P::coalesce)
    }
}
