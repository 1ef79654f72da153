//! The directory that a manager keeps its snapshots in.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use festoon_control::registry::UnixMs;
use festoon_proto::ManagerId;
use serde::{Deserialize, Serialize};

use super::calendar;
use crate::data_dir::replace;

const PREFIX: &str = "festoon-";
const SUFFIX: &str = ".age";

/// A snapshot that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name of its file, as in `festoon-20261121T062238Z-m1.age`.
    pub name: String,
    /// When it was taken, to the second.
    pub created: UnixMs,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A snapshot is not kept or not found.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The directory or a file in it can't be used.
    #[error("{path}: {source}. See that the directory is there, has room and may be written by the manager")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such snapshot.
    #[error("this manager keeps no snapshot {0}: see `festoon-manager snapshots list` for those it does")]
    Unknown(String),
}

/// The directory.
#[derive(Debug, Clone)]
pub struct Archive {
    directory: PathBuf,
    keep: usize,
}

impl Archive {
    /// The last `keep` snapshots, at least one, in `directory`, which need not exist yet.
    pub fn new(directory: PathBuf, keep: usize) -> Self {
        Self { directory, keep: keep.max(1) }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// All that are kept, the newest first.
    pub fn list(&self) -> Result<Vec<Entry>, ArchiveError> {
        let mut all = Vec::new();
        for name in self.names()? {
            let Some(created) = created(&name) else { continue };
            let bytes = fs::metadata(self.directory.join(&name)).map_err(|source| self.failed(&name, source))?.len();
            all.push(Entry { name, created, bytes });
        }
        all.sort_by(|a, b| (b.created, &b.name).cmp(&(a.created, &a.name)));
        Ok(all)
    }

    /// Keeps a snapshot that `by` took. It is on disk, whole, before the oldest goes.
    pub fn put(&self, by: ManagerId, created: UnixMs, bytes: &[u8]) -> Result<Entry, ArchiveError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.map_err(|source| self.failed("", source))?;
        let name = format!("{PREFIX}{}-{by}{SUFFIX}", calendar::compact(created));
        let written = replace(&self.directory.join(&name), bytes);
        written.map_err(|source| {
            let _ = fs::remove_file(self.directory.join(format!("{name}.new")));
            self.failed(&name, source)
        })?;
        let rest = self.list()?.into_iter().map(|entry| entry.name).filter(|other| *other != name);
        self.remove(rest.skip(self.keep - 1));
        Ok(Entry { name, created, bytes: bytes.len() as u64 })
    }

    /// Removes what `by` began to write and never finished. Others may be writing to the same directory.
    pub fn remove_unfinished(&self, by: ManagerId) {
        let is_unfinished = |name: &String| {
            let name = name.strip_suffix(".new");
            name.is_some_and(|name| created(name).is_some() && name.ends_with(&format!("-{by}{SUFFIX}")))
        };
        self.remove(self.names().unwrap_or_default().iter().filter(|name| is_unfinished(name)));
    }

    /// The bytes of a snapshot.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, ArchiveError> {
        // Names of snapshots hold nothing that would lead out of the directory.
        if created(name).is_none() {
            return Err(ArchiveError::Unknown(name.to_owned()));
        }
        fs::read(self.directory.join(name)).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ArchiveError::Unknown(name.to_owned()),
            _ => self.failed(name, source),
        })
    }

    fn names(&self) -> Result<Vec<String>, ArchiveError> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|source| self.failed("", source))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|source| self.failed("", source))?.file_name();
            names.extend(name.into_string());
        }
        Ok(names)
    }

    /// One that can't be removed is no reason to go without the next.
    fn remove(&self, names: impl Iterator<Item = impl AsRef<str>>) {
        for name in names {
            let path = self.directory.join(name.as_ref());
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "can't be removed: remove it by hand");
            }
        }
    }

    fn failed(&self, name: &str, source: io::Error) -> ArchiveError {
        let path = if name.is_empty() { self.directory.clone() } else { self.directory.join(name) };
        ArchiveError::Io { path, source }
    }
}

