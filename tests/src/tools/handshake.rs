//! Handshake initiations that say nothing, under proofs that are right (WireGuard, section 5.4.4): what anybody can make who
//! knows a node's public key and receives at the address it sends from.

use anyhow::{Context, ensure};
use blake2::digest::consts::U16;
use blake2::digest::{Digest, Mac};
use blake2::{Blake2s256, Blake2sMac};
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};

/// Bytes of an initiation.
pub const LEN: usize = 148;
const BODY: usize = 116;
const COOKIE_REPLY: [u8; 4] = [3, 0, 0, 0];
const COOKIE_REPLY_LEN: usize = 64;
/// Messages of which the first proof is remembered: a cookie comes encrypted with it.
const REMEMBERED: usize = 8192;

/// Makes initiations for one node, from one address.
#[derive(Debug)]
pub struct Forger {
    proof_key: [u8; 32],
    cookie_key: [u8; 32],
    body: [u8; BODY],
    number: u32,
    proofs: Vec<[u8; 16]>,
    cookie: Option<[u8; 16]>,
}

impl Forger {
    /// For the node with the public key `key`. What it makes differs with `seed`.
    #[must_use]
    pub fn new(key: &[u8; 32], seed: [u8; 32]) -> Self {
        let mut body = [0; BODY];
        body[0] = 1;
        for piece in body[8..].chunks_mut(seed.len()) {
            piece.copy_from_slice(&seed[..piece.len()]);
        }
        let derive = |label: &[u8]| Blake2s256::new().chain_update(label).chain_update(key).finalize().into();
        Self {
            proof_key: derive(b"mac1----"),
            cookie_key: derive(b"cookie--"),
            body,
            number: 0,
            proofs: vec![[0; 16]; REMEMBERED],
            cookie: None,
        }
    }

    /// Whether it has a cookie.
    #[must_use]
    pub const fn has_cookie(&self) -> bool {
        self.cookie.is_some()
    }

    /// Writes the next initiation, which is like none before.
    ///
    /// # Errors
    /// Never, for the sizes are right.
    pub fn write(&mut self, message: &mut [u8; LEN]) -> anyhow::Result<()> {
        self.number = self.number.wrapping_add(1);
        self.body[4..8].copy_from_slice(&self.number.to_le_bytes());
        let first = mac(&self.proof_key, &[&self.body])?;
        self.proofs[self.number as usize % REMEMBERED] = first;
        let second = self.cookie.map(|cookie| mac(&cookie, &[&self.body, &first])).transpose()?;
        message[..BODY].copy_from_slice(&self.body);
        message[BODY..BODY + 16].copy_from_slice(&first);
        message[BODY + 16..].copy_from_slice(&second.unwrap_or_default());
        Ok(())
    }

    /// Takes the cookie from an answer.
    ///
    /// # Errors
    /// When it is no cookie, or the answer to something else.
    pub fn take_cookie(&mut self, answer: &[u8]) -> anyhow::Result<()> {
        ensure!(answer.len() == COOKIE_REPLY_LEN && answer.starts_with(&COOKIE_REPLY), "no cookie");
        let number = u32::from_le_bytes(answer[4..8].try_into()?);
        let proof = self.proofs[number as usize % REMEMBERED];
        let mut cookie: [u8; 16] = answer[32..48].try_into()?;
        XChaCha20Poly1305::new(&self.cookie_key.into())
            .decrypt_in_place_detached(
                XNonce::from_slice(&answer[8..32]),
                &proof,
                &mut cookie,
                Tag::from_slice(&answer[48..]),
            )
            .ok()
            .context("a cookie for somebody else")?;
        self.cookie = Some(cookie);
        Ok(())
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> anyhow::Result<[u8; 16]> {
    let mac = <Blake2sMac<U16> as Mac>::new_from_slice(key);
    let mut mac = mac.ok().context("BLAKE2s takes keys of at most 32 bytes")?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_differ_and_a_cookie_goes_into_the_second_proof() {
        let mut forger = Forger::new(&[1; 32], [2; 32]);
        let [mut one, mut other] = [[0; LEN]; 2];
        forger.write(&mut one).expect("made");
        forger.write(&mut other).expect("made");
        assert_ne!(one[BODY..BODY + 16], other[BODY..BODY + 16]);
        assert_eq!((&one[..4], &one[132..]), (&[1, 0, 0, 0][..], &[0; 16][..]));

        // As the node makes one, for the second message.
        let (mut cookie, nonce) = ([9; 16], [7; 24]);
        let tag = XChaCha20Poly1305::new(&forger.cookie_key.into())
            .encrypt_in_place_detached(XNonce::from_slice(&nonce), &other[BODY..BODY + 16], &mut cookie)
            .expect("encrypted");
        let answer = [&COOKIE_REPLY[..], &2_u32.to_le_bytes(), &nonce, &cookie, tag.as_slice()].concat();
        assert!(forger.take_cookie(&answer[1..]).is_err() && !forger.has_cookie());
        forger.take_cookie(&answer).expect("a cookie");
        forger.write(&mut one).expect("made");
        assert_eq!(one[132..], mac(&[9; 16], &[&one[..132]]).expect("made"));
    }
}
