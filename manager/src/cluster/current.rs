//! The registry as the rest of the program holds it. What is behind it may be replaced while traffic goes on: the disk
//! failed and was opened again, a survivor was promoted, a manager that was fenced off begins anew.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use festoon_cluster::storage::{AuditLog, StorageError};
use festoon_cluster::{Counts, Proposal, ProposeError, Removal};
use festoon_control::registry::{Author, Change, Command, JoinEndpoint, Outcome, Refusal, State, UnixMs, Who, audit};
use festoon_proto::epoch::{EpochProof, Roster};
use festoon_proto::map::MapVersion;
use festoon_proto::token::SecretHash;
use festoon_proto::{ClusterId, EpochId, Introduced, Introduction, ManagerId, PublicKey, VerifyingKey};
use tokio::sync::{mpsc, oneshot, watch};

use super::anew::{AnewError, Kept};
use super::{Health, Https};

/// This manager's part in consensus, until it is replaced.
pub(super) type Member = festoon_cluster::Cluster<Https>;

/// The registry of this manager. A clone is the same one.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

struct Shared {
    me: ManagerId,
    /// The managers as they were told when this one joined, until there is a copy of the registry.
    joined_with: Option<Roster>,
    member: watch::Sender<Member>,
    states: watch::Sender<Arc<State>>,
    orders: mpsc::Sender<Order>,
    stops: AtomicU64,
}

/// What an admin wants of the one who replaces members.
pub(super) enum Order {
    /// Go on alone, in the next epoch, as somebody wants it.
    Promote(Option<EpochProof>, Author, Reply<EpochId>),
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

/// What a promotion is about to begin, for whoever signs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Promotion {
    /// The cluster.
    pub cluster: ClusterId,
    /// The epoch that would begin.
    pub epoch: EpochId,
    /// How far the copy goes that it begins from.
    pub from: MapVersion,
    /// The manager that the cluster goes on with.
    pub manager: ManagerId,
    /// What that one signs with.
    pub signing_key: VerifyingKey,
    /// Whether that is a witness: it can't sign this itself.
    pub needs_key: bool,
}

/// The epoch that begins from `state` at `now`, after one that is lost, if there was one.
pub(super) fn after(state: &State, me: ManagerId, lost: Option<EpochId>, now: UnixMs) -> Result<EpochId, AnewError> {
    let earliest = lost.map_or(UnixMs(0), |lost| UnixMs(lost.began_unix_ms).after(1));
    Ok(state.next_epoch(me, now.max(earliest)).map_err(Refusal::from)?)
}

