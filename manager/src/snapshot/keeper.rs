//! Snapshots of the running manager: on schedule, and when an admin asks.
//!
//! Task: [`Snapshots::run`]. It may be cancelled at any point: a file gets its name once it is complete.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use festoon_control::registry::{Command, PutSecret, UnixMs};
use festoon_proto::ManagerId;
use serde::{Deserialize, Serialize};

use super::archive::{Archive, ArchiveError, Entry, Reason};
use super::schedule::{Config, is_due};
use super::take::{TakeError, take};
use crate::cluster::Cluster;
use crate::data_dir::DataDir;
use crate::vault::{Vault, VaultError, recovery_recipient};

/// How often it looks whether one is due, at most. So long a manager runs before it takes its first.
const LOOK: Duration = Duration::from_secs(30);
/// How soon it is tried again after a failure, at most.
const AGAIN: Duration = Duration::from_secs(600);

/// A snapshot is not taken or not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It is not taken.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// It is not kept, or not there.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The manager stops.
    #[error("this manager is stopping")]
    Stopping,
}

/// How it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// How often one is taken, as in `24h`.
    pub every: String,
    /// Where they are kept.
    pub directory: PathBuf,
    /// The last good one.
    pub last: Option<Entry>,
    /// Why there is none newer, if the last attempt failed.
    pub failure: Option<String>,
}

/// The snapshots of this manager. A clone is the same.
#[derive(Debug, Clone)]
pub struct Snapshots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    me: ManagerId,
    every: Option<Duration>,
    archive: Archive,
    cluster: Cluster,
    vault: Vault,
    standing: Mutex<Standing>,
    /// When the last one on schedule was taken. Those that were asked for take the place of none.
    last_due: Mutex<Option<UnixMs>>,
    /// One is taken at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Snapshots {
    /// Of manager `me`. Reads what is kept already, and removes what an interrupted write left.
    pub fn new(config: &Config, data: &DataDir, me: ManagerId, cluster: Cluster, vault: Vault) -> Self {
        let directory = config.directory.clone().unwrap_or_else(|| data.snapshots());
        let archive = Archive::new(directory.clone(), config.keep);
        archive.remove_unfinished(me);
        let all = archive.list().unwrap_or_default();
        let last_due = all.iter().find(|entry| entry.reason() == Reason::Schedule).map(|entry| entry.created);
        let (last, last_due) = (all.into_iter().next(), Mutex::new(last_due));
        let standing = Mutex::new(Standing { every: config.every.to_string(), directory, last, failure: None });
        let turn = tokio::sync::Mutex::default();
        Self(Arc::new(Inner { me, every: config.every.0, archive, cluster, vault, standing, last_due, turn }))
    }

    /// Takes one whenever it is due, on a manager that can. Ends with the manager.
    pub async fn run(self) -> Infallible {
        let Some(every) = self.0.every else { return std::future::pending().await };
        let look = LOOK.min(every / 4);
        let mut pause = look;
        loop {
            tokio::time::sleep(pause).await;
            let last = *lock(&self.0.last_due);
            pause = look;
            if !self.is_fit() || !is_due(self.0.cluster.now(), last, every, self.0.me) {
                continue;
            }
            match self.keep(Reason::Schedule).await {
                Ok(entry) => *lock(&self.0.last_due) = Some(entry.created),
                Err(_) => pause = AGAIN.min(every / 4),
            }
        }
    }

    /// Whether this manager reads the secrets, and the cluster has not gone on without it.
    fn is_fit(&self) -> bool {
        let cluster = &self.0.cluster;
        let is_full = cluster.snapshot().manager(self.0.me).is_some_and(|manager| manager.is_full());
        is_full && cluster.health().later_epoch.is_none()
    }

    /// Takes one and keeps it.
    pub async fn keep(&self, reason: Reason) -> Result<Entry, KeepError> {
        let _turn = self.0.turn.lock().await;
        let kept = self.take_and_put(reason).await;
        let mut standing = self.lock();
        match &kept {
            Ok(entry) => {
                tracing::info!(name = entry.name, bytes = entry.bytes, "a snapshot was taken");
                standing.last = Some(entry.clone());
                standing.failure = None;
            }
            Err(error) => {
                tracing::error!(%error, "no snapshot could be taken; the next attempt follows by itself");
                standing.failure = Some(error.to_string());
            }
        }
        kept
    }

    async fn take_and_put(&self, reason: Reason) -> Result<Entry, KeepError> {
        let now = self.0.cluster.now();
        let file = self.take_at(now).await?;
        let inner = Arc::clone(&self.0);
        blocking(move || Ok(inner.archive.put(inner.me, now, reason, &file)?)).await
    }

    /// Takes one that is not kept here: the bytes of its file.
    pub async fn take(&self) -> Result<Vec<u8>, KeepError> {
        self.take_at(self.0.cluster.now()).await
    }

    async fn take_at(&self, now: UnixMs) -> Result<Vec<u8>, KeepError> {
        let state = self.0.cluster.snapshot();
        let inner = Arc::clone(&self.0);
        blocking(move || Ok(take((*state).clone(), inner.me, &inner.vault, now)?)).await
    }

    /// All that are kept, the newest first.
    pub async fn list(&self) -> Result<Vec<Entry>, KeepError> {
        let inner = Arc::clone(&self.0);
        blocking(move || Ok(inner.archive.list()?)).await
    }

    /// The bytes of one that is kept.
    pub async fn read(&self, name: String) -> Result<Vec<u8>, KeepError> {
        let inner = Arc::clone(&self.0);
        blocking(move || Ok(inner.archive.read(&name)?)).await
    }

    /// How often one is taken; `None` if only when asked.
    pub fn every(&self) -> Option<Duration> {
        self.0.every
    }

    /// How it goes.
    pub fn standing(&self) -> Standing {
        self.lock().clone()
    }

    /// The command that has all snapshots from then on encrypted to another recovery key.
    pub fn new_recipient(&self, recipient: &str) -> Result<Command, VaultError> {
        let name = recovery_recipient();
        let secret = self.0.vault.encrypt(&self.0.cluster.snapshot(), &name, recipient.as_bytes())?;
        Ok(Command::PutSecret(PutSecret { name, secret }))
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        lock(&self.0.standing)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what takes long, or waits for a disk, beside the tasks that must not wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeepError> + Send + 'static,
) -> Result<T, KeepError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| KeepError::Stopping)?
}
