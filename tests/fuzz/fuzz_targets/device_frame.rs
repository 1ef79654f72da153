//! A frame from the device: an offload header and a packet, perhaps to be split.
#![no_main]

use festoon_dataplane::packet::offload::{VnetHeader, split};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    let Some((header, frame)) = VnetHeader::parse(&mut bytes) else { return };
    let len = frame.len();
    let _ = split(&header, frame, |packet| assert!(packet.len() <= len));
});
