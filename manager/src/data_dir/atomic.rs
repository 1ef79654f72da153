//! Files that are there whole or not at all, also after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::{
    FORMER_WIREGUARD_KEY, IDENTITY, INTRODUCTIONS, NEXT_WIREGUARD_KEY, PEERS, SEAL_KEY, TLS_IDENTITY, TRUSTED,
    UNREPLICATED, WIREGUARD_KEY,
};

/// What is added to a file's name while it is written.
const UNFINISHED: &str = ".new";
/// Registries while they are made.
const UNFINISHED_REGISTRIES: [&str; 2] = ["registry.new", "registry.next"];

/// Every file that is replaced whole, but for those of [`UNREPLICATED`].
const REPLACED: [&str; 9] = [
    IDENTITY,
    WIREGUARD_KEY,
    NEXT_WIREGUARD_KEY,
    FORMER_WIREGUARD_KEY,
    SEAL_KEY,
    TLS_IDENTITY,
    TRUSTED,
    PEERS,
    INTRODUCTIONS,
];

/// Whether a file of this name is one of ours that was never finished.
fn is_unfinished(name: &str) -> bool {
    let is_replaced = |name: &str| {
        let is_list = name.starts_with(UNREPLICATED) && name.ends_with(".jsonl");
        is_list || REPLACED.contains(&name)
    };
    UNFINISHED_REGISTRIES.contains(&name) || name.strip_suffix(UNFINISHED).is_some_and(is_replaced)
}

/// Writes `bytes` to `path`, whole or not at all, readable by its owner alone.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(UNFINISHED);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_directory(path)
}

/// The new name of a file is safe only once its directory is on disk too.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Removes from a data directory what interrupted writes left, and nothing that somebody else put there.
pub(super) fn remove_unfinished(root: &Path) {
    let names = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.file_name());
    for name in names.filter(|name| name.to_str().is_some_and(is_unfinished)) {
        let path = root.join(name);
        match fs::remove_file(&path) {
            Ok(()) => tracing::info!(path = %path.display(), "removed what an interrupted write left"),
            Err(error) => tracing::warn!(path = %path.display(), %error, "can't be removed: remove it by hand"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_interrupted_writes_left_goes_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let there = |name: &&str| root.path().join(name).exists();
        let ours = ["identity.toml.new", "wireguard-next.key.new", "unreplicated.epoch-1-2.jsonl.new", "registry.next"];
        let others = ["ca.crt", "registry.redb", "registry.epoch-1.redb", "notes.new", ".new", "ca.crt.new.txt"];
        ours.iter().chain(&others).for_each(|name| fs::write(root.path().join(name), name).unwrap());
        remove_unfinished(root.path());
        assert!(!ours.iter().any(there) && others.iter().all(there));
    }
}
