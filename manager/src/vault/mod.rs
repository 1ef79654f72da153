//! Secrets that the full managers share through the registry, and this manager's way to them.
//!
//! | key | kept | reads |
//! |---|---|---|
//! | data key | in the registry, sealed to every full manager | every secret |
//! | seal key | `seal.key`, on its manager alone | that manager's copy of the data key |
//! | recovery key | outside, by the admin | snapshots |
//!
//! Nothing in the clear outlives a call: the data key is unsealed for each use, which takes a fraction of a millisecond.

mod certify;
mod data_key;
mod next_authority;
mod recovery;
mod rekey;
mod seal;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use festoon_control::registry::{DataKeyCopy, EncryptedSecret, SecretName, State};
use festoon_proto::ManagerId;
use zeroize::Zeroizing;

use crate::data_dir::{DataDir, DataDirError};
use crate::pki::PkiError;

pub use certify::{add_authority, trusted_pem};
pub use data_key::{DATA_KEY_LEN, DataKey};
pub use next_authority::{NextAuthorityError, begin_ca_rotation};
pub use recovery::{RecoveryKey, is_recipient, recovery_recipient};
pub use rekey::{keep_data_key_inside, new_keyring};
pub use seal::SealKey;

/// A secret is not read or not stored.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// This manager reads none.
    #[error("this manager is a witness and reads no secrets: ask a full manager of the cluster")]
    Witness,
    /// Its own key is gone.
    #[error("seal.key is missing: restore that file, or remove this manager from the cluster and join it again")]
    NoSealKey,
    /// There is no data key that this manager could read.
    #[error("the registry holds no data key for this manager: remove it from the cluster and join it again")]
    NoCopy,
    /// Its copy can't be read.
    #[error("seal.key does not open the data key: restore that file, or remove this manager and join it again")]
    Unseal,
    /// A key can't be sealed to.
    #[error("this is no seal key (X25519): make a new one")]
    BadSealKey,
    /// There is no such secret.
    #[error("the registry holds no secret {0}")]
    Unknown(SecretName),
    /// It can't be decrypted.
    #[error("the secret {0} is damaged, or was encrypted under another data key: restore a snapshot")]
    Damaged(SecretName),
    /// No CA issues certificates.
    #[error("the registry holds no CA: this cluster was made by another version of Festoon")]
    NoAuthority,
    /// It is not in the cluster.
    #[error("there is no manager {0} in the cluster any more, so it gets no certificate")]
    NoManager(ManagerId),
    /// Somebody else asks in its name.
    #[error(
        "this signing request is not signed with the signing key of manager {0}: check that signing.key in its --data-dir is the key it joined with"
    )]
    OtherKey(ManagerId),
    /// A cipher fails.
    #[error("encryption fails on this machine")]
    Crypto,
    /// The CA can't be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// The secrets of the registry, as far as this manager reads them. A clone is the same.
///
/// It holds no copy of the registry: every call names the state it is about.
#[derive(Debug, Clone)]
pub struct Vault {
    me: ManagerId,
    seal_key: Option<Arc<SealKey>>,
}

impl Vault {
    /// For manager `me`; without a seal key, which a witness does not have, every call fails.
    pub fn new(me: ManagerId, seal_key: Option<SealKey>) -> Self {
        Self { me, seal_key: seal_key.map(Arc::new) }
    }

    /// With the seal key in `data`, if there is one.
    pub fn load(data: &DataDir, me: ManagerId) -> Result<Self, DataDirError> {
        Ok(Self::new(me, data.seal_key()?.map(SealKey::new)))
    }

    /// The data key of now.
    pub fn data_key(&self, state: &State) -> Result<DataKey, VaultError> {
        let is_full = state.manager(self.me).is_some_and(|me| me.is_full());
        let none = if is_full { VaultError::NoSealKey } else { VaultError::Witness };
        let seal_key = self.seal_key.as_ref().ok_or(none)?;
        let keyring = state.vault().keyring();
        let sealed = keyring.copies.get(&self.me).cloned().ok_or(VaultError::NoCopy)?;
        DataKey::unseal(&DataKeyCopy { number: keyring.number, sealed }, seal_key)
    }

    /// The secret of this name.
    pub fn read(&self, state: &State, name: &SecretName) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let secret = state.vault().secret(name).ok_or_else(|| VaultError::Unknown(name.clone()))?;
        self.data_key(state)?.decrypt(name, secret)
    }

    /// A secret, encrypted as a command stores it.
    pub fn encrypt(&self, state: &State, name: &SecretName, secret: &[u8]) -> Result<EncryptedSecret, VaultError> {
        self.data_key(state)?.encrypt(name, secret)
    }
}
