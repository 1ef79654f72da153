//! X25519 keys (RFC 7748) as WireGuard writes them: 32 bytes, in text standard base64.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroize;

use crate::text::{bytes_as_text, from_base64, to_base64};

/// A text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key: expected 32 bytes in base64, 44 characters as `wg genkey` prints them")]
pub struct ParseKeyError;

/// The public half of a node's key: its identity in the WireGuard protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// The private half. Never printed, wiped from memory when dropped.
#[derive(Clone)]
pub struct PrivateKey([u8; 32]);

impl PublicKey {
    /// A key from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PrivateKey {
    /// A key from 32 random bytes; the bits that RFC 7748 section 5 fixes are set when the key is used.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 secret bytes.
    pub const fn secret_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key as `wg` reads it. Secret: only for files that a person asked for.
    pub fn to_secret_base64(&self) -> String {
        to_base64(&self.0)
    }

    /// The public half of this key.
    pub fn public_key(&self) -> PublicKey {
        let secret = x25519_dalek::StaticSecret::from(self.0);
        PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

bytes_as_text!(PublicKey, to_base64, parse, ParseKeyError);

fn parse(text: &str) -> Result<[u8; 32], ParseKeyError> {
    from_base64(text).ok_or(ParseKeyError)
}

impl FromStr for PrivateKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        parse(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_key_is_that_of_rfc_7748_section_6_1() {
        let private = [
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45, 0xdf, 0x4c,
            0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
        ];
        let public = PrivateKey::from_bytes(private).public_key();
        assert_eq!(public.as_bytes()[..4], [0x85, 0x20, 0xf0, 0x09]);
    }

    #[test]
    fn a_key_survives_text_and_bytes() {
        let key = PublicKey::from_bytes([7; 32]);
        assert_eq!(key.to_string().parse(), Ok(key));
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, "\"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\"");
        assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), key);
        let bytes = postcard::to_stdvec(&key).unwrap();
        assert_eq!(bytes.len(), 32);
        assert_eq!(postcard::from_bytes::<PublicKey>(&bytes).unwrap(), key);
    }

    #[test]
    fn a_private_key_is_never_printed() {
        let key = PrivateKey::from_bytes([9; 32]);
        assert_eq!(format!("{key:?}"), "PrivateKey(redacted)");
        assert!("short".parse::<PrivateKey>().is_err());
    }
}
