//! Signatures of webhooks: HMAC-SHA256, as Standard Webhooks has it.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac::{HMAC_SHA256, Key, sign};
use zeroize::Zeroizing;

const PREFIX: &str = "whsec_";
/// Bytes of a secret that we make.
const LEN: usize = 32;

/// The secret that a receiver checks signatures with. Never printed.
#[derive(Clone)]
pub struct SigningSecret(Zeroizing<Vec<u8>>);

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(redacted)")
    }
}

/// A text is no secret for webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no secret for webhooks: it is whsec_ and 24 to 64 bytes in base64")]
pub struct BadSecret;

impl SigningSecret {
    /// With these random bytes.
    pub fn from_bytes(bytes: [u8; LEN]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// As a receiver gets it.
    pub fn to_secret_string(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", STANDARD.encode(&*self.0)))
    }

    /// The signature of a message that is sent at `timestamp`, in seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        let tag = sign(&Key::new(HMAC_SHA256, &self.0), &signed);
        format!("v1,{}", STANDARD.encode(tag))
    }
}

impl FromStr for SigningSecret {
    type Err = BadSecret;

    fn from_str(text: &str) -> Result<Self, BadSecret> {
        let bytes = text.strip_prefix(PREFIX).and_then(|base64| STANDARD.decode(base64).ok()).map(Zeroizing::new);
        bytes.filter(|bytes| (24..=64).contains(&bytes.len())).map(Self).ok_or(BadSecret)
    }
}

/// The value of `webhook-signature`: one of each secret, for there are two while one takes the place of the other.
pub fn signatures(secrets: &[SigningSecret], id: &str, timestamp: u64, body: &[u8]) -> String {
    secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// That of the specification's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_vector_of_the_specification() {
        let secret: SigningSecret = SECRET.parse().unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_is_replaced_both_sign() {
        let secrets = [SECRET.parse().unwrap(), SigningSecret::from_bytes([7; LEN])];
        let both = signatures(&secrets, "m1_1_2", 5, b"{}");
        let each: Vec<_> = secrets.iter().map(|secret| secret.sign("m1_1_2", 5, b"{}")).collect();
        assert_eq!(both, format!("{} {}", each[0], each[1]));
        assert_ne!(each[0], each[1]);
    }

    #[test]
    fn a_secret_is_not_printed_and_bad_ones_are_refused() {
        let secret = SigningSecret::from_bytes([7; LEN]);
        assert_eq!(format!("{secret:?}"), "SigningSecret(redacted)");
        let short = format!("whsec_{}", STANDARD.encode([1; 23]));
        let long = format!("whsec_{}", STANDARD.encode([1; 65]));
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!", &short, &long] {
            assert_eq!(bad.parse::<SigningSecret>().err(), Some(BadSecret), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_secret_comes_back(bytes: [u8; LEN], body: Vec<u8>) {
            let secret = SigningSecret::from_bytes(bytes);
            let again: SigningSecret = secret.to_secret_string().parse().unwrap();
            prop_assert_eq!(secret.sign("a", 1, &body), again.sign("a", 1, &body));
        }
    }
}
