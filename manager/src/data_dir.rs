//! The directory with all that a manager keeps: who it is, its keys, its copy of the registry.

mod atomic;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use festoon_proto::epoch::EpochProof;
use festoon_proto::{ClusterId, EpochId, ManagerId, PrivateKey, SigningKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub(crate) use atomic::replace;
use atomic::sync_directory;

/// Who this manager is. Written last by `init` and `join`: a directory without it is not a manager's yet.
const IDENTITY: &str = "identity.toml";
/// What becomes of it when the manager leaves.
const LEFT: &str = "identity.left.toml";
/// The private key of its tunnels and links. While that changes, it is one of [`own_key`](crate::own_key)'s files.
pub const WIREGUARD_KEY: &str = "wireguard.key";
/// The one it is to have, until the registry has it.
pub const NEXT_WIREGUARD_KEY: &str = "wireguard-next.key";
/// The one it had before, while that is good.
pub const FORMER_WIREGUARD_KEY: &str = "wireguard-former.key";
const SEAL_KEY: &str = "seal.key";
/// The private key that it signs with what it vouches for.
pub const SIGNING_KEY: &str = "signing.key";
/// The TLS key of a `join` whose answer has not come yet, in PEM: only with it is the same token good again.
const JOINING_TLS_KEY: &str = "joining-tls.key";

/// Its own TLS key, its certificate and those behind it, in PEM: in one file, for they are replaced together.
pub const TLS_IDENTITY: &str = "tls.pem";
/// The certificates of the CAs it trusts, in PEM, for a start before there is a copy of the registry.
pub const TRUSTED: &str = "ca.crt";
/// The changes that only this manager had when it began anew, a line of JSON each.
pub const UNREPLICATED: &str = "unreplicated";
/// Who the other managers are, where they listen and what they sign with, for when there is no registry to tell.
pub const PEERS: &str = "peers.json";
/// Who let this manager into the cluster, and who let that one in.
pub const INTRODUCTIONS: &str = "introductions.json";

/// Who this manager is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub manager: ManagerId,
    /// How often it began with an empty copy of the registry. To the others' votes every time is somebody new.
    pub incarnation: u32,
    /// The epoch of the cluster that its copy belongs to.
    pub epoch: EpochId,
    /// The act by which the later epoch began that fenced it off, until it begins anew.
    pub fenced_by: Option<EpochProof>,
    /// Whether there is a registry of this incarnation. If it is gone then, so is what this manager promised with its vote.
    pub has_registry: bool,
    /// The TCP port of its HTTPS listener, until it has a copy of the registry that names it.
    pub https_port: u16,
}

/// The data directory is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Nobody ran `init` or `join`.
    #[error(
        "{0} holds no manager yet: run `festoon-manager init` or `festoon-manager join`, or name another --data-dir"
    )]
    Empty(PathBuf),
    /// Its most important file is gone.
    #[error("{0} is missing, and there is a registry beside it: put the file back from a backup of the directory")]
    NoIdentity(PathBuf),
    /// Somebody did already.
    #[error("{0} holds a manager already: name another --data-dir for another manager")]
    Taken(PathBuf),
    /// A file can't be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{path} is damaged: restore it from a backup, or remove this manager and join again")]
    Damaged {
        /// Which.
        path: PathBuf,
    },
}

