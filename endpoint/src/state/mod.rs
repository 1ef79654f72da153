//! What an agent remembers: a few files in one directory that only root may read.
//!
//! | file | content | written |
//! |---|---|---|
//! | `identity.json` | private key and credential, perhaps the next ones, credentials of before, the token they were made for | before a manager is asked |
//! | `map.json` | the last known map and whom to believe; the host has joined once it is here | with every newer map |
//! | `host.json` | what the host had when it joined, what its owner chose since, and the interface that was used | with the first map, each choice and another interface |
//! | `boot` | how often the agent was started | before each start |
//! | `agent.lock` | nothing; locked by whoever may change the rest | once |

mod atomic;
mod host;
mod identity;
mod lock;

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, num::ParseIntError};

use festoon_proto::http::Credential;
use festoon_proto::map::EndpointMap;
use festoon_proto::{EndpointId, Generation, PrivateKey};
use zeroize::Zeroizing;

pub use host::HostRecord;
pub use identity::{CredentialSecret, Identity, NextKey};
pub use lock::{Lock, LockError};

const IDENTITY: &str = "identity.json";
const MAP: &str = "map.json";
const BOOT: &str = "boot";
const HOST: &str = "host.json";
/// All of them.
pub(crate) const FILES: [&str; 5] = [MAP, IDENTITY, BOOT, HOST, lock::FILE];

/// The state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading or writing failed.
    #[error("cannot use {path}{hint}", hint = hint(source))]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file has content that was not written by an agent.
    #[error("{path} is damaged ({reason}): restore it from a backup, or forget it with `festoon leave --force`")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The host is in no overlay.
    #[error("this host has not joined an overlay: run `festoon join` first, with a token")]
    NotJoined,
    /// There are no numbers left for starts.
    #[error("{path} says that the agent was started 4294967295 times: leave the overlay and join again")]
    BootsUsedUp {
        /// The counter's file.
        path: PathBuf,
    },
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied { " (are you root?)" } else { "" }
}

/// All that makes a host a member of an overlay.
#[derive(Debug)]
pub struct Membership {
    /// Its WireGuard identity.
    pub private_key: PrivateKey,
    /// How it proves itself over HTTPS.
    pub credential: Credential,
    /// The last known map.
    pub map: EndpointMap,
}

/// The directory.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// The state in `path`, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Makes the directory, readable for its owner alone.
    pub fn create(&self) -> Result<(), StateError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
        made.map_err(|source| StateError::Io { path: self.path.clone(), source })
    }

    /// Takes the right to change the state; at most one process has it. What the one before left unfinished goes.
    pub fn lock(&self) -> Result<Lock, LockError> {
        let lock = Lock::take(&self.path)?;
        for name in FILES {
            let path = self.path.join(name);
            atomic::remove_unfinished(&path).map_err(|source| LockError::Io { path, source })?;
        }
        Ok(lock)
    }

    /// Whether the host is a member of an overlay.
    pub fn has_joined(&self) -> bool {
        self.path.join(MAP).exists()
    }

    /// The membership of the host.
    pub fn membership(&self) -> Result<Membership, StateError> {
        let map = self.map()?;
        let identity = self.identity()?.ok_or_else(|| self.damaged(IDENTITY, &"it is missing"))?;
        let credential = Credential::new(map.endpoint, *identity.credential_secret);
        Ok(Membership { private_key: identity.private_key, credential, map })
    }

    /// The last known map. It has no secrets.
    pub fn map(&self) -> Result<EndpointMap, StateError> {
        let map = self.read(MAP)?.ok_or(StateError::NotJoined)?;
        serde_json::from_slice(&map).map_err(|error| self.damaged(MAP, &error))
    }

    /// How the host proves itself to the managers over HTTPS from now on. It changes with the key.
    pub fn credential(&self, endpoint: EndpointId) -> Result<Credential, StateError> {
        let identity = self.identity()?.ok_or(StateError::NotJoined)?;
        Ok(Credential::new(endpoint, *identity.credential_secret))
    }

    /// What the host made for itself, if it ever tried to join.
    pub fn identity(&self) -> Result<Option<Identity>, StateError> {
        let Some(bytes) = self.read(IDENTITY)? else { return Ok(None) };
        Identity::from_json(&Zeroizing::new(bytes)).map(Some).map_err(|error| self.damaged(IDENTITY, &error))
    }

    /// How old the key is: nothing else is written to its file. `None` if the host's clock was set back since.
    pub fn key_age(&self) -> Option<Duration> {
        fs::metadata(self.path.join(IDENTITY)).and_then(|file| file.modified()).ok()?.elapsed().ok()
    }

    /// Keeps what the host made for itself.
    pub fn store_identity(&self, identity: &Identity) -> Result<(), StateError> {
        self.write(IDENTITY, identity.to_secret_json().as_bytes())
    }

    /// Keeps a newer map. The first one makes the host a member.
    pub fn store_map(&self, map: &EndpointMap) -> Result<(), StateError> {
        let json = serde_json::to_vec_pretty(map).map_err(|error| self.damaged(MAP, &error))?;
        self.write(MAP, &json)
    }

    /// What the agent remembers of the host; none before it first looked.
    pub fn host(&self) -> Result<Option<HostRecord>, StateError> {
        let Some(bytes) = self.read(HOST)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| self.damaged(HOST, &error))
    }

    /// By which interface to clean up after an agent that does not run: the one it used, or `configured` if nobody knows.
    pub fn used_interface(&self, configured: &str) -> String {
        let record = self.host().ok().flatten();
        record.and_then(|record| record.interface).unwrap_or_else(|| configured.to_owned())
    }

    /// Keeps what the agent remembers of the host.
    pub fn store_host(&self, host: &HostRecord) -> Result<(), StateError> {
        let json = serde_json::to_vec_pretty(host).map_err(|error| self.damaged(HOST, &error))?;
        self.write(HOST, &json)
    }

    /// Counts a start of the agent, on disk, and gives its first generation.
    pub fn next_boot(&self) -> Result<Generation, StateError> {
        let text = self.read(BOOT)?.unwrap_or_else(|| b"0".to_vec());
        let text = String::from_utf8_lossy(&text);
        let last: u32 = text.trim().parse().map_err(|error: ParseIntError| self.damaged(BOOT, &error))?;
        let boot = last.checked_add(1).ok_or_else(|| StateError::BootsUsedUp { path: self.path.join(BOOT) })?;
        self.write(BOOT, format!("{boot}\n").as_bytes())?;
        Ok(Generation::first_of_boot(boot))
    }

    /// Forgets everything. Files that are not the agent's stay, and so does a directory that has some.
    pub fn forget(&self) -> Result<(), StateError> {
        for name in FILES {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(StateError::Io { path, source });
                }
                _ => {}
            }
        }
        // systemd owns the directory if it is the service's: one that is not empty or not ours to remove may stay.
        let _ = fs::remove_dir(&self.path);
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Io { path, source }),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.path.join(name);
        atomic::write(&path, bytes).map_err(|source| StateError::Io { path, source })
    }

    fn damaged(&self, name: &str, reason: &dyn std::fmt::Display) -> StateError {
        StateError::Damaged { path: self.path.join(name), reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests;
