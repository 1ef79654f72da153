//! Where a snapshot is written to: a file of its owner's alone that is there once it is complete, or the standard output.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

#[derive(Debug)]
pub(in crate::cli) enum Output {
    Stdout(io::Stdout),
    File(NewFile),
}

/// A file that has another name until it is complete. One that is not completed is removed.
#[derive(Debug)]
pub(in crate::cli) struct NewFile {
    file: File,
    unfinished: PathBuf,
    path: PathBuf,
}

impl Output {
    /// To `path`, where nothing is yet.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" && io::stdout().is_terminal() {
            bail!("a snapshot is no text: send the standard output to a file or a program, or name a file");
        }
        Self::create_text(path)
    }

    /// As [`Output::create`], for what a person may read too.
    pub(in crate::cli) fn create_text(path: &Path) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout(io::stdout()));
        }
        if path.exists() {
            bail!("{} exists already: name a new file", path.display());
        }
        let mut unfinished = OsString::from(path);
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        // What an earlier attempt may have left.
        let _ = fs::remove_file(&unfinished);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
        let file = file.with_context(|| format!("can't write {}", unfinished.display()))?;
        Ok(Self::File(NewFile { file, unfinished, path: path.to_owned() }))
    }

    /// All was written.
    pub(in crate::cli) fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(mut stdout) => stdout.flush().context("can't write to the standard output"),
            Self::File(new) => new.finish().with_context(|| format!("can't write {}", new.path.display())),
        }
    }
}

impl NewFile {
    fn finish(&self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.unfinished, &self.path)?;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        // The new name is safe only once the directory is on disk too.
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Gone already if it was completed.
        let _ = fs::remove_file(&self.unfinished);
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::File(new) => new.file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(new) => new.file.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_there_once_it_is_complete_and_never_in_the_place_of_another() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.age");
        let mut output = Output::create(&path).unwrap();
        output.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(output);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "nothing is left of one that failed");
        let mut output = Output::create(&path).unwrap();
        output.write_all(b"whole").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Output::create(&path).unwrap_err().to_string().contains("exists already"));
        assert!(Output::create(&root.path().join("no/a.age")).unwrap_err().to_string().contains("can't write"));
    }
}
