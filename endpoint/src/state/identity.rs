//! What a host makes for itself before it asks to be let in.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use festoon_proto::http::RotateRequest;
use festoon_proto::token::{SecretHash, TokenSecret};
use festoon_proto::{PrivateKey, key::ParseKeyError};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// Former credentials that are kept. Managers that are restored from a snapshot know the one of then.
const MAX_FORMER: usize = 8;

/// Key and credential. Neither leaves the host: a manager gets the public key and a hash.
#[derive(Clone)]
pub struct Identity {
    /// The WireGuard identity.
    pub private_key: PrivateKey,
    /// What is to take its place, until a manager has agreed.
    pub next: Option<NextKey>,
    /// The secret half of the credential.
    pub credential_secret: CredentialSecret,
    /// Those it had before, the last one first. They are good for nothing, except with managers that were put back to a time
    /// when they were.
    pub former_secrets: Vec<CredentialSecret>,
    token: SecretHash,
}

/// The secret half of a credential, wiped from memory when dropped.
pub type CredentialSecret = Zeroizing<[u8; 32]>;

/// A key that the endpoint is to have, and the credential that goes with it.
#[derive(Clone)]
pub struct NextKey {
    /// The key.
    pub private_key: PrivateKey,
    /// The secret half of the credential.
    pub credential_secret: CredentialSecret,
    /// For how many seconds the one before is to be good too.
    overlap_s: u64,
}

impl NextKey {
    /// For how long the one before is to be good too.
    pub const fn overlap(&self) -> Duration {
        Duration::from_secs(self.overlap_s)
    }

    /// What managers are asked for.
    pub fn request(&self) -> RotateRequest {
        RotateRequest {
            public_key: self.private_key.public_key(),
            credential_hash: SecretHash::of(&*self.credential_secret),
            overlap_s: u32::try_from(self.overlap_s).unwrap_or(u32::MAX),
        }
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former_secrets: Vec<[u8; 32]>,
    token: SecretHash,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NextInFile {
    private_key: String,
    credential_secret: [u8; 32],
    overlap_s: u64,
}

impl Zeroize for NextInFile {
    fn zeroize(&mut self) {
        self.private_key.zeroize();
        self.credential_secret.zeroize();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.private_key.zeroize();
        self.next.zeroize();
        self.credential_secret.zeroize();
        self.former_secrets.zeroize();
    }
}

impl Identity {
    /// A new identity, to be used with the token of this secret.
    pub fn generate(token: &TokenSecret) -> Self {
        let private_key = PrivateKey::from_bytes(rand::random());
        let credential_secret = Zeroizing::new(rand::random());
        Self { private_key, next: None, credential_secret, former_secrets: Vec::new(), token: token.hash() }
    }

    /// The key and the credential that are to take the place of these: new ones, or those of a change which was interrupted, for
    /// a manager may know them.
    pub fn prepare(&mut self, overlap: Duration) -> NextKey {
        let overlap_s = overlap.as_secs();
        let next = match self.next.take() {
            Some(left) => NextKey { overlap_s, ..left },
            None => NextKey {
                private_key: PrivateKey::from_bytes(rand::random()),
                credential_secret: Zeroizing::new(rand::random()),
                overlap_s,
            },
        };
        self.next.insert(next).clone()
    }

    /// Takes `next` for its own, and gives the key before.
    pub fn adopt(&mut self, next: NextKey) -> PrivateKey {
        self.next = None;
        let former = std::mem::replace(&mut self.credential_secret, next.credential_secret);
        self.former_secrets.insert(0, former);
        self.former_secrets.truncate(MAX_FORMER);
        std::mem::replace(&mut self.private_key, next.private_key)
    }

    /// What tells managers of the key and the credential of now.
    pub fn request(&self) -> RotateRequest {
        let (public_key, credential_hash) = (self.private_key.public_key(), self.credential_hash());
        RotateRequest { public_key, credential_hash, overlap_s: 0 }
    }

    /// Whether the identity was made for the token of this secret. If so it is used again: the manager may have let it
    /// in already, and the answer was lost.
    pub fn belongs_to(&self, token: &TokenSecret) -> bool {
        self.token == token.hash()
    }

    /// The hash that managers know the credential by.
    pub fn credential_hash(&self) -> SecretHash {
        SecretHash::of(&*self.credential_secret)
    }

    /// Its secrets, in all ways in which this program and others write them. For keeping them out of where they do not belong.
    pub fn secret_texts(&self) -> Vec<String> {
        let keys = [Some(&self.private_key), self.next.as_ref().map(|next| &next.private_key)];
        let keys = keys.into_iter().flatten().map(|key| key.to_secret_base64());
        let secrets = std::iter::once(&self.credential_secret).chain(&self.former_secrets);
        keys.chain(secrets.chain(self.next.as_ref().map(|next| &next.credential_secret)).flat_map(texts)).collect()
    }

    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, ParseIdentityError> {
        let file: File = serde_json::from_slice(bytes)?;
        let next = file.next.as_ref().map(|next| {
            Ok::<_, ParseKeyError>(NextKey {
                private_key: next.private_key.parse()?,
                credential_secret: Zeroizing::new(next.credential_secret),
                overlap_s: next.overlap_s,
            })
        });
        Ok(Self {
            private_key: file.private_key.parse()?,
            next: next.transpose()?,
            credential_secret: Zeroizing::new(file.credential_secret),
            former_secrets: file.former_secrets.iter().copied().map(Zeroizing::new).collect(),
            token: file.token,
        })
    }

    pub(super) fn to_secret_json(&self) -> Zeroizing<String> {
        let next = self.next.as_ref().map(|next| NextInFile {
            private_key: next.private_key.to_secret_base64(),
            credential_secret: *next.credential_secret,
            overlap_s: next.overlap_s,
        });
        let file = File {
            private_key: self.private_key.to_secret_base64(),
            next,
            credential_secret: *self.credential_secret,
            former_secrets: self.former_secrets.iter().map(|secret| **secret).collect(),
            token: self.token,
        };
        // Only maps with odd keys fail to become JSON, and this has none.
        Zeroizing::new(serde_json::to_string_pretty(&file).unwrap_or_default())
    }
}

fn texts(secret: &CredentialSecret) -> [String; 5] {
    let numbers = |separator| secret.map(|byte| byte.to_string()).join(separator);
    let hex = secret.map(|byte| format!("{byte:02x}")).concat();
    [URL_SAFE_NO_PAD.encode(**secret), STANDARD_NO_PAD.encode(**secret), hex, numbers(","), numbers(", ")]
}
