//! The registry as the rest of a program sees it: [`Cluster::propose`] a command, [`Cluster::watch`] the state.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use festoon_control::registry::{Command, Outcome, Refusal, State, apply};
use festoon_proto::ManagerId;
use openraft::error::{ClientWriteError, InitializeError, InstallSnapshotError, RaftError};
use openraft::{Config, EmptyNode, Raft, RaftMetrics, SnapshotPolicy};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::fence::Fence;
use crate::health::Health;
use crate::members::{self, Leaving};
use crate::message::{Answer, Envelope, Rejection, Request, decode, encode};
use crate::network::{AskError, Network};
use crate::reach::Reach;
use crate::storage::{Flush, LogStore, Machine};
use crate::transport::{CallError, Transport};
use crate::types::{Applied, MemberId, Proposal, ProposalId, TypeConfig};

/// How long a proposal may take before whoever made it hears that it failed.
const PROPOSE_LIMIT: Duration = Duration::from_millis(1800);
/// How long after a failed attempt the next is made, if nobody else leads by then.
const RETRY: Duration = Duration::from_millis(50);

/// The leader speaks about this often, in milliseconds.
const HEARTBEAT_MS: u64 = 60;
/// After twice as long a silence of the leader (openraft adds a lease of the same length) a member wants to lead itself. A
/// round trip around the world and a commit to a slow disk fit into it.
const ELECTION_MS: u64 = 400;
/// Members wait for different times, so that they seldom want it at once.
const STAGGER: u64 = 5;
const STAGGER_MS: u64 = 30;
/// One part of a snapshot must arrive and be written within this, in milliseconds.
const SNAPSHOT_PART_MS: u64 = 3000;
const SNAPSHOT_PART_BYTES: u64 = 1 << 20;
/// Entries of the log after which a snapshot takes their place, and those that are kept nevertheless, for members that lag.
const SNAPSHOT_AFTER: u64 = 5000;
const KEEP: u64 = 5000;

/// A proposal came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ProposeError {
    /// The registry says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too few managers answer.
    #[error(
        "the registry can't be changed now: {needed} of its {voters} managers have to agree, and too few answer. Traffic and everything that reads goes on; {}", uncertain_text(*.is_uncertain)
    )]
    NoQuorum {
        /// How many must agree.
        needed: usize,
        /// Of how many.
        voters: usize,
        /// The change may have been made, or may still be.
        is_uncertain: bool,
    },
    /// The cluster has gone on without this manager.
    #[error(
        "this manager belongs to epoch {ours} of the cluster, which is in epoch {theirs}: let it rejoin with `festoon-manager rejoin`, or ask another manager"
    )]
    Fenced {
        /// The epoch of its log.
        ours: u32,
        /// The epoch of the cluster.
        theirs: u32,
    },
    /// This manager can take no part.
    #[error(
        "the registry can't be changed through this manager: it is stopping, or its disk fails; see its log, or ask another manager"
    )]
    Stopped,
}

const fn uncertain_text(is_uncertain: bool) -> &'static str {
    if is_uncertain {
        "it is not certain that nothing was changed: look before you try again"
    } else {
        "nothing was changed: try again when more of them are back"
    }
}

/// The registry can't be taken up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The disk fails, or the settings make no sense.
    #[error("the registry can't be started: {0}")]
    Raft(String),
    /// A new cluster was to be founded where one is.
    #[error("this manager belongs to a cluster already: use another --data-dir")]
    HasCluster,
}

/// Who this manager is to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its id and incarnation.
    pub me: MemberId,
    /// The epoch of its log.
    pub epoch: u32,
}

/// The registry of a cluster, as this manager holds it. A clone is the same registry.
#[derive(Clone)]
pub struct Cluster<T> {
    raft: Raft<TypeConfig>,
    state: watch::Receiver<Arc<State>>,
    network: Network<T>,
    leaving: Leaving,
    flush: Flush,
    follow: Arc<Task>,
}

impl<T> fmt::Debug for Cluster<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.network.me).finish()
    }
}

