//! Join tokens: all that a new node needs to find its cluster, to trust it and to be let in.
//!
//! `festoon1` + base64url without padding, of postcard, followed by the first 4 bytes of its SHA-256. The checksum
//! tells a token that was cut off while it was copied from one that is wrong.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::{ClusterId, Fingerprint};

const PREFIX: &str = "festoon1";
const CHECKSUM_LEN: usize = 4;

/// What a token lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// An endpoint, with `festoon join`.
    Endpoint,
    /// A manager, with `festoon-manager join`.
    Manager,
}

/// The one-time secret of a token. Managers keep only its SHA-256.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSecret([u8; 32]);

impl TokenSecret {
    /// A secret from 32 random bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What a manager stores, and how it finds the token again.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(redacted)")
    }
}

impl Drop for TokenSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The SHA-256 of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// The hash of `secret`.
    pub fn of(secret: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, secret);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        Self(hash)
    }
}

/// A join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// What it lets in.
    pub kind: TokenKind,
    /// The cluster it is for.
    pub cluster: ClusterId,
    /// The HTTPS listeners of its managers, to be tried in this order.
    pub managers: Vec<SocketAddr>,
    /// The cluster's CA, the only one the new node believes.
    pub ca_fingerprint: Fingerprint,
    /// The secret.
    pub secret: TokenSecret,
}

/// A text is not a join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseTokenError {
    /// It begins differently.
    #[error("this is not a join token: a token begins with \"{PREFIX}\"")]
    NotAToken,
    /// Characters are missing, added or changed.
    #[error("the join token is damaged or cut off: copy all of it, in one line, and try again")]
    Damaged,
    /// The checksum is right, but the content is not known here.
    #[error("the join token was made by another version of Festoon: install the version your managers run")]
    Version,
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_LEN] {
    let [a, b, c, d, ..] = SecretHash::of(body).0;
    [a, b, c, d]
}

impl JoinToken {
    /// The token as one word. It holds the secret: show it once, never log it.
    pub fn to_secret_string(&self) -> String {
        // Postcard fails only on sequences of unknown length, and a token has none.
        let mut body = postcard::to_stdvec(self).unwrap_or_default();
        body.extend_from_slice(&checksum(&body));
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(body))
    }
}

impl FromStr for JoinToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(ParseTokenError::NotAToken)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| ParseTokenError::Damaged)?;
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(ParseTokenError::Damaged)?;
        if *sum != checksum(body) {
            return Err(ParseTokenError::Damaged);
        }
        match postcard::take_from_bytes(body) {
            Ok((token, [])) => Ok(token),
            _ => Err(ParseTokenError::Version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            kind: TokenKind::Endpoint,
            cluster: ClusterId([1; 16]),
            managers: vec!["192.0.2.1:8443".parse().unwrap(), "[2001:db8::1]:8443".parse().unwrap()],
            ca_fingerprint: Fingerprint([2; 32]),
            secret: TokenSecret::from_bytes([3; 32]),
        }
    }

    #[test]
    fn a_token_survives_being_copied() {
        let text = token().to_secret_string();
        assert_eq!(format!(" {text}\n").parse(), Ok(token()));
        assert!(!format!("{:?}", token()).contains("3, 3"));
    }

    #[test]
    fn every_truncation_and_every_changed_character_is_named_as_damage() {
        let text = token().to_secret_string();
        for end in PREFIX.len()..text.len() {
            assert_eq!(text[..end].parse::<JoinToken>(), Err(ParseTokenError::Damaged), "cut at {end}");
        }
        for at in PREFIX.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(changed.parse::<JoinToken>(), Err(ParseTokenError::Damaged), "changed at {at}");
        }
        assert_eq!("hello".parse::<JoinToken>(), Err(ParseTokenError::NotAToken));
    }
}
