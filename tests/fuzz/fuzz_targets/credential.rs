//! Credentials, keys and ids from text.
#![no_main]

use festoon_proto::http::Credential;
use festoon_proto::{EndpointId, PublicKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(credential) = text.parse::<Credential>() {
        assert_eq!(credential.to_secret_string().parse(), Ok(credential));
    }
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    if let Ok(id) = text.parse::<EndpointId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
});
