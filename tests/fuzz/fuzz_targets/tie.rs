//! Names in certificates: what ties a key to its manager. And postcard of the same, which gets past the encoding of the text.
#![no_main]

use festoon_proto::Tie;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let read = std::str::from_utf8(bytes).ok().and_then(Tie::from_uri);
    for tie in read.into_iter().chain(postcard::from_bytes::<Tie>(bytes).ok()) {
        if let Some(again) = Tie::from_uri(&tie.to_uri()) {
            assert_eq!(again, tie);
        }
    }
});
