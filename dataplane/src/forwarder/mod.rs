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

/// Handshake messages of others that a node handles before it serves packets again. One that is answered costs some eight
/// key agreements, or a third of a millisecond.
pub const HANDSHAKES_AT_ONCE: usize = 4;

#[cfg(test)]
mod tests;
