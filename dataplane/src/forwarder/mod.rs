//! What happens to a packet on its way through a node.
//!
//! [`HostForwarder`] is an endpoint's: between its device and its manager. [`RouterForwarder`] is a manager's: between
//! tunnels and links, with neither device nor privilege. Both take one datagram or frame a call and leave what is to be
//! sent in [`Effects`](crate::Effects); every packet that goes no further is counted with its
//! [`DropReason`](crate::drop_reason::DropReason).

mod host;
mod router;

pub use host::{HostArrival, HostForwarder};
pub use router::{Neighbour, NeighbourStats, Place, RouterArrival, RouterForwarder};

/// Handshakes a node takes in a second before it asks for cookies (WireGuard, section 5.3).
const HANDSHAKES_PER_SECOND: u64 = 2_000;

#[cfg(test)]
mod tests;
