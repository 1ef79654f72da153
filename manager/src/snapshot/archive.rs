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
/// Behind the manager in the name of one that was asked for.
const ASKED: &str = "-asked";
/// For so many of the last days on which one was taken on schedule, the newest of each is kept.
const DAYS: usize = 7;
const DAY_MS: u64 = 24 * 3_600_000;

/// Why a snapshot was taken. Each kind has a quota of its own, so whoever may ask for snapshots pushes out no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It was due.
    Schedule,
    /// Somebody asked for it.
    Asked,
}

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
    /// The last `keep` snapshots of each kind, at least one, in `directory`, which need not exist yet. Of those on schedule also
    /// the newest of each of the last days.
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
    pub fn put(&self, by: ManagerId, created: UnixMs, reason: Reason, bytes: &[u8]) -> Result<Entry, ArchiveError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.map_err(|source| self.failed("", source))?;
        let name = format!("{PREFIX}{}-{by}{}{SUFFIX}", calendar::compact(created), reason.mark());
        let written = replace(&self.directory.join(&name), bytes);
        written.map_err(|source| {
            let _ = fs::remove_file(self.directory.join(format!("{name}.new")));
            self.failed(&name, source)
        })?;
        let entry = Entry { name, created, bytes: bytes.len() as u64 };
        let rest = self.list()?.into_iter().filter(|other| other.name != entry.name && other.reason() == reason);
        let past = rest.skip(self.keep - 1);
        self.remove(match reason {
            Reason::Asked => past.map(|entry| entry.name).collect(),
            Reason::Schedule => without_newest_of_days(past, &entry),
        });
        Ok(entry)
    }

    /// Removes what `by` began to write and never finished. Others may be writing to the same directory.
    pub fn remove_unfinished(&self, by: ManagerId) {
        let is_unfinished = |name: &String| {
            let name = name.strip_suffix(".new");
            let ends = [Reason::Schedule, Reason::Asked].map(|reason| format!("-{by}{}{SUFFIX}", reason.mark()));
            name.is_some_and(|name| created(name).is_some() && ends.iter().any(|end| name.ends_with(end)))
        };
        self.remove(self.names().unwrap_or_default().into_iter().filter(is_unfinished).collect());
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
    fn remove(&self, names: Vec<String>) {
        for name in names {
            let path = self.directory.join(name);
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

impl Reason {
    const fn mark(self) -> &'static str {
        match self {
            Self::Schedule => "",
            Self::Asked => ASKED,
        }
    }
}

impl Entry {
    /// Why it was taken: its name says so.
    pub fn reason(&self) -> Reason {
        let is_asked = self.name.strip_suffix(SUFFIX).is_some_and(|name| name.ends_with(ASKED));
        if is_asked { Reason::Asked } else { Reason::Schedule }
    }

    const fn day(&self) -> u64 {
        self.created.0 / DAY_MS
    }
}

/// The names of `past`, which are the newest first, without the newest of each of the last days. `new` stands for its own day.
fn without_newest_of_days(past: impl Iterator<Item = Entry>, new: &Entry) -> Vec<String> {
    let mut days = vec![new.day()];
    let goes = |entry: &Entry| {
        let is_newest = !days.contains(&entry.day()) && days.len() < DAYS;
        if is_newest {
            days.push(entry.day());
        }
        !is_newest
    };
    past.filter(goes).map(|entry| entry.name).collect()
}

/// When the snapshot of this name was taken; `None` if it is the name of something else.
fn created(name: &str) -> Option<UnixMs> {
    let (time, by) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
    let by = by.strip_suffix(ASKED).unwrap_or(by);
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
        let first = archive.put(ME, at(0), Reason::Schedule, b"one").unwrap();
        assert_eq!(archive.list().unwrap(), [first]);
        fs::write(archive.directory().join("notes.txt"), "mine").unwrap();
        for second in 1..4 {
            archive.put(ME, at(second), Reason::Schedule, b"more").unwrap();
        }
        assert_eq!(names(&archive), ["festoon-20261121T062241Z-m1.age", "festoon-20261121T062240Z-m1.age"]);
        assert_eq!(fs::read_dir(archive.directory()).unwrap().count(), 3, "and the note");
        assert_eq!(archive.read("festoon-20261121T062241Z-m1.age").unwrap(), b"more");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(archive.directory()), 0o700);
        assert_eq!(mode(&archive.directory().join("festoon-20261121T062241Z-m1.age")), 0o600);
    }

    #[test]
    fn those_that_were_asked_for_push_out_none_on_schedule() {
        let root = tempfile::tempdir().unwrap();
        let archive = Archive::new(root.path().to_owned(), 2);
        let due = archive.put(ME, at(0), Reason::Schedule, b"due").unwrap();
        for second in 1..40 {
            archive.put(ME, at(second), Reason::Asked, b"asked").unwrap();
        }
        let reasons: Vec<_> = archive.list().unwrap().iter().map(Entry::reason).collect();
        assert_eq!(reasons, [Reason::Asked, Reason::Asked, Reason::Schedule]);
        assert_eq!(archive.read(&due.name).unwrap(), b"due");
        assert_eq!(names(&archive)[0], "festoon-20261121T062317Z-m1-asked.age");
    }

    #[test]
    fn the_newest_on_schedule_of_each_of_the_last_days_stays() {
        let root = tempfile::tempdir().unwrap();
        let archive = Archive::new(root.path().to_owned(), 2);
        for hour in 0..240 {
            archive.put(ME, at(hour * 3600), Reason::Schedule, b"due").unwrap();
        }
        let days: Vec<_> = names(&archive).iter().map(|name| name[14..19].to_owned()).collect();
        assert_eq!(days, ["01T05", "01T04", "30T23", "29T23", "28T23", "27T23", "26T23", "25T23"]);
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
        archive.put(ME, at(3600), Reason::Schedule, b"later").unwrap();
        let new = archive.put(ME, at(0), Reason::Schedule, b"new").unwrap();
        assert_eq!(archive.list().unwrap(), [new]);
    }

    #[test]
    fn one_that_can_t_be_written_costs_no_other() {
        let root = tempfile::tempdir().unwrap();
        let archive = Archive::new(root.path().to_owned(), 1);
        let good = archive.put(ME, at(0), Reason::Schedule, b"good").unwrap();
        // A directory in the place of the file: the rename fails.
        fs::create_dir(root.path().join("festoon-20261121T062239Z-m1.age")).unwrap();
        assert!(
            archive
                .put(ME, at(1), Reason::Schedule, b"bad")
                .unwrap_err()
                .to_string()
                .contains("may be written by the manager")
        );
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