/// When the snapshot of this name was taken; `None` if it is the name of something else.
fn created(name: &str) -> Option<UnixMs> {
    let (time, by) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
    by.parse::<ManagerId>().ok().filter(|id| id.to_string() == by)?;
    calendar::parse_compact(time)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ME: ManagerId = ManagerId(1);

    fn at(second: u64) -> UnixMs {
        UnixMs((1_795_242_158 + second) * 1000)
    }

    fn names(archive: &Archive) -> Vec<String> {
        archive.list().unwrap().into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn the_last_ones_are_kept_and_nothing_else_is_touched() {
        let root = tempfile::tempdir().unwrap();
        let archive = Archive::new(root.path().join("a/b"), 2);
        assert_eq!(archive.list().unwrap(), [], "no directory is an empty one");
        let first = archive.put(ME, at(0), b"one").unwrap();
        assert_eq!(archive.list().unwrap(), [first]);
        fs::write(archive.directory().join("notes.txt"), "mine").unwrap();
        for second in 1..4 {
            archive.put(ME, at(second), b"more").unwrap();
        }
        assert_eq!(names(&archive), ["festoon-20261121T062241Z-m1.age", "festoon-20261121T062240Z-m1.age"]);
        assert_eq!(fs::read_dir(archive.directory()).unwrap().count(), 3, "and the note");
        assert_eq!(archive.read("festoon-20261121T062241Z-m1.age").unwrap(), b"more");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(archive.directory()), 0o700);
        assert_eq!(mode(&archive.directory().join("festoon-20261121T062241Z-m1.age")), 0o600);
    }

    #[test]
    fn what_an_interrupted_write_left_goes_and_no_other_s() {
        let root = tempfile::tempdir().unwrap();
        let archive = Archive::new(root.path().to_owned(), 2);
        let [own, whole] = ["festoon-20200101T000000Z-m1.age.new", "festoon-20200101T000000Z-m1.age"];
        let others = ["festoon-20200101T000000Z-m11.age.new", "database.age.new", "m1.age.new"];
        [own, whole].iter().chain(&others).for_each(|name| fs::write(root.path().join(name), "a part").unwrap());
        archive.remove_unfinished(ME);
        assert!(!root.path().join(own).exists() && root.path().join(whole).exists());
        assert!(others.iter().all(|name| root.path().join(name).exists()));
    }

    #[test]
    fn the_new_one_stays_even_when_the_clock_went_back() {
        let root = tempfile::tempdir().unwrap();
        let archive = Archive::new(root.path().to_owned(), 1);
        archive.put(ME, at(3600), b"later").unwrap();
        let new = archive.put(ME, at(0), b"new").unwrap();
        assert_eq!(archive.list().unwrap(), [new]);
    }

    #[test]
    fn one_that_can_t_be_written_costs_no_other() {
        let root = tempfile::tempdir().unwrap();
        let archive = Archive::new(root.path().to_owned(), 1);
        let good = archive.put(ME, at(0), b"good").unwrap();
        // A directory in the place of the file: the rename fails.
        fs::create_dir(root.path().join("festoon-20261121T062239Z-m1.age")).unwrap();
        assert!(archive.put(ME, at(1), b"bad").unwrap_err().to_string().contains("may be written by the manager"));
        assert_eq!(archive.read(&good.name).unwrap(), b"good");
        assert!(!root.path().join("festoon-20261121T062239Z-m1.age.new").exists());
    }

    #[test]
    fn only_names_of_snapshots_are_read() {
        let root = tempfile::tempdir().unwrap();
        let archive = Archive::new(root.path().join("kept"), 1);
        fs::write(root.path().join("seal.key"), "secret").unwrap();
        for name in
            ["", "../seal.key", "festoon-20261121T062239Z-m1.age", "festoon-../../seal.key-m1.age", "/etc/passwd"]
        {
            assert!(matches!(archive.read(name), Err(ArchiveError::Unknown(_))), "{name}");
        }
    }
}