/// Ends with its last owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn config(me: MemberId) -> Config {
    let election = ELECTION_MS + u64::from(me.manager.0) % STAGGER * STAGGER_MS;
    Config {
        cluster_name: "festoon".to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: election - 1,
        election_timeout_max: election,
        install_snapshot_timeout: SNAPSHOT_PART_MS,
        snapshot_max_chunk_size: SNAPSHOT_PART_BYTES,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_AFTER),
        max_in_snapshot_log_to_keep: KEEP,
        replication_lag_threshold: SNAPSHOT_AFTER + KEEP,
        ..Config::default()
    }
}

impl<T: Transport> Cluster<T> {
    /// Takes part in the registry with what is on disk. Must run inside tokio.
    pub async fn start(identity: Identity, log: LogStore, machine: Machine, transport: T) -> Result<Self, StartError> {
        let config = config(identity.me).validate().map_err(|error| StartError::Raft(error.to_string()))?;
        let (state, flush) = (machine.watch(), log.flusher());
        let network =
            Network { me: identity.me, transport, fence: Fence::new(identity.epoch), reach: Reach::default() };
        let raft = Raft::new(identity.me, Arc::new(config), network.clone(), log, machine).await;
        let raft = raft.map_err(|error| StartError::Raft(error.to_string()))?;
        let leaving = Leaving::default();
        let follow = follow(raft.clone(), state.clone(), leaving.clone(), network.fence.clone());
        let follow = Arc::new(Task(tokio::spawn(follow)));
        Ok(Self { raft, state, network, leaving, flush, follow })
    }

