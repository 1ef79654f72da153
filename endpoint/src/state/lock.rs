//! At most one process changes the state of an agent.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The name of the file that is locked.
pub(super) const FILE: &str = "agent.lock";

/// The state cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("another festoon uses {directory}: stop it with `festoon down`, or choose another --state-dir")]
    Busy {
        /// The state directory.
        directory: PathBuf,
    },
    /// The host is in no overlay, so there is no state to lock.
    #[error("this host has not joined an overlay: run `festoon join` first, with a token")]
    NoState,
    /// The lock file cannot be used.
    #[error("cannot lock {path} (are you root?)")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The right to change the state. The kernel takes it back when the process ends, however it does.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(FILE);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LockError::NoState),
            Err(source) => return Err(LockError::Io { path, source }),
        };
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Busy { directory: directory.to_owned() }),
            Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}
