//! The file of the registry.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use festoon_cluster::storage::CURE;
use redb::{Database, DatabaseError, StorageError};

/// The file can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process has it.
    #[error("the registry is in use: another festoon-manager runs on this --data-dir")]
    InUse,
    /// It is no registry, or a damaged one.
    #[error("{path} is damaged ({reason}): {CURE}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// How.
        reason: String,
    },
    /// The disk refuses.
    #[error("{path}: {reason}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Bytes of pages that redb keeps in memory. The registry itself is in memory anyhow.
const CACHE: usize = 16 << 20;

/// Opens the registry at `path`, made if there is none, for its owner alone.
///
/// It is made under another name, for a power cut while redb makes it leaves what redb never opens again.
pub fn open(path: &Path) -> Result<Database, DiskError> {
    if !path.exists() {
        let new = path.with_extension("new");
        let io = |source: std::io::Error| DiskError::Io { path: new.clone(), reason: source.to_string() };
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        drop(open_file(&new)?);
        std::fs::rename(&new, path).map_err(io)?;
    }
    open_file(path)
}

fn open_file(path: &Path) -> Result<Database, DiskError> {
    let io = |error: &dyn std::error::Error| DiskError::Io { path: path.to_owned(), reason: error.to_string() };
    // redb would make a file that all can read.
    let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(|error| io(&error))?;
    Database::builder().set_cache_size(CACHE).create_file(file).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => DiskError::InUse,
        DatabaseError::Storage(StorageError::Io(error)) if !is_damage(error.kind()) => io(&error),
        error => DiskError::Damaged { path: path.to_owned(), reason: error.to_string() },
    })
}

/// Whether the disk does what it should, and the file is not what it was: it is another, or has been cut off.
const fn is_damage(error: std::io::ErrorKind) -> bool {
    matches!(error, std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_registry_is_named_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.redb");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, DiskError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("registry.redb"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), vec![7; 100_000]);
    }

    #[test]
    fn a_file_that_was_cut_off_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.redb");
        drop(open(&path).unwrap());
        let whole = std::fs::read(&path).unwrap();
        for len in [1, 8, 9, 100, 319, 320, 4095, 4096, 8192, whole.len() / 2] {
            std::fs::write(&path, &whole[..len]).unwrap();
            let error = open(&path).err();
            assert!(matches!(error, Some(DiskError::Damaged { .. })), "{len} bytes: {error:?}");
        }
    }

    #[test]
    fn one_process_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.redb");
        let _held = open(&path).unwrap();
        assert!(matches!(open(&path), Err(DiskError::InUse)));
    }
}