    /// Makes this manager, with an empty disk, the only member of a new cluster.
    pub async fn found(&self) -> Result<(), StartError> {
        let me = [(self.network.me, EmptyNode {})];
        match self.raft.initialize(std::collections::BTreeMap::from(me)).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Err(StartError::HasCluster),
            Err(error) => Err(StartError::Raft(error.to_string())),
        }
    }

    /// The state, and every later one.
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// The state now. Reading needs no quorum.
    pub fn snapshot(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// How the registry is doing, as far as this manager knows.
    pub fn health(&self) -> Health {
        Health::of(&self.raft.metrics().borrow(), &self.network.fence, &self.network.reach)
    }

    /// How the registry is doing, as the leader knows it; as this manager does if there is no leader, or it does not
    /// answer within `limit`.
    pub async fn health_of_leader(&self, limit: Duration) -> Health {
        let own = self.health();
        match own.leader {
            Some(leader) if leader != own.me => match self.network.ask(leader, Request::Health, limit).await {
                Ok(Answer::Health(theirs)) => theirs,
                _ => own,
            },
            _ => own,
        }
    }

    /// Changes the registry, through whichever manager leads. When it returns `Ok`, a majority has the change on disk, and
    /// [`Cluster::snapshot`] has it.
    pub async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        let deadline = Instant::now() + PROPOSE_LIMIT;
        let proposal = Proposal { id: ProposalId(rand::random()), command };
        let applied = self.carry(&proposal, deadline).await?;
        self.reach(applied.index, deadline).await;
        match applied.result {
            Some(result) => Ok(result?),
            None => Err(ProposeError::Stopped),
        }
    }

    /// Brings a proposal into the log. It may be sent several times, and is carried out once.
    async fn carry(&self, proposal: &Proposal, deadline: Instant) -> Result<Applied, ProposeError> {
        let mut metrics = self.raft.metrics();
        let mut is_uncertain = false;
        while Instant::now() < deadline {
            if let Some(theirs) = self.network.fence.later() {
                return Err(ProposeError::Fenced { ours: self.network.fence.epoch(), theirs });
            }
            let leader = metrics.borrow_and_update().current_leader;
            let attempt = timeout_at(deadline, self.attempt(proposal, leader));
            tokio::select! {
                attempt = attempt => match attempt {
                    Ok(Ok(applied)) => return Ok(applied),
                    Ok(Err(Attempt::Stopped)) => return Err(ProposeError::Stopped),
                    Ok(Err(Attempt::NotTaken)) => {}
                    Ok(Err(Attempt::Unknown)) | Err(_) => is_uncertain |= leader.is_some(),
                },
                // Somebody else leads: whoever led before may never answer.
                () = other_leader(&mut metrics, leader) => {
                    is_uncertain |= leader.is_some();
                    continue;
                }
            }
            let pause = tokio::time::sleep_until(deadline.min(Instant::now() + RETRY));
            tokio::select! { () = pause => {}, () = other_leader(&mut metrics, leader) => {} }
        }
        let health = self.health();
        let voters = health.members.iter().filter(|member| member.votes).count();
        Err(ProposeError::NoQuorum { needed: health.quorum(), voters, is_uncertain })
    }

    async fn attempt(&self, proposal: &Proposal, leader: Option<MemberId>) -> Result<Applied, Attempt> {
        match leader {
            None => Err(Attempt::NotTaken),
            Some(leader) if leader == self.network.me => self.write(proposal.clone()).await,
            Some(leader) => match self.network.ask(leader, Request::Propose(proposal.clone()), PROPOSE_LIMIT).await {
                Ok(Answer::Applied(applied)) => Ok(applied),
                // It may have led when it took the proposal.
                Err(AskError::Rejected(Rejection::NotLeader)) => Err(Attempt::Unknown),
                Err(AskError::Call(CallError::NotSent(_)) | AskError::Rejected(_)) => Err(Attempt::NotTaken),
                _ => Err(Attempt::Unknown),
            },
        }
    }

    /// Writes a proposal to the log as the leader, and waits until it is carried out.
    async fn write(&self, proposal: Proposal) -> Result<Applied, Attempt> {
        let Command::RemoveManager(manager) = proposal.command else { return self.append(proposal).await };
        let state = self.snapshot();
        let is_refused = apply(&state, state.version().0 + 1, &proposal.command).is_err();
        if is_refused || !self.is_leader() {
            return self.append(proposal).await;
        }
        if manager == self.network.me.manager {
            self.step_down().await;
            return Err(Attempt::NotTaken);
        }
        members::dismiss(&self.raft, &self.leaving, manager).await.map_err(attempt)?;
        let applied = self.append(proposal).await?;
        if !matches!(applied.result, Some(Ok(_))) {
            members::keep(&self.leaving, manager);
        }
        Ok(applied)
    }

    async fn append(&self, proposal: Proposal) -> Result<Applied, Attempt> {
        self.raft.client_write(proposal).await.map(|written| written.data).map_err(attempt)
    }

    fn is_leader(&self) -> bool {
        self.raft.metrics().borrow().current_leader == Some(self.network.me)
    }

    /// Falls silent until another leads, if there is another.
    async fn step_down(&self) {
        self.raft.runtime_config().heartbeat(false);
        let mut metrics = self.raft.metrics();
        let followed = metrics.wait_for(|metrics| metrics.current_leader != Some(self.network.me));
        if tokio::time::timeout(PROPOSE_LIMIT, followed).await.is_err() {
            tracing::info!("nobody else leads the registry");
        }
        self.raft.runtime_config().heartbeat(true);
    }

    /// Waits until our own copy has what was acknowledged: who changed something sees it.
    async fn reach(&self, index: u64, deadline: Instant) {
        let mut metrics = self.raft.metrics();
        let reached = metrics.wait_for(|metrics| metrics.last_applied.is_some_and(|applied| applied.index >= index));
        if timeout_at(deadline, reached).await.is_err() {
            tracing::warn!(index, "the copy of the registry lags behind");
        }
    }

    /// Answers a request that another manager's [`Transport`] brought. `from` is who that manager is for certain.
    pub async fn answer(&self, from: ManagerId, request: &[u8]) -> Vec<u8> {
        let answer = match decode::<Envelope>(request) {
            Some(envelope) if envelope.from.manager == from => self.answer_to(envelope).await,
            _ => Err(Rejection::NotUnderstood),
        };
        encode(&answer.unwrap_or_else(Answer::Rejected))
    }

    async fn answer_to(&self, envelope: Envelope) -> Result<Answer, Rejection> {
        self.admit(&envelope)?;
        self.network.reach.heard(envelope.from.manager);
        match envelope.request {
            Request::Append(rpc) => self.raft.append_entries(rpc).await.map(Answer::Append).map_err(stopped),
            Request::Vote(rpc) => self.raft.vote(rpc).await.map(Answer::Vote).map_err(stopped),
            Request::Snapshot(rpc) => match self.raft.install_snapshot(rpc).await {
                Ok(answer) => Ok(Answer::Snapshot(Ok(answer))),
                Err(RaftError::APIError(error)) => Ok(Answer::Snapshot(Err::<_, InstallSnapshotError>(error))),
                Err(RaftError::Fatal(_)) => Err(Rejection::Stopped),
            },
            Request::Propose(proposal) => {
                self.write(proposal).await.map(Answer::Applied).map_err(|attempt| match attempt {
                    Attempt::Stopped => Rejection::Stopped,
                    Attempt::NotTaken | Attempt::Unknown => Rejection::NotLeader,
                })
            }
            Request::Health => Ok(Answer::Health(self.health())),
        }
    }

    /// Whether sender and addressee are in the same epoch, and the addressee is this incarnation of this manager.
    fn admit(&self, envelope: &Envelope) -> Result<(), Rejection> {
        let Network { me, fence, .. } = &self.network;
        if self.is_removed(envelope.from.manager) {
            return Err(Rejection::Removed);
        }
        let current = fence.later().unwrap_or(fence.epoch());
        if envelope.epoch > fence.epoch() {
            fence.close(envelope.epoch);
            return Err(Rejection::EarlierEpoch(fence.epoch()));
        }
        if envelope.epoch < current {
            return Err(Rejection::LaterEpoch(current));
        }
        if envelope.to != *me {
            return Err(Rejection::OtherMember(*me));
        }
        Ok(())
    }

    /// Whether a manager was in the cluster and is not any more, not even to those that vote: one that leaves may lead
    /// until the others know.
    fn is_removed(&self, manager: ManagerId) -> bool {
        let state = self.state.borrow();
        let votes = || {
            let metrics = self.raft.metrics();
            let membership = Arc::clone(&metrics.borrow().membership_config);
            membership.nodes().any(|(id, _)| id.manager == manager)
        };
        state.was_given_to_manager(manager) && state.manager(manager).is_none() && !votes()
    }

    /// Waits until another manager says that this one was removed from the cluster. May be cancelled at any time.
    pub async fn removed(&self) {
        self.network.fence.removed().await;
    }

    /// Ends this manager's part. What was acknowledged is on disk already; how far it was carried out is now, too, so that
    /// the next start knows it without asking anybody.
    pub async fn shutdown(&self) {
        self.follow.0.abort();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the registry did not end cleanly");
        }
        if let Err(error) = self.flush.flush().await {
            tracing::warn!(%error, "the end of the registry's log is not on disk");
        }
    }
}

