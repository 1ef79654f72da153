//! Commands on secrets and certificates. All of it is encrypted before it gets here.

use festoon_proto::map::MapVersion;
use festoon_proto::{Fingerprint, ManagerId};
use serde::{Deserialize, Serialize};

use super::super::vault::{Ciphertext, EncryptedSecret, SecretName};

/// The data key, sealed to one manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataKeyCopy {
    /// Which data key.
    pub number: u32,
    /// That key, sealed to the manager's seal key.
    pub sealed: Ciphertext,
}

/// See [`Command::SetKeyring`](super::Command::SetKeyring).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetKeyring {
    /// [`Vault::changed`](crate::registry::Vault::changed) of the state it was made from. It is refused if anything in the
    /// vault has changed since, or a secret that was replaced meanwhile would be put back.
    pub based_on: MapVersion,
    /// The number of the new data key: the one after the last.
    pub number: u32,
    /// The new data key, sealed to each full manager.
    pub copies: Vec<(ManagerId, Ciphertext)>,
    /// Every secret there is, encrypted under the new data key.
    pub secrets: Vec<(SecretName, Ciphertext)>,
}

/// See [`Command::PutSecret`](super::Command::PutSecret).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutSecret {
    /// What it is called.
    pub name: SecretName,
    /// The secret, encrypted under the data key of now.
    pub secret: EncryptedSecret,
}

/// See [`Command::AddAuthority`](super::Command::AddAuthority).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddAuthority {
    /// SHA-256 of its certificate in DER.
    pub fingerprint: Fingerprint,
    /// Its certificate in PEM (RFC 7468).
    pub certificate_pem: String,
    /// Its private key, stored as the secret [`SecretName::of_authority`].
    pub key: EncryptedSecret,
}
