//! A manager that follows the log of the writer.
//!
//! One task asks for what comes behind the end of its copy, writes it to disk, applies and publishes it. It may be dropped
//! at any time: what was not written is asked for again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use festoon_control::registry::{Command, State};
use tokio::sync::watch;

use super::peer::{Peer, PeerError};
use super::routes::LOG_LIMIT;
use super::store::{LogEntry, Store, StoreError, advance};
use super::writer::Accepted;
use super::{Credentials, ProposeError};
use crate::pki::TlsError;

const RETRY: Duration = Duration::from_millis(500);

/// The copy can't be made.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It can't be fetched or written.
    #[error("the registry can't be copied: {0}")]
    Step(#[from] StepError),
}

#[derive(Debug, Clone)]
pub(super) struct Follower {
    peer: Arc<Peer>,
    in_touch: Arc<AtomicBool>,
}

impl Follower {
    pub(super) async fn propose(&self, state: &State, command: &Command) -> Result<Accepted, ProposeError> {
        self.peer.propose(state, command).await
    }

    pub(super) fn in_touch(&self) -> bool {
        self.in_touch.load(Ordering::Relaxed)
    }
}

/// Starts the task.
pub(super) fn start(store: Arc<Store>, publish: watch::Sender<Arc<State>>, peer: Peer) -> Follower {
    let in_touch = Arc::new(AtomicBool::new(false));
    let peer = Arc::new(peer);
    let follower = Follower { peer: Arc::clone(&peer), in_touch: Arc::clone(&in_touch) };
    tokio::spawn(async move {
        let mut told = false;
        while !publish.is_closed() {
            let was = in_touch.load(Ordering::Relaxed);
            // Out of touch, an answer at once tells that the writer is back.
            let step = step(&store, &publish, &peer, was).await;
            in_touch.store(step.is_ok(), Ordering::Relaxed);
            match step {
                Ok(_) => {
                    told = false;
                    if !was {
                        tracing::info!("following the registry of the writer");
                    }
                }
                Err(error) => {
                    if !told {
                        tracing::warn!(%error, "out of touch with the writer of the registry: going on with the copy");
                    }
                    told = true;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    });
    follower
}

/// One step of following fails.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The writer does not answer.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The copy can't be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Asks once for more, and says how many entries came.
async fn step(
    store: &Arc<Store>,
    publish: &watch::Sender<Arc<State>>,
    peer: &Peer,
    wait: bool,
) -> Result<usize, StepError> {
    let state = Arc::clone(&publish.borrow());
    let entries = peer.log(&state, store.last()?, wait).await?;
    let count = entries.len();
    if count > 0 {
        let next = advance(&state, &entries);
        persist(Arc::clone(store), entries).await?;
        publish.send_replace(Arc::new(next));
    }
    Ok(count)
}

/// Writes to disk where that holds up nobody.
async fn persist(store: Arc<Store>, entries: Vec<LogEntry>) -> Result<(), StoreError> {
    let write = tokio::task::spawn_blocking(move || store.append(&entries));
    // It fails only by a panic, which has been reported; the entries are asked for again.
    write.await.unwrap_or(Ok(()))
}

/// Copies the whole log once, into an empty store: a manager that has just joined can start even if the writer is away.
pub async fn catch_up(
    store: Arc<Store>,
    credentials: &Credentials,
    joined_through: &[SocketAddr],
) -> Result<State, CatchUpError> {
    let peer = Peer::new(credentials.trust, Some(&credentials.tls), joined_through)?;
    let (publish, state) = watch::channel(Arc::new(State::default()));
    while step(&store, &publish, &peer, false).await? == LOG_LIMIT {}
    let state = state.borrow();
    Ok(State::clone(&state))
}