/// Why an attempt to write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// Nothing was written.
    NotTaken,
    /// Perhaps it was written.
    Unknown,
    /// The disk fails, or the program ends.
    Stopped,
}

fn attempt(error: RaftError<MemberId, ClientWriteError<MemberId, EmptyNode>>) -> Attempt {
    match error {
        // It may have led when it took the proposal.
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => Attempt::Unknown,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(_)) => Attempt::NotTaken,
        RaftError::Fatal(_) => Attempt::Stopped,
    }
}

fn stopped<E>(_: E) -> Rejection {
    Rejection::Stopped
}

async fn other_leader(metrics: &mut watch::Receiver<RaftMetrics<MemberId, EmptyNode>>, leader: Option<MemberId>) {
    if metrics.wait_for(|metrics| metrics.current_leader != leader && metrics.current_leader.is_some()).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Keeps the membership, until the cluster has gone on without us: then we ask nobody for his vote any more.
async fn follow(raft: Raft<TypeConfig>, states: watch::Receiver<Arc<State>>, leaving: Leaving, fence: Fence) {
    tokio::select! {
        () = members::follow(raft.clone(), states, leaving) => {}
        epoch = fence.closed() => {
            tracing::error!(epoch, "the cluster has gone on in a later epoch: let this manager rejoin with `festoon-manager rejoin`");
            raft.runtime_config().elect(false);
        }
    }
}
