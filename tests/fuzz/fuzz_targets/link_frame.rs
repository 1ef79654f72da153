//! Whatever parses as a link frame has the header it would be given.
#![no_main]

use festoon_proto::link::{LINK_HEADER_LEN, LinkHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    if let Some((header, packet)) = LinkHeader::parse(frame) {
        let encoded = header.encode(packet.len()).expect("it was a frame of this length");
        assert_eq!(encoded, frame[..LINK_HEADER_LEN]);
    }
});
