//! What somebody shows with every request: an id, and 32 random bytes of which the registry has only the hash.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use festoon_proto::token::SecretHash;
use festoon_proto::{ApiTokenId, SessionId};
use zeroize::{Zeroize as _, Zeroizing};

/// A random secret. Never printed, wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A new one.
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// The secret with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What the registry stores.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }

    /// What a page has to send along with this secret, to show that it is ours: made of the secret, which no page can read.
    pub fn csrf_token(&self) -> String {
        let bytes = Zeroizing::new([b"festoon csrf token ", &self.0[..]].concat());
        URL_SAFE_NO_PAD.encode(SecretHash::of(&bytes).0)
    }

    fn encode(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0))
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        bytes.as_slice().try_into().ok().map(Self)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// A text is no credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is damaged or cut off: copy all of it")]
pub struct ParseSecretError;

/// What the cookie of a session holds: `s7.SECRET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSecret {
    /// Which session.
    pub id: SessionId,
    /// Its secret.
    pub secret: Secret,
}

/// What a program shows: `festoon-api-k7-SECRET`. It begins so that whoever looks for secrets in the wrong places finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTokenSecret {
    /// Which token.
    pub id: ApiTokenId,
    /// Its secret.
    pub secret: Secret,
}

const API_TOKEN: &str = "festoon-api-";
const SET_UP: &str = "festoon-setup-";

impl SessionSecret {
    /// As the cookie holds it.
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}.{}", self.id, *self.secret.encode()))
    }
}

impl FromStr for SessionSecret {
    type Err = ParseSecretError;

    fn from_str(text: &str) -> Result<Self, ParseSecretError> {
        let (id, secret) = text.split_once('.').ok_or(ParseSecretError)?;
        let (id, secret) = (id.parse().map_err(|_| ParseSecretError)?, Secret::decode(secret));
        Ok(Self { id, secret: secret.ok_or(ParseSecretError)? })
    }
}

impl ApiTokenSecret {
    /// The token. Shown once.
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{API_TOKEN}{}-{}", self.id, *self.secret.encode()))
    }
}

impl FromStr for ApiTokenSecret {
    type Err = ParseSecretError;

    fn from_str(text: &str) -> Result<Self, ParseSecretError> {
        let (id, secret) =
            text.strip_prefix(API_TOKEN).and_then(|rest| rest.split_once('-')).ok_or(ParseSecretError)?;
        let (id, secret) = (id.parse().map_err(|_| ParseSecretError)?, Secret::decode(secret));
        Ok(Self { id, secret: secret.ok_or(ParseSecretError)? })
    }
}

/// The secret that makes the first owner, as it is shown once.
pub fn set_up_text(secret: &Secret) -> Zeroizing<String> {
    Zeroizing::new(format!("{SET_UP}{}", *secret.encode()))
}

/// The set-up secret of this text.
pub fn parse_set_up(text: &str) -> Result<Secret, ParseSecretError> {
    text.trim().strip_prefix(SET_UP).and_then(Secret::decode).ok_or(ParseSecretError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_survive_being_copied_and_are_never_printed() {
        // Base64url has hyphens too.
        let secret = Secret::from_bytes([0xfb; 32]);
        let session = SessionSecret { id: SessionId(7), secret: secret.clone() };
        assert_eq!(session.to_secret_text().parse(), Ok(session.clone()));
        let token = ApiTokenSecret { id: ApiTokenId(7), secret: secret.clone() };
        assert_eq!(token.to_secret_text().parse(), Ok(token.clone()));
        assert!(token.to_secret_text().starts_with("festoon-api-k7--_v7-_v7"), "{}", *token.to_secret_text());
        assert_eq!(parse_set_up(&format!(" {}\n", *set_up_text(&secret))), Ok(secret));
        assert_eq!(format!("{session:?}"), "SessionSecret { id: SessionId(7), secret: Secret(redacted) }");
        for bad in ["", "s7", "s7.x", "festoon-api-k7", "festoon-api-k7-x", "festoon-setup-x"] {
            assert!(bad.parse::<SessionSecret>().is_err() && bad.parse::<ApiTokenSecret>().is_err(), "{bad}");
            assert!(parse_set_up(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_csrf_token_tells_nothing_of_its_secret() {
        let secret = Secret::from_bytes([1; 32]);
        assert_eq!(secret.csrf_token(), secret.clone().csrf_token());
        assert_ne!(secret.csrf_token(), Secret::from_bytes([2; 32]).csrf_token());
        assert_ne!(secret.csrf_token(), URL_SAFE_NO_PAD.encode(secret.hash().0));
    }
}
