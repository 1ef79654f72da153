//! The registry as the rest of the program holds it. What is behind it may be replaced while traffic goes on: the disk
//! failed and was opened again, a survivor was promoted, a manager that was fenced off begins anew.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use festoon_cluster::storage::{AuditLog, StorageError};
use festoon_cluster::{Counts, ProposeError, Removal};
use festoon_control::registry::{Author, Change, Command, Outcome, State, UnixMs, audit};
use festoon_proto::map::MapVersion;
use festoon_proto::{EpochId, ManagerId};
use tokio::sync::{mpsc, oneshot, watch};

use super::anew::{AnewError, Kept};
use super::{Health, Https, unix_now};

/// This manager's part in consensus, until it is replaced.
pub(super) type Member = festoon_cluster::Cluster<Https>;

/// The registry of this manager. A clone is the same one.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

struct Shared {
    member: watch::Sender<Member>,
    states: watch::Sender<Arc<State>>,
    orders: mpsc::Sender<Order>,
    stops: AtomicU64,
}

/// What an admin wants of the one who replaces members.
pub(super) enum Order {
    /// Go on alone, in the next epoch, as somebody wants it.
    Promote(Author, Reply<EpochId>),
    /// Give up the own copy and begin anew in the cluster's epoch.
    Rejoin(Reply<Rejoined>),
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, AnewError>>;

/// This manager has begun anew.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rejoined {
    /// The epoch it is in now.
    pub epoch: EpochId,
    /// The changes that it had.
    pub kept: Kept,
}

/// What grows from state to state, of this epoch and from one epoch to the next.
fn age(state: &State) -> (EpochId, MapVersion) {
    (state.epoch().id(), state.version())
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&*self.0.member.borrow()).finish()
    }
}

impl Cluster {
    pub(super) fn new(member: Member, states: watch::Sender<Arc<State>>, orders: mpsc::Sender<Order>) -> Self {
        let cluster =
            Self(Arc::new(Shared { member: watch::Sender::new(member), states, orders, stops: AtomicU64::new(0) }));
        cluster.publish();
        cluster
    }

    /// Tells of the member's state, if that is a later one. A member that begins anew is behind for a while.
    pub(super) fn publish(&self) {
        let state = self.member().snapshot();
        self.0.states.send_if_modified(|published| {
            let is_news = age(&state) > age(published);
            if is_news {
                *published = state;
            }
            is_news
        });
    }

    pub(super) fn member(&self) -> Member {
        self.0.member.borrow().clone()
    }

    pub(super) fn replace(&self, member: Member) {
        self.0.member.send_replace(member);
        self.publish();
    }

