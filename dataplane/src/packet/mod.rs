//! Packets: parsed once, offsets kept.

pub mod checksum;
pub mod fragment;
pub mod ip;
pub mod offload;
#[cfg(test)]
pub(crate) mod testing;
