//! What a host makes for itself before it asks to be let in.

use festoon_proto::token::{SecretHash, TokenSecret};
use festoon_proto::{PrivateKey, key::ParseKeyError};
use serde::{Deserialize, Serialize};

/// Key and credential. Neither leaves the host: a manager gets the public key and a hash.
#[derive(Clone)]
pub struct Identity {
    /// The WireGuard identity.
    pub private_key: PrivateKey,
    /// The secret half of the credential.
    pub credential_secret: [u8; 32],
    token: SecretHash,
}

/// A file does not hold an identity.
#[derive(Debug, thiserror::Error)]
pub(super) enum ParseIdentityError {
    /// Not the JSON expected.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The key is none.
    #[error(transparent)]
    Key(#[from] ParseKeyError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    private_key: String,
    credential_secret: [u8; 32],
    token: SecretHash,
}

impl Identity {
    /// A new identity, to be used with the token of this secret.
    pub fn generate(token: &TokenSecret) -> Self {
        let private_key = PrivateKey::from_bytes(rand::random());
        Self { private_key, credential_secret: rand::random(), token: token.hash() }
    }

    /// Whether the identity was made for the token of this secret. If so it is used again: the manager may have let it
    /// in already, and the answer was lost.
    pub fn belongs_to(&self, token: &TokenSecret) -> bool {
        self.token == token.hash()
    }

    /// The hash that managers know the credential by.
    pub fn credential_hash(&self) -> SecretHash {
        SecretHash::of(&self.credential_secret)
    }

    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, ParseIdentityError> {
        let file: File = serde_json::from_slice(bytes)?;
        let private_key = file.private_key.parse()?;
        Ok(Self { private_key, credential_secret: file.credential_secret, token: file.token })
    }

    pub(super) fn to_secret_json(&self) -> String {
        let private_key = self.private_key.to_secret_base64();
        let file = File { private_key, credential_secret: self.credential_secret, token: self.token };
        // Only maps with odd keys fail to become JSON, and this has none.
        serde_json::to_string_pretty(&file).unwrap_or_default()
    }
}
