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

/// Whether these are undamaged bytes of [`Contents::encode`], without decoding them.
pub fn verify(bytes: &[u8]) -> Result<(), SnapshotError> {
    check(OF_MEMBER, bytes).map(drop)
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

#[cfg(test)]
mod tests {
    use festoon_control::registry::{Command, apply};

    use super::*;
    use crate::storage::tests::{bootstrap, network};

    fn state() -> State {
        let run = |state, (index, command): (u64, Command)| apply(&state, index, &command).unwrap().0;
        [(0, bootstrap()), (1, network(1)), (2, network(2))].into_iter().fold(State::default(), run)
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        assert_eq!(decode_state(&encode_state(&state()).unwrap()), Ok(state()));
    }

    #[test]
    fn what_is_cut_off_or_changed_is_refused() {
        let bytes = encode_state(&state()).unwrap();
        for len in 0..bytes.len() {
            assert!(decode_state(&bytes[..len]).is_err(), "{len} bytes of {}", bytes.len());
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_state(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_error_tells_what_it_is() {
        assert_eq!(decode_state(b"something else entirely"), Err(SnapshotError::Foreign));
        let of_member = Contents::default().encode().unwrap();
        assert_eq!(decode_state(&of_member), Err(SnapshotError::Foreign));
        assert_eq!(decode_state(&seal_as(FORMAT + 1, b"")), Err(SnapshotError::Newer { found: FORMAT + 1 }));
        assert_eq!(decode_state(&seal_as(FORMAT, b"")), Err(SnapshotError::Damaged));
    }

    fn seal_as(format: u32, body: &[u8]) -> Vec<u8> {
        let format = format.to_le_bytes();
        [OF_STATE.as_slice(), &format, &seal::checksum(&[&format, body]), body].concat()
    }
}
