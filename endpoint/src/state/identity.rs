//! What a host makes for itself before it asks to be let in.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use festoon_proto::token::{SecretHash, TokenSecret};
use festoon_proto::{PrivateKey, key::ParseKeyError};
use serde::{Deserialize, Serialize};

/// Key and credential. Neither leaves the host: a manager gets the public key and a hash.
#[derive(Clone)]
pub struct Identity {
    /// The WireGuard identity.
    pub private_key: PrivateKey,
    /// The key that is to take its place, until a manager has agreed.
    pub next: Option<NextKey>,
    /// The secret half of the credential.
    pub credential_secret: [u8; 32],
    token: SecretHash,
}

/// A key that the endpoint is to have.
#[derive(Clone)]
pub struct NextKey {
    /// The key.
    pub private_key: PrivateKey,
    /// For how many seconds the one before is to be good too.
    overlap_s: u64,
}

impl NextKey {
    /// For how long the one before is to be good too.
    pub const fn overlap(&self) -> Duration {
        Duration::from_secs(self.overlap_s)
    }
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<NextInFile>,
    credential_secret: [u8; 32],
    token: SecretHash,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NextInFile {
    private_key: String,
    overlap_s: u64,
}

impl Identity {
    /// A new identity, to be used with the token of this secret.
    pub fn generate(token: &TokenSecret) -> Self {
        let private_key = PrivateKey::from_bytes(rand::random());
        Self { private_key, next: None, credential_secret: rand::random(), token: token.hash() }
    }

    /// The key that is to take the place of this one: a new one, or that of a change which was interrupted, for a manager may
    /// know it.
    pub fn prepare(&mut self, overlap: Duration) -> NextKey {
        let left = self.next.take().map(|next| next.private_key);
        let private_key = left.unwrap_or_else(|| PrivateKey::from_bytes(rand::random()));
        self.next.insert(NextKey { private_key, overlap_s: overlap.as_secs() }).clone()
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

    /// Its secrets, in all ways in which this program and others write them. For keeping them out of where they do not belong.
    pub fn secret_texts(&self) -> Vec<String> {
        let keys = [Some(&self.private_key), self.next.as_ref().map(|next| &next.private_key)];
        let keys = keys.into_iter().flatten().map(PrivateKey::to_secret_base64);
        let (secret, hex) = (self.credential_secret, self.credential_secret.map(|byte| format!("{byte:02x}")).concat());
        let numbers = |separator| secret.map(|byte| byte.to_string()).join(separator);
        keys.chain([URL_SAFE_NO_PAD.encode(secret), STANDARD_NO_PAD.encode(secret), hex, numbers(","), numbers(", ")])
            .collect()
    }

    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, ParseIdentityError> {
        let file: File = serde_json::from_slice(bytes)?;
        let private_key = file.private_key.parse()?;
        let next = file.next.map(|next| {
            Ok::<_, ParseKeyError>(NextKey { private_key: next.private_key.parse()?, overlap_s: next.overlap_s })
        });
        let next = next.transpose()?;
        Ok(Self { private_key, next, credential_secret: file.credential_secret, token: file.token })
    }

    pub(super) fn to_secret_json(&self) -> String {
        let private_key = self.private_key.to_secret_base64();
        let next = self
            .next
            .as_ref()
            .map(|next| NextInFile { private_key: next.private_key.to_secret_base64(), overlap_s: next.overlap_s });
        let file = File { private_key, next, credential_secret: self.credential_secret, token: self.token };
        // Only maps with odd keys fail to become JSON, and this has none.
        serde_json::to_string_pretty(&file).unwrap_or_default()
    }
}
