//! Packets: tunnels, routing, liveness.
//!
//! *Pure* by default: no sockets, no files, no clock. Time comes in as an argument and what should be sent is gathered in
//! [`Effects`]. The feature `io` adds the shell: TUN devices, UDP sockets and the loop that drives a [`Node`].

pub mod batch;
pub mod bucket;
pub mod drop_reason;
pub mod forwarder;
pub mod liveness;
pub mod node;
pub mod packet;
pub mod peers;
pub mod router;
pub mod tunnel;

#[cfg(feature = "io")]
pub mod io;

pub use node::{Effects, Node, UnderlayPath, split_datagrams};
