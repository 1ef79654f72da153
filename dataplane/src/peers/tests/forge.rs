//! Handshake messages that somebody makes who knows a node's public key and nothing else.

use std::net::IpAddr;

use blake2::digest::consts::U16;
use blake2::digest::{Digest, Mac};
use blake2::{Blake2s256, Blake2sMac};
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};

use super::Side;

impl Side {
    /// An initiation for this node that says nothing, with `content` in it; and with a cookie if there is one.
    pub(super) fn forge(&self, content: &[u8], cookie: Option<[u8; 16]>) -> Vec<u8> {
        let mut message = vec![7; 148];
        message[..4].copy_from_slice(&[1, 0, 0, 0]);
        message[8..8 + content.len()].copy_from_slice(content);
        self.sign(&mut message, cookie);
        message
    }

    /// Puts right proofs under a message.
    pub(super) fn sign(&self, message: &mut [u8], cookie: Option<[u8; 16]>) {
        let (body, proofs) = message.split_at_mut(116);
        proofs[..16].copy_from_slice(&mac(&self.hash(b"mac1----"), &[body]));
        let second = cookie.map(|cookie| mac(&cookie, &[body, &proofs[..16]])).unwrap_or_default();
        proofs[16..].copy_from_slice(&second);
    }

    /// The cookie that this node gives to an address.
    pub(super) fn cookie_for(&self, address: IpAddr) -> [u8; 16] {
        let (message, mut reply) = (self.forge(b"a cookie, please", None), [0; 148]);
        assert_eq!(self.peers.own.used().identity.cookie(address, &message, &mut reply), 64);
        let cipher = XChaCha20Poly1305::new(&self.hash(b"cookie--").into());
        let (nonce, mut cookie) = (XNonce::from_slice(&reply[8..32]), <[u8; 16]>::try_from(&reply[32..48]).unwrap());
        let tag = Tag::from_slice(&reply[48..64]);
        cipher.decrypt_in_place_detached(nonce, &message[116..132], &mut cookie, tag).unwrap();
        cookie
    }

    fn hash(&self, label: &[u8]) -> [u8; 32] {
        let key = self.peers.own.used().identity.public_key();
        Blake2s256::new().chain_update(label).chain_update(key.as_bytes()).finalize().into()
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = <Blake2sMac<U16> as Mac>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}
