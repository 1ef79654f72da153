//! Changes the key of the endpoint's tunnels, and its credential with it.
//!
//! Task: [`Rotator::run`]. It may be cancelled at any point: the new key is on disk before a manager hears of it, and a change
//! that was interrupted is completed after the next start. Until a manager has agreed, everything goes on with the key there
//! is; from then on the node moves its tunnels, one by one and none before its session with the new key is there.

use std::future::pending;
use std::time::Duration;

use festoon_proto::PublicKey;
use festoon_proto::http::Credential;
use festoon_proto::map::EndpointMap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::https::{AskError, Managers, ask_any};
use crate::node::NodeKeys;
use crate::state::{CredentialSecret, Identity, NextKey, StateDir, StateError};

/// How long a key is good for after it was replaced, if nobody says otherwise.
pub const DEFAULT_OVERLAP: Duration = Duration::from_secs(600);
/// How soon an unfinished change is tried again.
const AGAIN: Duration = Duration::from_secs(15);
/// How soon after managers said that this is not the endpoint's credential: it may be a copy, which must not fight.
const AFTER_REFUSAL: Duration = Duration::from_secs(300);
/// How often the age of the key is looked at.
const LOOK: Duration = Duration::from_secs(3600);

/// The endpoint keeps its key for now.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// What is on disk cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A manager refuses.
    #[error("this endpoint keeps its key: {0}")]
    Refused(AskError),
    /// No manager answers, or it cannot do it now.
    #[error("{0}; the new key is kept, and comes into use as soon as a manager agrees")]
    Later(AskError),
}

/// Somebody wants a new key.
#[derive(Debug)]
pub struct Rotation {
    /// How long the one before is to be good too.
    pub overlap: Duration,
    /// What came of it.
    pub reply: oneshot::Sender<Result<PublicKey, RotateError>>,
}

/// Changes the key.
#[derive(Debug)]
pub struct Rotator {
    /// Where keys are kept.
    pub state: StateDir,
    /// The age at which a key is replaced by itself.
    pub every: Option<Duration>,
    /// What is asked for.
    pub rotations: mpsc::Receiver<Rotation>,
    /// Where the keys for the node go.
    pub keys: mpsc::Sender<NodeKeys>,
}

impl Rotator {
    /// Runs until the session is gone.
    pub async fn run(mut self) {
        // Endpoints that were made together need not be renewed together.
        let first = if self.is_unfinished() { Duration::ZERO } else { LOOK.mul_f64(rand::random()) };
        let mut look_at = Instant::now() + first;
        let mut former_until = None;
        let mut is_refused = false;
        loop {
            tokio::select! {
                rotation = self.rotations.recv() => {
                    let Some(Rotation { overlap, reply }) = rotation else { return };
                    let rotated = self.rotate(overlap, &mut former_until).await;
                    is_refused = matches!(rotated, Err(RotateError::Refused(_)));
                    // Who asked may be gone, which is no matter.
                    drop(reply.send(rotated));
                }
                () = at(former_until) => {
                    former_until = None;
                    self.forget_former().await;
                }
                () = sleep_until(look_at) => is_refused = self.look(&mut former_until).await,
            }
            look_at = Instant::now()
                + match self.is_unfinished() {
                    true if is_refused => AFTER_REFUSAL,
                    true => AGAIN,
                    false => LOOK,
                };
        }
    }

    fn is_unfinished(&self) -> bool {
        self.state.identity().is_ok_and(|identity| identity.is_some_and(|identity| identity.next.is_some()))
    }

    /// Completes what was interrupted, and replaces a key that is old. Says whether that was refused.
    async fn look(&self, former_until: &mut Option<Instant>) -> bool {
        let is_old = self.every.is_some_and(|every| self.state.key_age().is_some_and(|age| age >= every));
        if !is_old && !self.is_unfinished() {
            return false;
        }
        let overlap =
            self.state.identity().ok().flatten().and_then(|identity| identity.next).map(|next| next.overlap());
        let rotated = self.rotate(overlap.unwrap_or(DEFAULT_OVERLAP), former_until).await;
        if let Err(error) = &rotated {
            tracing::warn!(%error, "the endpoint has no new key yet");
        }
        matches!(rotated, Err(RotateError::Refused(_)))
    }

    async fn rotate(&self, overlap: Duration, former_until: &mut Option<Instant>) -> Result<PublicKey, RotateError> {
        let map = self.state.map()?;
        let mut identity = self.state.identity()?.ok_or(StateError::NotJoined)?;
        let next = identity.prepare(overlap);
        self.state.store_identity(&identity)?;
        if let Err(error) = announce(&map, &identity, &next).await {
            return Err(self.failed(identity, error));
        }
        let former = Some(identity.adopt(next)).filter(|_| !overlap.is_zero());
        *former_until = former.as_ref().map(|_| Instant::now() + overlap);
        let key = identity.private_key.clone();
        let public_key = key.public_key();
        // The managers have it: the node needs it even if the disk fails now.
        let _ = self.keys.send(NodeKeys { key, former }).await;
        self.state.store_identity(&identity)?;
        tracing::info!(%public_key, "the endpoint has a new key");
        Ok(public_key)
    }

    fn failed(&self, mut identity: Identity, error: AskError) -> RotateError {
        match error {
            AskError::NoAnswer(_) => RotateError::Later(error),
            // Perhaps the one that knows the new key is out of reach, and the others lag behind.
            AskError::Refused(_) if error.is_removed() && !error.is_gone() => RotateError::Refused(error),
            AskError::Refused(_) => {
                identity.next = None;
                match self.state.store_identity(&identity) {
                    Ok(()) => RotateError::Refused(error),
                    Err(error) => error.into(),
                }
            }
        }
    }

    /// The overlap is over: the key before is nowhere any more.
    async fn forget_former(&self) {
        match self.state.identity() {
            Ok(Some(identity)) => drop(self.keys.send(NodeKeys { key: identity.private_key, former: None }).await),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the key before cannot be forgotten"),
        }
    }
}

/// Tells the managers of the next key. If they refuse the credential of now they may have agreed before, and the answer was
/// lost: then the next one is right already. Or they were put back to a time when a former one was.
async fn announce(map: &EndpointMap, identity: &Identity, next: &NextKey) -> Result<(), AskError> {
    let (request, managers) = (next.request(), Managers::of_map(map, None));
    let ask = async |secret: &CredentialSecret| {
        let credential = Credential::new(map.endpoint, **secret);
        ask_any(&managers, |manager| manager.rotate_key(&credential, &request)).await
    };
    let mut told = ask(&identity.credential_secret).await;
    for secret in std::iter::once(&next.credential_secret).chain(&identity.former_secrets) {
        match told {
            Err(refusal) if refusal.is_removed() => match ask(secret).await {
                // What was said first is about the credential of now.
                Err(again) if again.is_removed() => told = Err(refusal),
                other => told = other,
            },
            told => return told,
        }
    }
    told
}

/// Waits until then; for ever if there is no such time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
