//! A bundle as a `.tar.gz`.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::Entry;

/// A bundle cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the bundle")]
pub struct ArchiveError(#[from] io::Error);

/// Writes `entries` into a directory `root` of an archive, dated `unix_s`.
pub fn write(entries: &[Entry], root: &str, unix_s: u64, to: impl Write) -> Result<(), ArchiveError> {
    let mut archive = Builder::new(GzEncoder::new(to, Compression::default()));
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(unix_s);
        header.set_size(entry.content.len() as u64);
        archive.append_data(&mut header, format!("{root}/{}", entry.name), &*entry.content)?;
    }
    archive.into_inner()?.finish()?.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// What `tar` makes of `archive`.
    fn tar(options: &[&str], archive: &[u8]) -> String {
        let mut command = Command::new("tar");
        let mut tar = command.args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        tar.stdin.take().unwrap().write_all(archive).unwrap();
        let output = tar.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn other_programs_read_it() {
        let entry = |name: &str, content: &str| Entry::new(name, "", content);
        let long = "deep/".repeat(30) + "file";
        let mut archive = Vec::new();
        write(&[entry("INDEX", "one\n"), entry(&long, "two\n")], "bundle", 1_000_000_000, &mut archive).unwrap();
        assert_eq!(tar(&["-tzf", "-"], &archive), format!("bundle/INDEX\nbundle/{long}\n"));
        assert_eq!(tar(&["-xzOf", "-"], &archive), "one\ntwo\n");
        assert!(tar(&["-tzvf", "-"], &archive).starts_with("-rw------- "));
    }
}
