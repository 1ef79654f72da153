//! A wall clock for one program. A test can set it while the program runs (by libfaketime). The machine's clock is never set.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Where Debian has the library, on each architecture.
const LIBRARIES: &str = "/usr/lib";
const LIBRARY: &str = "faketime/libfaketime.so.1";

/// The wall clock of one program.
#[derive(Debug, Clone)]
pub struct WallClock {
    file: PathBuf,
    library: PathBuf,
}

impl WallClock {
    /// A clock that is right, which is kept in `file`.
    ///
    /// # Errors
    /// When the library is not installed (see tests/install-needs), or the file can't be written.
    pub fn new(file: PathBuf) -> anyhow::Result<Self> {
        let clock = Self { file, library: library()? };
        clock.set(0)?;
        Ok(clock)
    }

    /// From now on it is ahead by so many seconds.
    ///
    /// # Errors
    /// When its file can't be written.
    pub fn set(&self, ahead_s: i64) -> anyhow::Result<()> {
        // The program may be reading it.
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{ahead_s:+}\n"))?;
        fs::rename(next, &self.file).with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// What a program needs in its environment to have this clock.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }
}

fn library() -> anyhow::Result<PathBuf> {
    let candidates = fs::read_dir(LIBRARIES)?.filter_map(|entry| Some(entry.ok()?.path().join(LIBRARY)));
    let mut found = candidates.filter(|path| Path::exists(path));
    found.next().context("libfaketime is not installed: run tests/install-needs")
}
