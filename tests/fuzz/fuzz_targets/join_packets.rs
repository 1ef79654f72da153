//! Decrypted packets one after the other, joined where they continue each other: no byte may be lost or made up.
#![no_main]

use festoon_dataplane::batch::{Coalesce, OverlayBatch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packets: Vec<Vec<u8>>| {
    let mut batch = OverlayBatch::new(Coalesce::TcpAndUdp);
    let mut total = 0;
    for packet in packets.iter().filter(|packet| !packet.is_empty() && packet.len() <= 1500).take(64) {
        let room = batch.reserve(packet.len() + 32);
        room[..packet.len()].copy_from_slice(packet);
        batch.commit(packet.len());
        total += packet.len();
    }
    let joined: usize = batch.packets().map(|packet| packet.bytes.len()).sum();
    assert!(joined <= total);
});
