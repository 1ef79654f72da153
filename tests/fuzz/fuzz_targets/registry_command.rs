//! A registry command from a log or a peer: applied or refused, never a panic.
#![no_main]

use festoon_control::registry::{Command, State, apply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut state = State::default();
    let mut rest = bytes;
    let mut index = 1;
    while let Ok((command, left)) = postcard::take_from_bytes::<Command>(rest) {
        if left.len() == rest.len() || index > 64 {
            return;
        }
        if let Ok((next, _)) = apply(&state, index, &command) {
            state = next;
        }
        (rest, index) = (left, index + 1);
    }
});
