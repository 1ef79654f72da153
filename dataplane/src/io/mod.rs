//! The shell: the device, the socket, and the loop that drives a [`Node`](crate::Node).
//!
//! The node is pure; all that touches the kernel or reads the clock is here. `driver` and `turn` hold the loop, behind
//! the small traits of `port`, so that tests drive it over channels. `sys` has every system call that no safe interface
//! offers: it is the only file with `unsafe`.

mod counters;
mod driver;
mod port;
mod readiness;
mod socket;
mod sys;
#[cfg(test)]
mod testing;
mod tun;
mod turn;
mod udp;

pub use counters::{IoCounters, IoCounts};
pub use driver::{DriverError, DriverHandle, Priority, spawn};
pub use port::{OverlayPort, Progress, Received, UnderlayPort};
pub use tun::{TunConfig, TunError, TunPort};
pub use udp::{UdpConfig, UdpPort};