    /// The state, and every later one.
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.0.states.subscribe()
    }

    /// The state now. Reading needs no quorum.
    pub fn snapshot(&self) -> Arc<State> {
        let (own, published) = (self.member().snapshot(), Arc::clone(&*self.0.states.borrow()));
        if age(&own) > age(&published) { own } else { published }
    }

    /// As [`festoon_cluster::Cluster::propose`]. A change that does not say when it was wanted is wanted now.
    pub async fn propose(&self, change: impl Into<Change>) -> Result<Outcome, ProposeError> {
        let mut change = change.into();
        if change.at == UnixMs::default() {
            change.at = unix_now();
        }
        self.member().propose(change).await
    }

    /// As [`festoon_cluster::Cluster::audit`].
    pub async fn audit(&self, after: u64, limit: usize) -> Result<Vec<audit::Entry>, StorageError> {
        self.member().audit(after, limit).await
    }

    /// As [`festoon_cluster::Cluster::audit_log`].
    pub fn audit_log(&self) -> Option<AuditLog> {
        self.member().audit_log()
    }

    /// As [`festoon_cluster::Cluster::begun_with`].
    pub fn begun_with(&self) -> Arc<State> {
        self.member().begun_with()
    }

    /// As [`festoon_cluster::Cluster::applied`].
    pub async fn applied(&self, version: MapVersion) {
        self.on_each_member(async |member| member.applied(version).await).await;
    }

    /// As [`festoon_cluster::Cluster::health`].
    pub fn health(&self) -> Health {
        self.member().health()
    }

    /// As [`festoon_cluster::Cluster::counts`].
    pub fn counts(&self) -> Counts {
        self.member().counts()
    }

    /// How often this manager's part in consensus stopped by itself: its disk failed, or its copy was damaged.
    pub fn stops(&self) -> u64 {
        self.0.stops.load(Ordering::Relaxed)
    }

    pub(super) fn note_stop(&self) {
        self.0.stops.fetch_add(1, Ordering::Relaxed);
    }

    /// As [`festoon_cluster::Cluster::health_of_leader`].
    pub async fn health_of_leader(&self, limit: Duration) -> Health {
        self.member().health_of_leader(limit).await
    }

    /// As [`festoon_cluster::Cluster::answer`].
    pub async fn answer(&self, from: ManagerId, request: &[u8]) -> Vec<u8> {
        self.member().answer(from, request).await
    }

    /// Waits until another manager says that this one was removed from the cluster. May be cancelled at any time.
    pub async fn removed(&self) -> Removal {
        self.on_each_member(async |member| member.removed().await).await
    }

    /// Waits for something on the member of now, and begins again whenever that is replaced.
    async fn on_each_member<T>(&self, wait: impl AsyncFn(Member) -> T) -> T {
        let mut members = self.0.member.subscribe();
        loop {
            let member = members.borrow_and_update().clone();
            tokio::select! {
                waited = wait(member) => return waited,
                // Cannot end: `self` holds the sender.
                _ = members.changed() => {}
            }
        }
    }

    /// Makes this one the first founder of a new cluster: see [`festoon_cluster::Cluster::found`].
    pub async fn found(&self) -> Result<(), festoon_cluster::StartError> {
        self.member().found().await
    }

    /// Whether a promotion is the way out: refuses as [`Cluster::promote`] would, and changes nothing. Gives the later epoch
    /// that the promotion would take the place of, if there was one.
    pub async fn may_promote(&self) -> Result<Option<EpochId>, AnewError> {
        let member = self.member();
        // Whether the others are enough is known for certain only by asking them: a leader may be about to be elected.
        match member.propose(Command::Expire(UnixMs(0))).await {
            Ok(_) | Err(ProposeError::Refused(_)) => Err(AnewError::HasQuorum),
            Err(ProposeError::Fenced { theirs, .. }) if member.is_anybody_in(theirs).await => {
                Err(AnewError::Fenced(theirs))
            }
            Err(ProposeError::Fenced { theirs, .. }) => Ok(Some(theirs)),
            Err(ProposeError::NoQuorum { .. } | ProposeError::StillNeeded { .. } | ProposeError::Stopped) => Ok(None),
        }
    }

    /// Has the cluster go on from this manager's copy alone, in a new epoch, which it returns. The audit log
    /// names `by`.
    pub async fn promote(&self, by: Author) -> Result<EpochId, AnewError> {
        self.order(|reply| Order::Promote(by, reply)).await
    }

    /// Gives up the copy of a manager that was fenced off; it gets that of the cluster. Changes that only it had are kept
    /// in a file.
    pub async fn rejoin(&self) -> Result<Rejoined, AnewError> {
        self.order(Order::Rejoin).await
    }

    async fn order<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, AnewError> {
        let (reply, answer) = oneshot::channel();
        self.0.orders.send(order(reply)).await.map_err(|_| AnewError::Stopping)?;
        answer.await.map_err(|_| AnewError::Stopping)?
    }

    /// As [`festoon_cluster::Cluster::shutdown`].
    pub async fn shutdown(&self) {
        self.member().shutdown().await;
    }
}
