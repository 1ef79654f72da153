//! What can be wrong with the registry on a disk.

use std::sync::Arc;

use openraft::{AnyError, ErrorSubject, ErrorVerb, StorageIOError};

use super::snapshot::SnapshotError;
use crate::types::MemberId;

/// The registry on this manager's disk can't be used. A clone is about the same failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The disk or the file fails.
    #[error(
        "the registry can't be read or written: {0}. See that its disk works, has room and may be written, then start this manager again"
    )]
    Database(#[source] Arc<redb::Error>),
    /// The file itself is not as it was written.
    #[error("the registry on this manager is damaged{}: {CURE}", at(.0))]
    File(Option<String>),
    /// An entry of the log is missing, or is not as it was written.
    #[error("the registry on this manager is damaged at log entry {0}: {CURE}")]
    Entry(u64),
    /// A record beside the log is not as it was written.
    #[error("the registry on this manager is damaged at its record {0:?}: {CURE}")]
    Record(&'static str),
    /// The snapshot can't be used.
    #[error("the registry on this manager: {0}")]
    Snapshot(#[from] SnapshotError),
    /// A newer program wrote it.
    #[error(
        "a newer version of Festoon wrote the registry on this manager (format {found}, this version reads up to {known}): install that version"
    )]
    Newer {
        /// The format on disk.
        found: u32,
        /// The newest that this version reads.
        known: u32,
    },
    /// Something is too large or too odd to be written. A bug.
    #[error("the registry can't write its {0:?}: please report this")]
    Unwritable(&'static str),
    /// Nobody writes to the disk any more.
    #[error("the registry is closed: this manager is stopping")]
    Closed,
}

/// What is done about damage.
pub const CURE: &str = "its disk may be failing. When it starts, this manager asks the others for another copy";

fn at(detail: &Option<String>) -> String {
    detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default()
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for StorageError {
            fn from(error: $error) -> Self {
                Self::from_redb(error.into())
            }
        }
    )*};
}

from_redb!(redb::DatabaseError, redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

impl StorageError {
    fn from_redb(error: redb::Error) -> Self {
        match error {
            redb::Error::Corrupted(detail) => Self::File(Some(detail)),
            redb::Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::File(Some("its end is missing".to_owned()))
            }
            error => Self::Database(Arc::new(error)),
        }
    }

    /// The same for openraft, which stops when it gets one.
    pub(super) fn into_raft(
        self,
        subject: ErrorSubject<MemberId>,
        verb: ErrorVerb,
    ) -> openraft::StorageError<MemberId> {
        StorageIOError::new(subject, verb, AnyError::error(self)).into()
    }
}
