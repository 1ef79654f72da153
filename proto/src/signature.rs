//! Signatures of managers: Ed25519 (RFC 8032).
//!
//! A manager signs what it vouches for: the changes of the registry that it proposes, and what it says about the cluster to
//! members that may not take it from anybody else. Each kind of statement has a label of its own in front of what is
//! signed, so that no signature can be used for another kind.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize;

use crate::text::{bytes_as_text, from_base64, to_base64};

/// A text is not a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a signing key: expected 32 bytes in base64, 44 characters")]
pub struct ParseSigningKeyError;

/// The private half of a signing key: the seed of RFC 8032, section 5.1.5. Never printed, wiped from memory when dropped.
#[derive(Clone)]
pub struct SigningKey([u8; 32]);

/// The public half of a signing key: it checks signatures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey(pub [u8; 32]);

/// A signature, 64 bytes. In text base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl SigningKey {
    /// The key with this seed of 32 random bytes.
    pub const fn from_seed(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// The seed in base64. Secret: only for files.
    pub fn to_secret_base64(&self) -> String {
        to_base64(&self.0)
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair().public_key().as_ref());
        VerifyingKey(bytes)
    }

    /// Signs `message` under `label`, which names the kind of statement.
    pub fn sign(&self, label: &str, message: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.pair().sign(&labelled(label, message)).as_ref());
        Signature(bytes)
    }

    #[expect(clippy::expect_used, reason = "ring refuses a seed only for its length, which is part of the type")]
    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.0).expect("a seed has 32 bytes")
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

impl FromStr for SigningKey {
    type Err = ParseSigningKeyError;

    fn from_str(text: &str) -> Result<Self, ParseSigningKeyError> {
        parse(text).map(Self)
    }
}

impl VerifyingKey {
    /// Whether the holder of this key signed `message` under `label`.
    pub fn verifies(&self, label: &str, message: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(&labelled(label, message), &signature.0).is_ok()
    }
}

bytes_as_text!(VerifyingKey, to_base64, parse, ParseSigningKeyError);

/// The length of the label stands in front, so that label and message can be divided in one way only.
fn labelled(label: &str, message: &[u8]) -> Vec<u8> {
    let length = u64::try_from(label.len()).unwrap_or(u64::MAX).to_be_bytes();
    [&length[..], label.as_bytes(), message].concat()
}

fn parse(text: &str) -> Result<[u8; 32], ParseSigningKeyError> {
    from_base64(text).ok_or(ParseSigningKeyError)
}

impl Signature {
    /// The signature with these 64 bytes, right or wrong.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", STANDARD.encode(self.0))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (first, second) = self.0.split_at(32);
        match serializer.is_human_readable() {
            true => serializer.collect_str(&STANDARD.encode(self.0)),
            false => (half(first), half(second)).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bytes = [0; 64];
        if deserializer.is_human_readable() {
            let decoded = STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
            let decoded: [u8; 64] = decoded.try_into().map_err(|_| D::Error::custom("a signature has 64 bytes"))?;
            return Ok(Self(decoded));
        }
        let (first, second) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        bytes[..32].copy_from_slice(&first);
        bytes[32..].copy_from_slice(&second);
        Ok(Self(bytes))
    }
}

/// Half a signature: serde knows arrays of up to 32.
fn half(bytes: &[u8]) -> [u8; 32] {
    let mut half = [0; 32];
    half.copy_from_slice(bytes);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1: a known seed gives a known public key.
    #[test]
    fn the_public_key_is_that_of_the_rfc() {
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
            0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        assert_eq!(SigningKey::from_seed(seed).verifying_key().0[..4], [0xd7, 0x5a, 0x98, 0x01]);
    }

    #[test]
    fn a_signature_holds_for_its_key_label_and_message_alone() {
        let key = SigningKey::from_seed([1; 32]);
        let signature = key.sign("a", b"message");
        let public = key.verifying_key();
        assert!(public.verifies("a", b"message", &signature));
        assert!(!public.verifies("b", b"message", &signature));
        assert!(!public.verifies("a", b"massage", &signature));
        assert!(!public.verifies("am", b"essage", &signature), "label and message are divided in one place");
        assert!(!SigningKey::from_seed([2; 32]).verifying_key().verifies("a", b"message", &signature));
        assert!(!public.verifies("a", b"message", &Signature::from_bytes([0; 64])));
    }

    #[test]
    fn keys_and_signatures_survive_text_and_bytes_and_no_secret_is_printed() {
        let key = SigningKey::from_seed([3; 32]);
        let (public, signature) = (key.verifying_key(), key.sign("a", b"b"));
        assert_eq!(public.to_string().parse(), Ok(public));
        let json = serde_json::to_string(&signature).unwrap();
        assert_eq!(serde_json::from_str::<Signature>(&json).unwrap(), signature);
        let bytes = postcard::to_stdvec(&signature).unwrap();
        assert_eq!(bytes.len(), 64);
        assert_eq!(postcard::from_bytes::<Signature>(&bytes).unwrap(), signature);
        let read: SigningKey = key.to_secret_base64().parse().unwrap();
        assert_eq!(read.verifying_key(), public);
        assert_eq!(format!("{key:?}"), "SigningKey(redacted)");
        assert!("short".parse::<SigningKey>().is_err());
    }
}