/// The data directory of a manager. Its files are for its owner alone.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// The directory at `root`, of a manager that exists.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let dir = Self { root: root.to_owned() };
        match (dir.has(IDENTITY), dir.has(LEFT)) {
            (true, _) => Ok(dir),
            (false, false) if dir.registry().exists() => Err(DataDirError::NoIdentity(dir.path(IDENTITY))),
            (false, _) => Err(DataDirError::Empty(dir.root)),
        }
    }

    /// The directory at `root`, made if need be, for a manager that does not exist yet.
    pub fn prepare(root: &Path) -> Result<Self, DataDirError> {
        let dir = Self { root: root.to_owned() };
        if dir.path(IDENTITY).exists() {
            return Err(DataDirError::Taken(dir.root));
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(root);
        made.and_then(|()| fs::set_permissions(root, fs::Permissions::from_mode(0o700)))
            .map_err(|source| DataDirError::Io { path: root.to_owned(), source })?;
        Ok(dir)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the registry's log is.
    pub fn registry(&self) -> PathBuf {
        self.path("registry.redb")
    }

    /// Where a registry is written that is to take the place of that of now. There is nothing yet.
    pub fn new_registry(&self) -> Result<PathBuf, DataDirError> {
        let path = self.path("registry.next");
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DataDirError::Io { path, source }),
            _ => Ok(path),
        }
    }

    /// Has the registry written at `new` take the place of that of now, in one step. The one before is kept as
    /// `registry.REASON.redb`.
    pub fn replace_registry(&self, new: &Path, reason: &str) -> Result<(), DataDirError> {
        let (now, aside) = (self.registry(), self.aside(reason));
        let replace = || {
            fs::hard_link(&now, &aside)?;
            fs::rename(new, &now)?;
            sync_directory(&now)
        };
        replace().map_err(|source| DataDirError::Io { path: now.clone(), source })
    }

    /// Keeps the registry as `registry.REASON.redb`, if there is one; then there is none.
    pub fn put_registry_aside(&self, reason: &str) -> Result<(), DataDirError> {
        let path = self.registry();
        match fs::rename(&path, self.aside(reason)).and_then(|()| sync_directory(&path)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DataDirError::Io { path, source }),
            _ => Ok(()),
        }
    }

    /// A name that no file has.
    fn aside(&self, reason: &str) -> PathBuf {
        let first = self.path(&format!("registry.{reason}.redb"));
        let more = (2..).map(|number| self.path(&format!("registry.{reason}-{number}.redb")));
        let mut all = std::iter::once(first.clone()).chain(more);
        all.find(|path| !path.exists()).unwrap_or(first)
    }

    /// Says that this manager left its cluster: the directory holds none any more.
    pub fn forget_identity(&self) -> Result<(), DataDirError> {
        let path = self.path(IDENTITY);
        let renamed = fs::rename(&path, self.path(LEFT)).and_then(|()| sync_directory(&path));
        renamed.map_err(|source| DataDirError::Io { path, source })
    }

    /// Where it is kept how far events were delivered.
    pub fn deliveries(&self) -> PathBuf {
        self.path("deliveries.redb")
    }

    /// Where the audit log is.
    pub fn audit(&self) -> PathBuf {
        self.path("audit.redb")
    }

    /// Keeps the audit log as `audit.damaged.redb`, in the place of one that was kept before; then there is none.
    pub fn put_audit_aside(&self) -> Result<(), DataDirError> {
        let path = self.audit();
        let renamed = fs::rename(&path, self.path("audit.damaged.redb")).and_then(|()| sync_directory(&path));
        renamed.map_err(|source| DataDirError::Io { path, source })
    }

    /// Keeps what another cluster's manager recorded here, as `NAME.REASON.redb`; then nothing is recorded.
    pub fn put_records_aside(&self, reason: &str) -> Result<(), DataDirError> {
        for path in [self.audit(), self.events(), self.deliveries()] {
            match fs::rename(&path, path.with_extension(format!("{reason}.redb"))) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(DataDirError::Io { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where what happened is kept.
    pub fn events(&self) -> PathBuf {
        self.path("events.redb")
    }

    /// Where snapshots are kept, unless the configuration says otherwise.
    pub fn snapshots(&self) -> PathBuf {
        self.path("snapshots")
    }

    /// Where the socket for admin commands is.
    pub fn socket(&self) -> PathBuf {
        Self::socket_in(&self.root)
    }

    /// Where the socket for admin commands is, under `root`.
    pub fn socket_in(root: &Path) -> PathBuf {
        root.join("manager.sock")
    }

    /// Whether somebody is this manager already, so that what changes is to be written down.
    pub fn has_identity(&self) -> bool {
        self.has(IDENTITY)
    }

    /// Who this manager is.
    pub fn identity(&self) -> Result<Identity, DataDirError> {
        toml::from_str(&self.read(IDENTITY)?).map_err(|_| self.damaged(IDENTITY))
    }

    /// Says who this manager is, and thereby that it exists.
    pub fn write_identity(&self, identity: &Identity) -> Result<(), DataDirError> {
        let text = toml::to_string(identity).map_err(|_| self.damaged(IDENTITY))?;
        self.write(IDENTITY, &text)
    }

    /// The private key of its tunnels and links, made now unless an interrupted `join` left one: the cluster may know it.
    pub fn private_key_or_new(&self) -> Result<PrivateKey, DataDirError> {
        self.key_or_new(WIREGUARD_KEY)
    }

    /// The private key that secrets are sealed to for this manager; none on a witness.
    pub fn seal_key(&self) -> Result<Option<PrivateKey>, DataDirError> {
        self.has(SEAL_KEY).then(|| self.read_key(SEAL_KEY)).transpose()
    }

    /// The private key that secrets are sealed to, made now unless an interrupted `join` left one: the cluster may know it.
    pub fn seal_key_or_new(&self) -> Result<PrivateKey, DataDirError> {
        self.key_or_new(SEAL_KEY)
    }

    /// Keeps keys that were made elsewhere: that of its tunnels and links, the one that secrets are sealed to, and the one it
    /// signs with.
    pub fn write_keys(
        &self,
        private_key: &PrivateKey,
        seal_key: &PrivateKey,
        signing_key: &SigningKey,
    ) -> Result<(), DataDirError> {
        self.write_key(WIREGUARD_KEY, private_key)?;
        self.write_key(SEAL_KEY, seal_key)?;
        self.write(SIGNING_KEY, &Zeroizing::new(signing_key.to_secret_base64()))
    }

    /// The key that it signs with what it vouches for.
    pub fn signing_key(&self) -> Result<SigningKey, DataDirError> {
        Zeroizing::new(self.read(SIGNING_KEY)?).trim().parse().map_err(|_| self.damaged(SIGNING_KEY))
    }

    /// The key that it signs with, made now unless an interrupted `join` left one: the cluster may know it.
    pub fn signing_key_or_new(&self) -> Result<SigningKey, DataDirError> {
        if self.has(SIGNING_KEY) {
            return self.signing_key();
        }
        let key = SigningKey::from_seed(rand::random());
        self.write(SIGNING_KEY, &Zeroizing::new(key.to_secret_base64()))?;
        Ok(key)
    }

    /// The TLS key in PEM that an interrupted `join` left; otherwise that of `new`, which is kept until [`Self::has_joined`].
    pub fn joining_tls_key(&self, new: impl FnOnce() -> Zeroizing<String>) -> Result<Zeroizing<String>, DataDirError> {
        if self.has(JOINING_TLS_KEY) {
            return self.read(JOINING_TLS_KEY).map(Zeroizing::new);
        }
        let key = new();
        self.write(JOINING_TLS_KEY, &key)?;
        Ok(key)
    }

    /// The answer to a `join` has come.
    pub fn has_joined(&self) -> Result<(), DataDirError> {
        self.remove(JOINING_TLS_KEY)
    }

    /// The private key in the file `name`.
    pub fn read_key(&self, name: &str) -> Result<PrivateKey, DataDirError> {
        Zeroizing::new(self.read(name)?).trim().parse().map_err(|_| self.damaged(name))
    }

    /// That the file `name` makes no sense.
    pub fn damaged(&self, name: &str) -> DataDirError {
        DataDirError::Damaged { path: self.path(name) }
    }

    /// Writes a private key to the file `name`.
    pub fn write_key(&self, name: &str, key: &PrivateKey) -> Result<(), DataDirError> {
        self.write(name, &Zeroizing::new(key.to_secret_base64()))
    }

    /// Removes the file `name`, if it is there. It does not come back after a power cut.
    pub fn remove(&self, name: &str) -> Result<(), DataDirError> {
        let path = self.path(name);
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => File::open(&self.root).and_then(|root| root.sync_all()),
        };
        removed.map_err(|source| DataDirError::Io { path, source })
    }

    /// Removes what interrupted writes left, and nothing that somebody else put there. For whoever has the registry's lock:
    /// another manager on this directory may be writing.
    pub fn remove_unfinished(&self) {
        atomic::remove_unfinished(&self.root);
    }

    fn key_or_new(&self, name: &str) -> Result<PrivateKey, DataDirError> {
        if self.has(name) {
            return self.read_key(name);
        }
        let key = PrivateKey::from_bytes(rand::random());
        self.write_key(name, &key)?;
        Ok(key)
    }

    /// The text of the file `name`.
    pub fn read(&self, name: &str) -> Result<String, DataDirError> {
        let path = self.path(name);
        fs::read_to_string(&path).map_err(|source| DataDirError::Io { path, source })
    }

    /// Whether there is a file `name`.
    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Writes the file `name`, whole or not at all, readable by its owner alone.
    pub fn write(&self, name: &str, text: &str) -> Result<(), DataDirError> {
        let path = self.path(name);
        replace(&path, text.as_bytes()).map_err(|source| DataDirError::Io { path, source })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_can_read_and_nothing_temporary_stays() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().join("a/b");
        let dir = DataDir::prepare(&root).unwrap();
        let key = dir.private_key_or_new().unwrap();
        assert_eq!(dir.private_key_or_new().unwrap().secret_bytes(), key.secret_bytes());
        assert!(dir.seal_key().unwrap().is_none());
        let seal_key = dir.seal_key_or_new().unwrap();
        assert_eq!(dir.seal_key().unwrap().unwrap().secret_bytes(), seal_key.secret_bytes());
        assert!(matches!(DataDir::open(&root), Err(DataDirError::Empty(_))));
        let identity = Identity {
            cluster: ClusterId([7; 16]),
            manager: ManagerId(3),
            incarnation: 1,
            epoch: EpochId::FIRST,
            fenced_by: None,
            has_registry: true,
            https_port: 8443,
        };
        dir.write_identity(&identity).unwrap();
        assert_eq!(DataDir::open(&root).unwrap().identity().unwrap(), identity);
        assert!(matches!(DataDir::prepare(&root), Err(DataDirError::Taken(_))));
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
        for entry in fs::read_dir(&root).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
            assert!(!entry.file_name().to_string_lossy().ends_with(".new"));
        }
    }
}
