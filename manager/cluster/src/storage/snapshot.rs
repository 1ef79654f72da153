//! A registry as a row of bytes: for members that lag far behind, for a start without the whole log, and for backups.
//!
//! 8 bytes that say what it is, the format (`u32`), 8 bytes of checksum over the format and the rest (both little-endian),
//! then postcard.

use std::sync::Arc;

use festoon_control::registry::State;
use openraft::{EmptyNode, LogId, StoredMembership};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::seal;
use crate::recent::Recent;
use crate::types::MemberId;

/// The format that this version writes, and the newest it reads.
pub const FORMAT: u32 = 1;

const HEADER_LEN: usize = 20;
const OF_MEMBER: &[u8; 8] = b"festoonM";
const OF_STATE: &[u8; 8] = b"festoonS";

/// A snapshot is not used, and nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It is something else.
    #[error("this is no snapshot of a registry: see that it is the right file and complete")]
    Foreign,
    /// It is not as it was written.
    #[error("its snapshot is damaged: {}", super::error::CURE)]
    Damaged,
    /// A newer program wrote it.
    #[error(
        "a newer version of Festoon wrote its snapshot (format {found}, this version reads up to {FORMAT}): install that version"
    )]
    Newer {
        /// Its format.
        found: u32,
    },
    /// It is another than was announced.
    #[error("its snapshot is not the one that was announced: it is sent again")]
    Mismatch,
    /// It can't be written. A bug.
    #[error("a snapshot can't be written: please report this")]
    Unwritable,
}

/// What a member has after some entry of the log.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// That entry.
    pub last_applied: Option<LogId<MemberId>>,
    /// The members, and the entry that made them so.
    pub membership: StoredMembership<MemberId, EmptyNode>,
    /// Which proposals were answered lately.
    pub recent: Recent,
    /// The registry.
    pub state: Arc<State>,
}

impl Contents {
    /// As bytes.
    pub fn encode(&self) -> Result<Vec<u8>, SnapshotError> {
        encode(OF_MEMBER, &(&self.last_applied, &self.membership, &self.recent, &*self.state))
    }

    /// From bytes of [`Contents::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (last_applied, membership, recent, state): (_, _, _, State) = decode(OF_MEMBER, bytes)?;
        Ok(Self { last_applied, membership, recent, state: Arc::new(state) })
    }
}

/// A state alone as bytes, for a backup.
pub fn encode_state(state: &State) -> Result<Vec<u8>, SnapshotError> {
    encode(OF_STATE, state)
}

/// The state from bytes of [`encode_state`].
pub fn decode_state(bytes: &[u8]) -> Result<State, SnapshotError> {
    decode(OF_STATE, bytes)
}

fn encode<T: Serialize>(kind: &[u8; 8], value: &T) -> Result<Vec<u8>, SnapshotError> {
    let header = [0; HEADER_LEN].to_vec();
    let mut bytes = postcard::to_extend(value, header).map_err(|_| SnapshotError::Unwritable)?;
    let format = FORMAT.to_le_bytes();
    let sum = seal::checksum(&[&format, &bytes[HEADER_LEN..]]);
    bytes[..8].copy_from_slice(kind);
    bytes[8..12].copy_from_slice(&format);
    bytes[12..HEADER_LEN].copy_from_slice(&sum);
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(kind: &[u8; 8], bytes: &[u8]) -> Result<T, SnapshotError> {
    let body = check(kind, bytes)?;
    // The checksum is right, so this is what was written.
    postcard::from_bytes(body).map_err(|_| SnapshotError::Damaged)
}

/// What stands behind a header that is in order.
fn check<'a>(kind: &[u8; 8], bytes: &'a [u8]) -> Result<&'a [u8], SnapshotError> {
    let (found, rest) = bytes.split_first_chunk::<8>().ok_or(SnapshotError::Foreign)?;
    if found != kind {
        return Err(SnapshotError::Foreign);
    }
    let (format, rest) = rest.split_first_chunk::<4>().ok_or(SnapshotError::Damaged)?;
    let (sum, body) = rest.split_first_chunk::<8>().ok_or(SnapshotError::Damaged)?;
    if *sum != seal::checksum(&[format, body]) {
        return Err(SnapshotError::Damaged);
    }
    match u32::from_le_bytes(*format) {
        FORMAT => Ok(body),
        found if found > FORMAT => Err(SnapshotError::Newer { found }),
        _ => Err(SnapshotError::Damaged),
    }
}
