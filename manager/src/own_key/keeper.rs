//! Changes the key when an admin asks for it, and gives the node the keys that the registry names.
//!
//! Task: [`OwnKey::follow`]. It may be cancelled at any point: see [`KeyFiles::settle`].

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use festoon_control::registry::{Author, Change, Command, RotateManagerKey, State, UnixMs, Who};
use festoon_proto::map::MapVersion;
use festoon_proto::{ManagerId, PublicKey};
use tokio::sync::{Mutex, watch};

use super::files::{KeyFiles, Next};
use crate::cluster::{Cluster, ProposeError};
use crate::data_dir::{DataDir, DataDirError};
use crate::driver::NodeHandle;
use crate::node::NodeKeys;

/// How soon a change of which it is not certain whether the registry has it is proposed again.
const AGAIN: Duration = Duration::from_secs(5);

/// The manager keeps the key it has, or will have the new one as soon as the others answer.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// A key file can't be read or written.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The registry does not take it.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// It may have been taken.
    #[error("too few managers answer: the new key is kept, and comes into use as soon as they agree")]
    Later,
}

/// A manager has a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    /// The new key.
    pub public_key: PublicKey,
    /// Until when the one before is good too.
    pub former_until: UnixMs,
}

/// The key of this manager. A clone is the same.
#[derive(Debug, Clone)]
pub struct OwnKey {
    me: ManagerId,
    cluster: Cluster,
    /// One at a time: a key that was given up must not be proposed by another.
    files: Arc<Mutex<KeyFiles>>,
}

impl OwnKey {
    /// That of the manager `me` with its files in `data`.
    pub fn new(me: ManagerId, data: DataDir, cluster: Cluster) -> Self {
        Self { me, cluster, files: Arc::new(Mutex::new(KeyFiles::new(data))) }
    }

    /// Whose it is.
    pub const fn manager(&self) -> ManagerId {
        self.me
    }

    /// The keys that the node begins with.
    pub async fn keys(&self, state: &State) -> anyhow::Result<NodeKeys> {
        let record = state.manager(self.me).context("this manager is not in the registry")?;
        Ok(self.files.lock().await.settle(record)?)
    }

    /// Makes a new key and has the registry take it. The one before is good for `overlap` more. The audit
    /// log names `by`, unless the change is interrupted: then the manager completes it by itself.
    pub async fn rotate(&self, overlap: Duration, by: Author) -> Result<Rotated, RotateError> {
        let files = self.files.lock().await;
        // Perhaps the last change has come no further than into the registry.
        if let Some(record) = self.cluster.snapshot().manager(self.me) {
            files.settle(record)?;
        }
        let next = files.prepare(overlap)?;
        match self.propose(&next, by).await {
            Ok(rotated) => Ok(rotated),
            Err(ProposeError::NoQuorum { is_uncertain: true, .. } | ProposeError::Stopped) => Err(RotateError::Later),
            Err(error) => {
                files.abandon()?;
                Err(error.into())
            }
        }
    }

    /// To do so again changes nothing.
    async fn propose(&self, next: &Next, by: Author) -> Result<Rotated, ProposeError> {
        let (now, new_key) = (self.cluster.now(), next.key.public_key());
        let overlap_until = now.after(u64::try_from(next.overlap.as_millis()).unwrap_or(u64::MAX));
        let command = RotateManagerKey { manager: self.me, new_key, now, overlap_until };
        self.cluster.propose(Change { by, ..Command::RotateManagerKey(command).into() }).await?;
        tracing::info!(public_key = %new_key, former_until_unix_ms = overlap_until.0, "this manager has a new key");
        Ok(Rotated { public_key: new_key, former_until: overlap_until })
    }

    /// Follows the registry for the node, if there is one, once the state with which that began is certain. Ends an
    /// interrupted change.
    pub async fn follow(&self, version: MapVersion, node: Option<NodeHandle>) -> anyhow::Result<()> {
        let Some(node) = node else { return std::future::pending().await };
        let mut states = self.cluster.watch();
        self.cluster.applied(version).await;
        let mut known = None;
        loop {
            self.catch_up(&mut states, &mut known, &node).await?;
            if let Ok(ended) = tokio::time::timeout(AGAIN, states.changed()).await {
                ended.context("the registry ended")?;
            }
        }
    }

    async fn catch_up(
        &self,
        states: &mut watch::Receiver<Arc<State>>,
        known: &mut Option<(PublicKey, Option<PublicKey>)>,
        node: &NodeHandle,
    ) -> anyhow::Result<()> {
        let state = Arc::clone(&states.borrow_and_update());
        // One that was removed is told so elsewhere.
        let Some(record) = state.manager(self.me) else { return Ok(()) };
        let keys = Some((record.public_key, record.previous_key.map(|previous| previous.key)));
        if *known != keys {
            node.set_keys(self.files.lock().await.settle(record)?).await?;
            *known = keys;
        }
        self.complete(record.public_key).await
    }

    /// Proposes a key that is to come, if there is one left from a change that was interrupted.
    async fn complete(&self, current: PublicKey) -> anyhow::Result<()> {
        let files = self.files.lock().await;
        let Some(next) = files.next()?.filter(|next| next.key.public_key() != current) else { return Ok(()) };
        match self.propose(&next, Author { who: Who::Manager(self.me), from: None }).await {
            Ok(_) => Ok(()),
            Err(ProposeError::Refused(refusal)) => {
                tracing::error!(%refusal, "this manager keeps the key it has");
                Ok(files.abandon()?)
            }
            // Whatever it is, it will be the same or better then.
            Err(error) => {
                tracing::debug!(%error, "the new key of this manager is not in the registry yet");
                Ok(())
            }
        }
    }
}
