//! Encryption of snapshots, in the age format (<https://age-encryption.org/v1>): whoever has the recovery key reads them with
//! any program that knows age. Every byte is authenticated, the head of the file included, and so is where it ends.

use std::io::{self, Read as _, Write as _};
use std::iter;

use zeroize::Zeroizing;

use crate::vault::RecoveryKey;

/// A snapshot can't be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The registry's recovery recipient is none.
    #[error("the recovery key of this cluster can't be used: make a new one with `festoon-manager snapshots key`")]
    Recipient,
    /// A cipher fails.
    #[error("encryption fails on this machine")]
    Crypto,
}

/// A file is not decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is no encrypted file.
    #[error("this is no snapshot, or its beginning is damaged: see that it is the right file and complete")]
    Foreign,
    /// It is encrypted to somebody else.
    #[error("this recovery key does not open the snapshot: it was made for another one, or its beginning is damaged")]
    OtherKey,
    /// It is not as it was written.
    #[error("the snapshot is damaged or cut off: use another one")]
    Damaged,
}

/// `secret`, encrypted to an age recipient (`age1...`).
pub(super) fn seal(secret: &[u8], recipient: &str) -> Result<Vec<u8>, SealError> {
    let recipient: age::x25519::Recipient = recipient.parse().map_err(|_| SealError::Recipient)?;
    let encryptor = age::Encryptor::with_recipients(iter::once(&recipient as _)).map_err(|_| SealError::Recipient)?;
    let write = || {
        // A little more than the secret: a tag for every 64 KiB, and a head.
        let mut writer = encryptor.wrap_output(Vec::with_capacity(secret.len() + secret.len() / 1024 + 1024))?;
        writer.write_all(secret)?;
        writer.finish()
    };
    write().map_err(|_: io::Error| SealError::Crypto)
}

/// What was encrypted to `key`.
pub(super) fn open(bytes: &[u8], key: &RecoveryKey) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let decryptor = age::Decryptor::new_buffered(bytes).map_err(|_| OpenError::Foreign)?;
    let mut reader = decryptor.decrypt(iter::once(key.identity() as _)).map_err(|error| match error {
        age::DecryptError::NoMatchingKeys | age::DecryptError::KeyDecryptionFailed => OpenError::OtherKey,
        age::DecryptError::InvalidHeader | age::DecryptError::UnknownFormat => OpenError::Foreign,
        _ => OpenError::Damaged,
    })?;
    // Never grown, so that no part of it stays behind in memory.
    let mut secret = Zeroizing::new(Vec::with_capacity(bytes.len()));
    reader.read_to_end(&mut secret).map_err(|_| OpenError::Damaged)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two chunks of the format, so that what lies between them is tried as well.
    fn secret() -> Vec<u8> {
        (0..70_000_u32).map(|number| (number % 251) as u8).collect()
    }

    #[test]
    fn only_the_recovery_key_opens_it() {
        let key = RecoveryKey::generate();
        let sealed = seal(&secret(), &key.recipient()).unwrap();
        assert_eq!(*open(&sealed, &key).unwrap(), secret());
        assert_eq!(open(&sealed, &RecoveryKey::generate()), Err(OpenError::OtherKey));
        assert!(matches!(seal(b"x", "age1nobody"), Err(SealError::Recipient)));
        assert_eq!(open(b"a text", &key), Err(OpenError::Foreign));
        assert_eq!(open(b"", &key), Err(OpenError::Foreign));
    }

    #[test]
    fn every_flip_and_every_cut_is_noticed() {
        let key = RecoveryKey::generate();
        let small = seal(b"a registry", &key.recipient()).unwrap();
        for len in 0..small.len() {
            assert!(open(&small[..len], &key).is_err(), "{len} bytes of {}", small.len());
        }
        for bit in 0..small.len() * 8 {
            let mut flipped = small.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&flipped, &key).is_err(), "bit {bit}");
        }
        assert_eq!(open(&[&small[..], b"x"].concat(), &key), Err(OpenError::Damaged), "something behind it");
    }

    #[test]
    fn a_large_one_ends_where_it_was_written_to() {
        let key = RecoveryKey::generate();
        let sealed = seal(&secret(), &key.recipient()).unwrap();
        let chunk = 64 * 1024 + 16;
        let head = sealed.len() - (secret().len() + 2 * 16);
        assert_eq!(open(&sealed[..head + chunk], &key), Err(OpenError::Damaged), "cut between two chunks");
        let mut swapped = sealed[..head].to_vec();
        swapped.extend_from_slice(&sealed[head + chunk..]);
        assert_eq!(open(&swapped, &key), Err(OpenError::Damaged), "without its first chunk");
    }
}
