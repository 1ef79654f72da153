//! Certificates and secrets that all managers share. Nothing is encrypted or decrypted here.
//!
//! Every secret is encrypted under the *data key*, and the data key is sealed to each full manager. So a copy of the
//! registry, on a disk or in a backup, gives no secret away, and a new data key locks out a manager that was removed.

use std::collections::BTreeMap;
use std::fmt;

use festoon_proto::map::MapVersion;
use festoon_proto::{Fingerprint, ManagerId, UserId};
use serde::{Deserialize, Serialize};

use super::authorities::{Authority, AuthorityRole};
use super::name;

/// Encrypted bytes, which nothing here reads. Not printed: whoever has a key could still use them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ciphertext(Box<[u8]>);

impl Ciphertext {
    /// These bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Ciphertext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ciphertext({} bytes, redacted)", self.0.len())
    }
}

/// A secret, encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptedSecret {
    /// The number of the data key it is encrypted under.
    pub key: u32,
    /// What came of it.
    pub bytes: Ciphertext,
}

/// What a secret is called: lower-case letters, digits and hyphens, as in `backup-key`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretName(pub String);

impl SecretName {
    /// The private key of the CA with this fingerprint.
    pub fn of_authority(fingerprint: &Fingerprint) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = fingerprint.0;
        Self(format!("authority-{:016x}", u64::from_be_bytes([a, b, c, d, e, f, g, h])))
    }

    /// The secret of the second factor of this user.
    pub fn of_totp(user: UserId) -> Self {
        Self(format!("totp-{user}"))
    }

    pub(super) fn check(&self) -> Result<(), SecretError> {
        name::check(&self.0).map_err(|_| SecretError::Name)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who can read secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Keyring {
    /// The number of the data key; 0 while there is none.
    pub number: u32,
    /// The data key, sealed to each full manager.
    pub copies: BTreeMap<ManagerId, Ciphertext>,
    /// Whether a manager that was removed knows the data key: a new one is due.
    pub is_known_outside: bool,
}

/// Certificates and secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Vault {
    /// The last command that changed any of it.
    pub(super) changed: MapVersion,
    pub(super) keyring: Keyring,
    pub(super) secrets: BTreeMap<SecretName, EncryptedSecret>,
    pub(super) authorities: Vec<Authority>,
}

impl Vault {
    /// The last command that changed any of it.
    pub const fn changed(&self) -> MapVersion {
        self.changed
    }

    /// Who can read secrets.
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// All secrets, by name.
    pub fn secrets(&self) -> impl Iterator<Item = (&SecretName, &EncryptedSecret)> {
        self.secrets.iter()
    }

    /// A secret.
    pub fn secret(&self, name: &SecretName) -> Option<&EncryptedSecret> {
        self.secrets.get(name)
    }

    /// The CA that issues certificates.
    pub fn issuer(&self) -> Option<Fingerprint> {
        self.authority(AuthorityRole::Current).map(|authority| authority.fingerprint)
    }

    /// The CA of this role.
    pub fn authority(&self, role: AuthorityRole) -> Option<&Authority> {
        self.authorities.iter().find(|authority| authority.role == role)
    }

    /// All CAs that are trusted.
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }
}

/// A secret or the keyring is not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SecretError {
    /// Its name is none.
    #[error(
        "this is not the name of a secret: use up to 63 lower-case letters, digits and hyphens, no hyphen at either end"
    )]
    Name,
    /// It is too large, or there are too many.
    #[error("{name} is too large, or one secret too many: store less")]
    TooMuch {
        /// Its name.
        name: SecretName,
    },
    /// There is no such secret.
    #[error("there is no secret {0}")]
    Unknown(SecretName),
    /// Somebody needs it.
    #[error("{0} is in use: remove what it is of first: the CA, the second factor, or the event destination")]
    InUse(SecretName),
    /// It is encrypted under another data key than that of now.
    #[error("this is encrypted under data key {given} and the cluster uses {current}: do it again")]
    OtherKey {
        /// The data key it is encrypted under.
        given: u32,
        /// The data key of now.
        current: u32,
    },
    /// The vault has changed since the new keyring was made.
    #[error("certificates or secrets have changed meanwhile: do it again")]
    Stale,
    /// A full manager would be locked out, or somebody who is none let in.
    #[error("a new data key must be sealed to every full manager and to nobody else, and {0} is not as it should be")]
    Managers(ManagerId),
    /// A full manager has said no key to seal to.
    #[error("manager {0} has no seal key yet: start it with this version of Festoon first")]
    NoSealKey(ManagerId),
    /// A secret would become unreadable, or appear from nowhere.
    #[error("a new data key takes every secret along and no other, and {0} is not as it should be")]
    Secrets(SecretName),
}

impl SecretError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Name => "bad-name",
            Self::TooMuch { .. } => "secret-too-large",
            Self::Unknown(_) => "secret-unknown",
            Self::InUse(_) => "secret-in-use",
            Self::OtherKey { .. } => "data-key-changed",
            Self::Stale => "vault-changed",
            Self::Managers(_) => "keyring-managers",
            Self::NoSealKey(_) => "no-seal-key",
            Self::Secrets(_) => "keyring-secrets",
        }
    }
}
