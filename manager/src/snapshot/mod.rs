//! Snapshots: the registry in one file, for the day on which all managers are lost.
//!
//! | part | what it does |
//! |---|---|
//! | [`take`] | a registry and what a restore needs becomes the bytes of a file, encrypted to the recovery key |
//! | [`Snapshots`] | takes them on schedule or when asked, keeps the last ones in a directory, says how that goes |
//! | [`read`] | checks a file and decrypts it |
//! | [`restore`] | what is in a file becomes the registry of one new manager |
//!
//! A file that is not as a manager wrote it, down to the last bit, is refused before anything is changed.

mod archive;
mod calendar;
mod content;
mod keeper;
mod restore;
mod schedule;
mod sealed;
#[cfg(test)]
mod size;
mod take;
#[cfg(test)]
mod testing;

pub use archive::{Archive, ArchiveError, Entry, Reason};
pub use calendar::readable as readable_time;
pub use content::{Content, ContentError, Header};
pub use keeper::{KeepError, Snapshots, Standing};
pub use restore::{NewManager, RestoreError, Restored, restore};
pub use schedule::{Config, Every};
pub use sealed::OpenError;
pub use take::{TakeError, take};

use crate::vault::RecoveryKey;

/// A file is not used, and nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is not decrypted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is in it is not used.
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// What is in a file, decrypted with the recovery key.
pub fn read(file: &[u8], key: &RecoveryKey) -> Result<Content, ReadError> {
    Ok(Content::from_secret_bytes(&sealed::open(file, key)?)?)
}
