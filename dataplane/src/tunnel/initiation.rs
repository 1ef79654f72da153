//! What a handshake initiation says, read before any tunnel handles it (WireGuard, section 5.4.2).
//!
//! The protocol refuses an initiation whose timestamp is not newer than the last one of the same key. boringtun keeps that
//! timestamp in the tunnel, so it is lost when the tunnel is torn down, and reads it only after it has made a tunnel for
//! the key that the message names. Here it is read first. What is read here can only lead to a refusal: an initiation that
//! passes is verified again, as a whole, by boringtun.

use blake2::{Blake2s256, Digest};
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use festoon_proto::PublicKey;
use hmac::{Mac, SimpleHmac};

use super::{Identity, x25519};

const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";

/// Bytes of an initiation.
pub(super) const LEN: usize = 148;
/// Bytes of the tag behind what is encrypted.
const TAG: usize = 16;

/// The time at which an initiation was made, by its maker's clock (TAI64N). The later is the greater.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp([u8; 12]);

#[cfg(test)]
impl Stamp {
    /// As the time since 1970.
    pub(crate) fn unix_time(self) -> std::time::Duration {
        const TAI64_UNIX_EPOCH: u64 = (1 << 62) + 37;
        let [seconds @ .., a, b, c, d] = self.0;
        let seconds = u64::from_be_bytes(seconds) - TAI64_UNIX_EPOCH;
        std::time::Duration::new(seconds, u32::from_be_bytes([a, b, c, d]))
    }
}

/// An initiation that was made for this node's key, by somebody who claims to have the key that it names.
#[derive(Debug)]
pub struct Initiation {
    /// The key it names.
    pub key: PublicKey,
    chain: [u8; 32],
    hash: [u8; 32],
    stamp: [u8; 12 + TAG],
}

/// What every handshake with the key `own` begins with.
pub(super) fn prologue(own: &x25519::PublicKey) -> [u8; 32] {
    hash(&hash(&hash(CONSTRUCTION, &[]), IDENTIFIER), own.as_bytes())
}

impl Identity {
    /// Bytes that only this node can know, for a purpose.
    pub fn secret_for(&self, purpose: &str) -> [u8; 32] {
        authenticate(self.private.as_bytes(), &[purpose.as_bytes()])
    }

    /// Reads an initiation. It costs one key agreement. `None` if it does not decrypt.
    pub fn read(&self, datagram: &[u8]) -> Option<Initiation> {
        if datagram.len() != LEN {
            return None;
        }
        let ephemeral: [u8; 32] = datagram.get(8..40)?.try_into().ok()?;
        let mut sealed_key: [u8; 32 + TAG] = datagram.get(40..88)?.try_into().ok()?;
        let stamp = datagram.get(88..116)?.try_into().ok()?;
        let before = hash(&self.prologue, &ephemeral);
        let after = hash(&before, &sealed_key);
        let chain = derive(&hash(CONSTRUCTION, &[]), &ephemeral).0;
        let shared = self.private.diffie_hellman(&x25519::PublicKey::from(ephemeral));
        let (chain, key) = derive(&chain, shared.as_bytes());
        let key = open(&key, &before, &mut sealed_key)?.try_into().ok()?;
        Some(Initiation { key: PublicKey::from_bytes(key), chain, hash: after, stamp })
    }

    /// When an initiation was made. It costs another key agreement. `None` if its maker does not have the key it names.
    pub fn stamp(&self, initiation: &Initiation) -> Option<Stamp> {
        let shared = self.private.diffie_hellman(&x25519::PublicKey::from(*initiation.key.as_bytes()));
        let (_, key) = derive(&initiation.chain, shared.as_bytes());
        let mut sealed = initiation.stamp;
        Some(Stamp(open(&key, &initiation.hash, &mut sealed)?.try_into().ok()?))
    }
}

fn hash(first: &[u8], second: &[u8]) -> [u8; 32] {
    Blake2s256::new().chain_update(first).chain_update(second).finalize().into()
}

/// The protocol's key derivation, to two keys.
fn derive(chain: &[u8; 32], input: &[u8]) -> ([u8; 32], [u8; 32]) {
    let secret = authenticate(chain, &[input]);
    let first = authenticate(&secret, &[&[1]]);
    (first, authenticate(&secret, &[&first, &[2]]))
}

/// HMAC (RFC 2104) with BLAKE2s.
fn authenticate(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC fills a key that is shorter than the hash's block with zeros.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    let mut hmac = <SimpleHmac<Blake2s256> as KeyInit>::new(&block.into());
    parts.iter().for_each(|part| hmac.update(part));
    hmac.finalize().into_bytes().into()
}

/// Decrypts in place what was sealed with the first nonce of `key`.
fn open<'a>(key: &[u8; 32], associated: &[u8], sealed: &'a mut [u8]) -> Option<&'a [u8]> {
    let (text, tag) = sealed.split_at_mut(sealed.len().checked_sub(TAG)?);
    let cipher = ChaCha20Poly1305::new(key.into());
    cipher.decrypt_in_place_detached(&Nonce::default(), associated, text, Tag::from_slice(tag)).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use festoon_proto::PrivateKey;

    use super::super::Tunnel;
    use super::*;

    fn identity(byte: u8) -> Identity {
        Identity::new(&PrivateKey::from_bytes([byte; 32]))
    }

    #[test]
    fn an_initiation_names_its_key_and_its_time() {
        let (a, b) = (identity(1), identity(2));
        let mut tunnel = Tunnel::new(&a, &b.public_key(), 1);
        let mut wire = [0; LEN];
        let mut last = Stamp::default();
        for _ in 0..3 {
            assert_eq!(tunnel.initiate(&mut wire), LEN);
            let initiation = b.read(&wire).unwrap();
            assert_eq!(initiation.key, a.public_key());
            let stamp = b.stamp(&initiation).unwrap();
            assert!(stamp > last);
            last = stamp;
        }
    }

    #[test]
    fn an_initiation_that_was_changed_or_is_for_another_says_nothing() {
        let (a, b) = (identity(1), identity(2));
        let mut wire = [0; LEN];
        Tunnel::new(&a, &b.public_key(), 1).initiate(&mut wire);
        assert!(identity(3).read(&wire).is_none() && b.read(&wire[1..]).is_none());
        for at in [8, 40, 87] {
            let mut changed = wire;
            changed[at] ^= 1;
            assert!(b.read(&changed).is_none(), "{at}");
        }
        for at in [88, 115] {
            let mut changed = wire;
            changed[at] ^= 1;
            assert_eq!(b.stamp(&b.read(&changed).unwrap()), None, "{at}");
        }
    }
}
