//! The data key: it encrypts every secret in the registry, and is itself there only sealed.

use std::fmt;

use festoon_control::registry::{Ciphertext, DataKeyCopy, EncryptedSecret, SecretName};
use festoon_proto::PublicKey;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::VaultError;
use super::seal::{self, SealKey};

/// Bytes of a data key.
pub const DATA_KEY_LEN: usize = 32;

/// A data key in the clear. Never printed, wiped from memory when dropped.
#[derive(Clone)]
pub struct DataKey {
    number: u32,
    bytes: Zeroizing<[u8; DATA_KEY_LEN]>,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({}, redacted)", self.number)
    }
}

impl DataKey {
    /// A new key, the `number`th of its cluster.
    pub fn generate(number: u32) -> Self {
        Self::from_secret_bytes(number, rand::random())
    }

    /// The key with these bytes.
    pub fn from_secret_bytes(number: u32, bytes: [u8; DATA_KEY_LEN]) -> Self {
        Self { number, bytes: Zeroizing::new(bytes) }
    }

    /// The key that was sealed to `seal_key`.
    pub fn unseal(copy: &DataKeyCopy, seal_key: &SealKey) -> Result<Self, VaultError> {
        let bytes = seal_key.unseal(copy.sealed.as_bytes(), &copy.number.to_be_bytes()).ok_or(VaultError::Unseal)?;
        let bytes = (**bytes).try_into().map_err(|_| VaultError::Unseal)?;
        Ok(Self::from_secret_bytes(copy.number, bytes))
    }

    /// The key, sealed to the manager with this seal key.
    pub fn seal_to(&self, seal_key: PublicKey) -> Result<DataKeyCopy, VaultError> {
        let sealed = seal::seal(seal_key, &*self.bytes, &self.number.to_be_bytes()).ok_or(VaultError::BadSealKey)?;
        Ok(DataKeyCopy { number: self.number, sealed: Ciphertext::new(sealed) })
    }

    /// Its number.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Its bytes. Secret.
    pub fn secret_bytes(&self) -> &[u8; DATA_KEY_LEN] {
        &self.bytes
    }

    /// Encrypts a secret with ChaCha20-Poly1305 (RFC 8439): a random nonce, then ciphertext and tag. The name is
    /// authenticated too, so that nobody who can write the registry passes one secret off as another.
    pub fn encrypt(&self, name: &SecretName, secret: &[u8]) -> Result<EncryptedSecret, VaultError> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut bytes = secret.to_vec();
        let sealed = self.cipher()?.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            self.associated(name),
            &mut bytes,
        );
        sealed.map_err(|_| VaultError::Crypto)?;
        Ok(EncryptedSecret { key: self.number, bytes: Ciphertext::new([&nonce[..], &bytes].concat()) })
    }

    /// Decrypts a secret.
    pub fn decrypt(&self, name: &SecretName, secret: &EncryptedSecret) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let damaged = || VaultError::Damaged(name.clone());
        let (nonce, bytes) = secret.bytes.as_bytes().split_first_chunk::<NONCE_LEN>().ok_or_else(damaged)?;
        let mut bytes = Zeroizing::new(bytes.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.cipher()?.open_in_place(nonce, self.associated(name), &mut bytes);
        let len = opened.map_err(|_| damaged())?.len();
        bytes.truncate(len);
        Ok(bytes)
    }

    fn cipher(&self) -> Result<LessSafeKey, VaultError> {
        UnboundKey::new(&CHACHA20_POLY1305, &*self.bytes).map(LessSafeKey::new).map_err(|_| VaultError::Crypto)
    }

    fn associated(&self, name: &SecretName) -> Aad<Vec<u8>> {
        Aad::from([b"festoon secret ", &self.number.to_be_bytes()[..], name.0.as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SecretName {
        SecretName(text.to_owned())
    }

    #[test]
    fn a_secret_is_read_under_its_name_and_its_key_alone() {
        let key = DataKey::generate(3);
        let secret = key.encrypt(&name("a"), b"attack at dawn").unwrap();
        assert_eq!(key.decrypt(&name("a"), &secret).unwrap().as_slice(), b"attack at dawn");
        assert!(!secret.bytes.as_bytes().windows(6).any(|window| window == b"attack"));
        assert!(matches!(key.decrypt(&name("b"), &secret), Err(VaultError::Damaged(_))), "another name");
        assert!(DataKey::generate(3).decrypt(&name("a"), &secret).is_err(), "another key");
        let renumbered = DataKey::from_secret_bytes(4, *key.secret_bytes());
        assert!(renumbered.decrypt(&name("a"), &secret).is_err(), "another number");
        for cut in 0..secret.bytes.as_bytes().len() {
            let bytes = Ciphertext::new(secret.bytes.as_bytes()[..cut].to_vec());
            assert!(key.decrypt(&name("a"), &EncryptedSecret { key: 3, bytes }).is_err());
        }
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let key = DataKey::generate(1);
        let [one, other] = [(); 2].map(|()| key.encrypt(&name("a"), b"x").unwrap());
        assert_ne!(one, other);
        assert!(!format!("{key:?}").contains(&format!("{:?}", key.secret_bytes())));
    }
}
