//! Whatever decodes as a signal message encodes to a message that decodes to the same.
#![no_main]

use festoon_proto::signal::{MAX_SIGNAL_LEN, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::decode(bytes) else { return };
    let mut buffer = [0; MAX_SIGNAL_LEN];
    if let Ok(len) = message.encode(&mut buffer) {
        assert_eq!(Message::decode(&buffer[..len]), Ok(message));
    }
});
