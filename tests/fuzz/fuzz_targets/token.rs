//! Whatever reads as a token is written as a token that reads the same.
#![no_main]

use festoon_proto::token::JoinToken;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(token) = text.parse::<JoinToken>() {
        assert_eq!(token.to_secret_string().parse(), Ok(token));
    }
});