async fn is_anybody_in_later(member: &Member) -> bool {
    match member.later_proof() {
        Some(proof) => member.is_anybody_in(proof).await,
        None => false,
    }
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
    pub(super) fn new(
        member: Member,
        states: watch::Sender<Arc<State>>,
        orders: mpsc::Sender<Order>,
        (me, joined_with): (ManagerId, Option<Roster>),
    ) -> Self {
        let (member, stops) = (watch::Sender::new(member), AtomicU64::new(0));
        let cluster = Self(Arc::new(Shared { me, joined_with, member, states, orders, stops }));
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

    /// As [`festoon_cluster::Cluster::now`].
    pub fn now(&self) -> UnixMs {
        self.member().now()
    }

    /// As [`festoon_cluster::Cluster::propose`]. A change that does not say when it was wanted is wanted now.
    pub async fn propose(&self, change: impl Into<Change>) -> Result<Outcome, ProposeError> {
        self.member().propose(self.dated(change.into())).await
    }

    fn dated(&self, change: Change) -> Change {
        let at = if change.at == UnixMs::default() { self.now() } else { change.at };
        Change { at, ..change }
    }

    /// As [`festoon_cluster::Cluster::propose_signed`].
    pub async fn propose_signed(&self, proposal: Proposal) -> Result<Outcome, ProposeError> {
        self.member().propose_signed(proposal).await
    }

    /// As [`festoon_cluster::Cluster::to_sign`].
    pub fn to_sign(&self) -> (EpochId, MapVersion) {
        self.member().to_sign()
    }

    /// How a manager came into `cluster` that this one lets in.
    pub fn introduce(&self, cluster: ClusterId, newcomer: Introduced) -> Vec<Introduction> {
        self.member().signer().introduce(cluster, newcomer)
    }

    /// Who the managers are; none if this one neither has a copy of the registry nor was told when it joined.
    pub fn roster(&self) -> Option<Roster> {
        Roster::later(self.0.me, self.snapshot().roster(), self.0.joined_with.as_ref())
    }

    /// The state, once it has all that was acknowledged before this call; `None` if no majority says so in time.
    ///
    /// A leader refuses a join with a token that nobody has without writing anything, once a majority has confirmed that it
    /// leads, and says which of its states that was. Nobody has a token that is made up here.
    pub async fn confirmed(&self) -> Option<Arc<State>> {
        let nobodys = Command::JoinEndpoint(JoinEndpoint {
            token: SecretHash::of(&rand::random::<[u8; 32]>()),
            public_key: PublicKey::from_bytes(rand::random()),
            credential: SecretHash::of(&rand::random::<[u8; 32]>()),
            name: String::new(),
            now: self.now(),
        });
        let by = Author { who: Who::Newcomer, from: None };
        let member = self.member();
        let refused = member.submit_at_once(self.dated(Change { by, ..nobodys.into() })).await.ok()?;
        // Of a clock that is wrong nobody has asked the others.
        let is_confirmed = matches!(&refused.result, Some(Err(refusal)) if !matches!(refusal, Refusal::Clock(_)));
        // The copy may still lag behind, or get nothing any more because this manager was removed.
        let (_, seen) = member.to_sign();
        (is_confirmed && seen.0 >= refused.index).then(|| member.snapshot())
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

    /// What a promotion would begin. Refuses as [`Cluster::promote`] would, and changes nothing.
    pub async fn promotion(&self, me: ManagerId) -> Result<Promotion, AnewError> {
        let lost = self.may_promote().await?;
        let (state, health) = (self.snapshot(), self.health());
        let epoch = after(&state, me, lost, self.now())?;
        let cluster = state.cluster().ok_or(AnewError::NotFenced)?;
        let signing_key = state.manager(me).ok_or(AnewError::NotFenced)?.signing_key;
        let needs_key = state.manager(me).is_none_or(|me| !me.is_full());
        let from = MapVersion(health.last_log.max(state.version().0));
        Ok(Promotion { cluster, epoch, from, manager: me, signing_key, needs_key })
    }

    /// Whether a promotion is the way out: refuses as [`Cluster::promote`] would, and changes nothing. Gives the later epoch
    /// that the promotion would take the place of, if there was one.
    pub(super) async fn may_promote(&self) -> Result<Option<EpochId>, AnewError> {
        let member = self.member();
        // Whether the others are enough is known for certain only by asking them: a leader may be about to be elected.
        // What is proposed changes nothing, and no clock can be in its way.
        match member.submit_at_once(Command::Batch(Vec::new()).into()).await {
            Ok(_) | Err(ProposeError::Refused(_)) => Err(AnewError::HasQuorum),
            Err(ProposeError::Fenced { theirs, .. }) if is_anybody_in_later(&member).await => {
                Err(AnewError::Fenced(theirs))
            }
            Err(ProposeError::Fenced { theirs, .. }) => Ok(Some(theirs)),
            Err(
                ProposeError::Busy { .. }
                | ProposeError::NoQuorum { .. }
                | ProposeError::StillNeeded { .. }
                | ProposeError::Stopped,
            ) => Ok(None),
        }
    }

    /// Has the cluster go on from this manager's copy alone, in a new epoch, which it returns. A full manager signs that
    /// itself; a witness needs the `proof`. The audit log names `by`.
    pub async fn promote(&self, proof: Option<EpochProof>, by: Author) -> Result<EpochId, AnewError> {
        self.order(|reply| Order::Promote(proof, by, reply)).await
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
