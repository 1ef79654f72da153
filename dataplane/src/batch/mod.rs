//! What one turn of a driver gathers: datagrams for the underlay, packets for the local device.
//!
//! Both batches keep their buffers from turn to turn and join what can travel together through one system call: equal
//! datagrams to one path (UDP segmentation offload) and consecutive segments of one flow (receive offload).

mod join;
mod overlay;
mod underlay;

pub use overlay::{Coalesce, OverlayBatch, OverlayPacket};
pub use underlay::{UnderlayBatch, UnderlayGroup};
