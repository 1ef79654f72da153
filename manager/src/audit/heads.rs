//! The ends of the audit log's chain, told to whoever keeps them outside of this manager, and compared with those of the others.
//!
//! Who can write the audit log of a manager can write another chain that is whole by itself. So its head goes, now and then, into the
//! log of the program, into every event destination (`audit.head`), and to the other managers: one whose chain has another entry at
//! the same place is told of (`audit.differs`, and a metric).
//!
//! Task: [`Heads::run`]. It may be cancelled at any point: it begins anew with the head of then.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Bytes;
use axum::extract::State as Of;
use axum::{Extension, Json, Router};
use festoon_control::registry::State;
use festoon_control::registry::audit::{Hash, Head};
use festoon_events::{Details, Event, Kind};
use festoon_proto::ManagerId;
use festoon_proto::http::ManagerRole;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cluster::{Cluster, Https, member, unix_now};
use crate::https::route::{self, Serve as _};
use crate::https::{Peer, Refused};

/// How often heads are compared with those of the others.
const COMPARE_EVERY: Duration = Duration::from_secs(60);
/// How often a head that is another than before is told.
const TELL_EVERY: Duration = Duration::from_secs(600);
/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    number: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    epoch: u32,
    /// None if the entry is not there.
    hash: Option<Hash>,
}

/// The managers whose chain is another. A clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Differing(Arc<Mutex<BTreeSet<ManagerId>>>);

impl Differing {
    /// Those that had another entry at the same place when they were compared last.
    pub fn now(&self) -> BTreeSet<ManagerId> {
        self.all().clone()
    }

    /// Notes how a comparison ended. Returns whether that is news.
    fn note(&self, other: ManagerId, is_same: bool) -> bool {
        let mut all = self.all();
        if is_same { all.remove(&other) } else { all.insert(other) }
    }

    fn all(&self) -> MutexGuard<'_, BTreeSet<ManagerId>> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The route under `/cluster/v1/`.
pub(super) fn router(cluster: Cluster) -> Router {
    Router::new().serve(route::AUDIT_HEAD, answer).with_state(cluster)
}

async fn answer(
    Of(cluster): Of<Cluster>,
    Extension(peer): Extension<Peer>,
    question: Bytes,
) -> Result<Json<Answer>, Refused> {
    member(&peer, &cluster)?;
    let Question { number } = serde_json::from_slice(&question).map_err(|_| Refused::not_understood())?;
    let state = cluster.snapshot();
    let epoch = state.epoch().number;
    let head = state.audited();
    let hash = if head.count == number { Some(head.hash) } else { written(&cluster, number).await };
    Ok(Json(Answer { epoch, hash }))
}

/// The hash of an entry on the disk.
async fn written(cluster: &Cluster, number: u64) -> Option<Hash> {
    let log = cluster.audit_log()?;
    let entries = log.read(number.checked_sub(1)?, number, 1).await.ok()?;
    entries.first()?.named().filter(|(at, _)| *at == number).map(|(_, hash)| hash)
}

/// Tells and compares the heads of manager `me`.
#[derive(Debug)]
pub struct Heads {
    /// This manager.
    pub me: ManagerId,
    /// Its registry.
    pub cluster: Cluster,
    /// The way to the others.
    pub managers: Https,
    /// Takes what this manager tells.
    pub events: mpsc::Sender<Event>,
    /// Whose chain is another.
    pub differing: Differing,
}

impl Heads {
    /// Never returns.
    pub async fn run(self) -> std::convert::Infallible {
        // A manager that joins has no entry at first.
        let mut states = self.cluster.watch();
        if states.wait_for(|state| state.audited().count > 0).await.is_err() {
            return std::future::pending().await;
        }
        drop(states);
        let mut ticks = interval(COMPARE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut tell_at, mut before) = (None, Instant::now(), None);
        loop {
            ticks.tick().await;
            let state = self.cluster.snapshot();
            let now = (state.epoch().number, state.audited());
            if Instant::now() >= tell_at && told != Some(now) {
                self.tell(&state).await;
                (told, tell_at) = (Some(now), Instant::now() + TELL_EVERY);
            }
            // That of the last time has reached all who are not cut off, also while much is changed.
            let (epoch, head) = before.replace(now).unwrap_or(now);
            if epoch == now.0 {
                self.compare(&state, epoch, head).await;
            }
        }
    }

    async fn tell(&self, state: &State) {
        let Head { count: number, hash } = state.audited();
        let (epoch, index) = (state.epoch().number, state.version().0);
        // This form is for good: `audit verify --heads` reads it, and so do the programs of others.
        tracing::info!("audit head number={number} epoch={epoch} hash={hash}");
        let details = Details::from_iter([
            ("number".to_owned(), number.into()),
            ("epoch".to_owned(), epoch.into()),
            ("index".to_owned(), index.into()),
            ("hash".to_owned(), hash.to_string().into()),
        ]);
        self.send(Event { manager: Some(self.me), details, ..Event::new(unix_now().0, Kind::AuditHead) }).await;
    }

    /// Compares with all others. One that does not have the entry is behind, or keeps less.
    async fn compare(&self, state: &State, epoch: u32, ours: Head) {
        for other in state.managers().map(|manager| manager.id).filter(|id| *id != self.me) {
            match self.ask(other, ours.count).await {
                Ok(Answer { epoch: theirs, hash: Some(hash) }) if theirs == epoch => {
                    self.note(state, other, (epoch, ours), hash).await;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(manager = %other, %error, "another manager did not say which entry it has in its audit log");
                }
            }
        }
    }

    async fn ask(&self, of: ManagerId, number: u64) -> anyhow::Result<Answer> {
        let question = serde_json::to_vec(&Question { number })?;
        let answer = self.managers.post(of, route::AUDIT_HEAD.path(), question.into(), LIMIT).await?;
        serde_json::from_slice(&answer).context("its answer can't be read")
    }

    async fn note(&self, state: &State, other: ManagerId, (epoch, ours): (u32, Head), theirs: Hash) {
        let is_same = ours.hash == theirs;
        if !self.differing.note(other, is_same) {
            return;
        }
        let Head { count: number, hash } = ours;
        if is_same {
            return tracing::info!(manager = %other, number, "that manager has the same audit log again");
        }
        tracing::error!(
            manager = %other, number, ours = %hash, %theirs,
            "the audit log of that manager DIFFERS from this one's: export both, and check each with `festoon-manager audit verify --heads`"
        );
        // A witness speaks for itself alone.
        if state.manager(self.me).is_none_or(|manager| manager.role == ManagerRole::Witness) {
            return;
        }
        let details = Details::from_iter([
            ("number".to_owned(), number.into()),
            ("epoch".to_owned(), epoch.into()),
            ("ours".to_owned(), hash.to_string().into()),
            ("theirs".to_owned(), theirs.to_string().into()),
            ("seen_by".to_owned(), self.me.to_string().into()),
        ]);
        self.send(Event { manager: Some(other), details, ..Event::new(unix_now().0, Kind::AuditDiffers) }).await;
    }

    async fn send(&self, event: Event) {
        // It fails when the program ends.
        let _ = self.events.send(event).await;
    }
}
