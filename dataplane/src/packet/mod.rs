//! Packets: parsed once, offsets kept.

pub mod checksum;
pub mod offload;
