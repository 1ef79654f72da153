//! What is in a snapshot, in the clear.
//!
//! ```text
//! "festoonB" | format, u32 | data key, 32 bytes | length of the header, u32 | header in JSON | the registry
//! ```
//! Numbers are little-endian. The registry comes with a format and a checksum of its own. Everything is encrypted and
//! authenticated together, so what is read here is what a manager wrote; it may be one of another version.

use festoon_cluster::storage::snapshot::{SnapshotError, decode_state, encode_state};
use festoon_control::registry::{FormatError, State, UnixMs, check_readable};
use festoon_proto::ClusterId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::vault::{DATA_KEY_LEN, DataKey, VaultError};

/// The format that this version writes. It reads the one before, too.
const FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"festoonB";

/// What a snapshot says of itself. Later versions may say more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the program that wrote it.
    pub program: String,
    /// Whose registry it is.
    pub cluster: ClusterId,
    /// The name of the manager that wrote it.
    pub manager: String,
    /// When.
    pub created: UnixMs,
    /// The format of the registry.
    pub registry_format: u16,
    /// The number of the data key.
    pub data_key: u32,
}

/// What is in a snapshot.
#[derive(Debug, Clone)]
pub struct Content {
    /// What it says of itself.
    pub header: Header,
    /// What every secret of the registry is encrypted under.
    pub data_key: DataKey,
    /// The registry.
    pub state: State,
}

/// What was decrypted is not used, and nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// It is something else.
    #[error("the file is encrypted to this key and holds no snapshot of a registry: see that it is the right file")]
    Foreign,
    /// It is not as it should be.
    #[error("the snapshot contradicts itself: use another one, and please report this")]
    Damaged,
    /// A program of another time wrote it.
    #[error("a {age} version of Festoon wrote this snapshot (format {found}): install that version and restore it there", age = if *found > FORMAT { "newer" } else { "much older" })]
    Format {
        /// Its format.
        found: u32,
    },
    /// So did the one that wrote the registry in it.
    #[error("the registry in this snapshot can't be read: {0}")]
    Registry(#[from] FormatError),
    /// It can't be written. A bug.
    #[error("the registry can't be written down: please report this")]
    Unwritable,
}

impl Content {
    /// As bytes, to be encrypted.
    pub fn to_secret_bytes(&self) -> Result<Zeroizing<Vec<u8>>, ContentError> {
        let header = serde_json::to_vec(&self.header).map_err(|_| ContentError::Unwritable)?;
        let length = u32::try_from(header.len()).map_err(|_| ContentError::Unwritable)?;
        let state = encode_state(&self.state).map_err(|_| ContentError::Unwritable)?;
        // Made at once, so that no part of it stays behind in memory.
        let mut bytes = Vec::with_capacity(MAGIC.len() + 8 + DATA_KEY_LEN + header.len() + state.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(self.data_key.secret_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&state);
        Ok(Zeroizing::new(bytes))
    }

    /// Whether every secret of the registry can be read.
    pub fn check_secrets(&self) -> Result<(), VaultError> {
        let mut secrets = self.state.vault().secrets();
        secrets.try_for_each(|(name, secret)| self.data_key.decrypt(name, secret).map(drop))
    }

    /// From bytes of [`Content::to_secret_bytes`], of this version or the one before.
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, ContentError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(ContentError::Foreign)?;
        let (format, rest) = rest.split_first_chunk().ok_or(ContentError::Damaged)?;
        match u32::from_le_bytes(*format) {
            found if (1..=FORMAT).contains(&found) && found + 1 >= FORMAT => {}
            found => return Err(ContentError::Format { found }),
        }
        let (data_key, rest) = rest.split_first_chunk().ok_or(ContentError::Damaged)?;
        let (length, rest) = rest.split_first_chunk().ok_or(ContentError::Damaged)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| ContentError::Damaged)?;
        let (header, state) = rest.split_at_checked(length).ok_or(ContentError::Damaged)?;
        let header: Header = serde_json::from_slice(header).map_err(|_| ContentError::Damaged)?;
        // Before the registry itself, which can't say as well what is wrong.
        check_readable(header.registry_format)?;
        let state = decode_state(state).map_err(|error| match error {
            SnapshotError::Newer { found } => ContentError::Format { found },
            _ => ContentError::Damaged,
        })?;
        if state.cluster() != Some(header.cluster) {
            return Err(ContentError::Damaged);
        }
        let data_key = DataKey::from_secret_bytes(header.data_key, *data_key);
        Ok(Self { header, data_key, state })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::cluster;
    use super::*;

    fn bytes() -> Vec<u8> {
        cluster(3).to_secret_bytes().unwrap().to_vec()
    }

    /// The error of `bytes()` after a change.
    fn error(change: impl FnOnce(&mut Vec<u8>)) -> ContentError {
        let mut bytes = bytes();
        change(&mut bytes);
        Content::from_secret_bytes(&bytes).unwrap_err()
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let content = cluster(3);
        let read = Content::from_secret_bytes(&content.to_secret_bytes().unwrap()).unwrap();
        assert_eq!((read.header, read.state), (content.header, content.state));
        assert_eq!(read.data_key.secret_bytes(), content.data_key.secret_bytes());
        assert_eq!(read.data_key.number(), content.data_key.number());
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = bytes();
        for len in 0..bytes.len() {
            assert!(Content::from_secret_bytes(&bytes[..len]).is_err(), "{len} bytes of {}", bytes.len());
        }
    }

    #[test]
    fn the_error_says_which_version_reads_it() {
        assert_eq!(error(|bytes| bytes[0] ^= 1), ContentError::Foreign);
        assert_eq!(error(|bytes| bytes[8] = 9), ContentError::Format { found: 9 });
        assert!(ContentError::Format { found: 9 }.to_string().contains("a newer version"));
        assert_eq!(error(|bytes| bytes[8] = 0), ContentError::Format { found: 0 });
        let mut content = cluster(1);
        content.header.registry_format = 9;
        let later = Content::from_secret_bytes(&content.to_secret_bytes().unwrap()).unwrap_err();
        assert_eq!(later, ContentError::Registry(FormatError::Unreadable(9)));
        let mut content = cluster(1);
        content.header.cluster = ClusterId([0; 16]);
        assert_eq!(
            Content::from_secret_bytes(&content.to_secret_bytes().unwrap()).unwrap_err(),
            ContentError::Damaged,
            "header and registry of two clusters"
        );
    }

    #[test]
    fn a_header_of_a_later_version_may_say_more() {
        let json = r#"{"program":"2","cluster":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"manager":"m1","created":7,
                       "registry_format":1,"data_key":1,"something":"else"}"#;
        assert_eq!(serde_json::from_str::<Header>(json).unwrap().created, UnixMs(7));
    }

    proptest! {
        #[test]
        fn bytes_that_are_none_are_refused(tail in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Content::from_secret_bytes(&tail).is_err());
            let head = [&MAGIC[..], &FORMAT.to_le_bytes(), &[7; DATA_KEY_LEN]].concat();
            prop_assert!(Content::from_secret_bytes(&[head, tail].concat()).is_err());
        }
    }
}
