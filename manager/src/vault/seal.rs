//! Sealing to a manager: HPKE (RFC 9180) in its base mode, with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
//! ChaCha20-Poly1305.
//!
//! It says nothing of who sealed. That is for the registry, which takes commands from managers alone.

use festoon_proto::{PrivateKey, PublicKey};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _, single_shot_open, single_shot_seal_with_rng};
use zeroize::Zeroizing;

type Kem = X25519HkdfSha256;
type HpkeKey<K> = <K as hpke::Kem>::PublicKey;

/// What it is sealed for: a key that is used for something else, too, opens nothing of it.
const INFO: &[u8] = b"festoon data key 1";
/// Bytes of the encapsulated key in front of the ciphertext.
const ENCAPSULATED_LEN: usize = 32;

/// The private key that secrets are sealed to for this manager.
#[derive(Debug, Clone)]
pub struct SealKey(PrivateKey);

impl SealKey {
    /// This key.
    pub const fn new(key: PrivateKey) -> Self {
        Self(key)
    }

    /// The half of it that the registry knows.
    pub fn public_key(&self) -> PublicKey {
        self.0.public_key()
    }

    /// What was sealed to this key together with `associated`.
    pub(super) fn unseal(&self, sealed: &[u8], associated: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED_LEN)?;
        let key = <Kem as hpke::Kem>::PrivateKey::from_bytes(self.0.secret_bytes()).ok()?;
        let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
        let mode = OpModeR::Base;
        let opened = single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &mode,
            &key,
            &encapsulated,
            INFO,
            ciphertext,
            associated,
        );
        opened.ok().map(Zeroizing::new)
    }
}

/// `secret`, sealed to `to` together with `associated`; `None` if `to` is no key.
pub(super) fn seal(to: PublicKey, secret: &[u8], associated: &[u8]) -> Option<Vec<u8>> {
    let to = HpkeKey::<Kem>::from_bytes(to.as_bytes()).ok()?;
    let (mode, mut rng) = (OpModeS::Base, rand::rng());
    let sealed =
        single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(&mode, &to, INFO, secret, associated, &mut rng);
    sealed.ok().map(|(encapsulated, ciphertext)| [&encapsulated.to_bytes()[..], &ciphertext].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SealKey {
        SealKey::new(PrivateKey::from_bytes([byte; 32]))
    }

    #[test]
    fn what_is_sealed_to_a_manager_is_read_by_it_alone() {
        let sealed = seal(key(1).public_key(), b"secret", b"7").unwrap();
        assert_eq!(key(1).unseal(&sealed, b"7").unwrap().as_slice(), b"secret");
        assert!(key(2).unseal(&sealed, b"7").is_none());
        assert!(key(1).unseal(&sealed, b"8").is_none());
        for cut in 0..sealed.len() {
            assert!(key(1).unseal(&sealed[..cut], b"7").is_none());
        }
        let again = seal(key(1).public_key(), b"secret", b"7").unwrap();
        assert_ne!(sealed, again, "every copy has a key of its own");
    }

    #[test]
    fn a_key_that_gives_everybody_the_same_secret_is_none() {
        assert!(seal(PublicKey::from_bytes([0; 32]), b"secret", b"").is_none(), "RFC 9180 section 7.1.4");
    }
}
