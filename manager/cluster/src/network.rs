//! Consensus over the [`Transport`]: what openraft sends, in an envelope.
//!
//! openraft gives an append as long as its heartbeat lasts, and then sends it again. Between continents that would be
//! for ever, so an append goes on in a task of its own, and whoever sends it again gets the answer to the first. The task
//! ends by itself after [`APPEND_LIMIT`].

use std::sync::Arc;
use std::time::Duration;

use festoon_control::registry::State;
use festoon_proto::EpochId;
use festoon_proto::epoch::EpochProof;
use openraft::error::{
    Fatal, InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, ReplicationClosed, StreamingError,
    Unreachable,
};
use openraft::network::snapshot_transport::{Chunked, SnapshotTransport as _};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, SnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, LogId, OptionalSend, Snapshot, Vote};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::fence::Fence;
use crate::guard::is_possible;
use crate::message::{Answer, Envelope, Rejection, Request, decode, encode};
use crate::reach::Reach;
use crate::signer::Signer;
use crate::storage::Execution;
use crate::tally::Tally;
use crate::transfer::Heading;
use crate::transport::{CallError, Transport};
use crate::types::{MemberId, TypeConfig};

/// How long an append may take, on its way there and back and to the disk.
const APPEND_LIMIT: Duration = Duration::from_secs(3);

/// How long a vote may take, with a new connection.
const VOTE_LIMIT: Duration = Duration::from_secs(3);

/// How long a member that was not reached is left alone.
const BACKOFF: Duration = Duration::from_millis(100);

/// How long a snapshot is not sent again to whoever refused the one before.
const UNSIGNED_PAUSE: Duration = Duration::from_secs(10);

/// How long a member that gives no answer is asked for a sign of life before others go on without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks other members, as this one.
#[derive(Debug, Clone)]
pub(crate) struct Network<T> {
    pub(crate) me: MemberId,
    pub(crate) transport: T,
    pub(crate) fence: Fence,
    pub(crate) reach: Reach,
    pub(crate) tally: Tally,
    pub(crate) states: watch::Receiver<Arc<State>>,
    pub(crate) sending: Sending,
}

/// What sending a snapshot takes.
#[derive(Debug, Clone)]
pub(crate) struct Sending {
    pub(crate) signer: Signer,
    pub(crate) execution: Execution,
}

/// There was no answer to the request, or one that does not belong to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("an answer that makes no sense here: run the same version of Festoon on all managers")]
    Nonsense,
}

impl<T: Transport> Network<T> {
    /// Asks a member. That it is in a later epoch fences this one off.
    pub(crate) async fn ask(&self, to: MemberId, request: Request, limit: Duration) -> Result<Answer, AskError> {
        self.ask_in((self.fence.epoch(), self.proof()), to, request, limit).await
    }

    /// What the epoch of this member began with, as far as its copy goes.
    pub(crate) fn proof(&self) -> Option<EpochProof> {
        self.states.borrow().epoch().began.filter(|proof| proof.epoch == self.fence.epoch())
    }

    /// Whether a manager is in this epoch or a later one. One that was only told of it is not. What is thrown away if it is
    /// taken for lost while it is only busy is worth some patience.
    pub(crate) async fn is_in(&self, epoch: EpochProof, to: MemberId) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let limit = deadline.duration_since(Instant::now());
            match self.ask_in((epoch.epoch, Some(epoch)), to, Request::Health, limit).await {
                Err(AskError::Call(CallError::NoAnswer(_))) => tokio::time::sleep(BACKOFF).await,
                Err(
                    AskError::Rejected(Rejection::EarlierEpoch(_) | Rejection::NotReady | Rejection::NotMember)
                    | AskError::Call(_)
                    | AskError::Nonsense,
                ) => {
                    return false;
                }
                Ok(_) | Err(AskError::Rejected(_)) => return true,
            }
        }
        false
    }

    async fn ask_in(
        &self,
        (epoch, proof): (EpochId, Option<EpochProof>),
        to: MemberId,
        request: Request,
        limit: Duration,
    ) -> Result<Answer, AskError> {
        let lane = request.lane();
        let envelope = Envelope { epoch, proof, from: self.me, to, request };
        let answer = self.transport.call(to.manager, lane, encode(&envelope), limit).await?;
        let answer = decode(&answer).ok_or(AskError::Nonsense)?;
        self.reach.heard(if let Answer::Rejected(Rejection::OtherMember(other)) = answer { other } else { to });
        match answer {
            Answer::Rejected(rejection) => {
                match &rejection {
                    Rejection::LaterEpoch(proof) => self.fence.close(proof),
                    Rejection::Removed(removal) => self.fence.remove(removal),
                    _ => {}
                }
                Err(rejection.into())
            }
            answer => Ok(answer),
        }
    }
}

impl<T: Transport> RaftNetworkFactory<TypeConfig> for Network<T> {
    type Network = Connection<T>;

    async fn new_client(&mut self, target: MemberId, _: &EmptyNode) -> Connection<T> {
        Connection { target, network: self.clone(), pending: None, heading: None, refused: None }
    }
}

/// The way to one member.
pub(crate) struct Connection<T> {
    target: MemberId,
    network: Network<T>,
    /// The append on its way.
    pending: Option<Pending>,
    /// What goes before each part of the snapshot on its way.
    heading: Option<Heading>,
    /// When the last one was refused, for the other end does not believe this manager.
    refused: Option<Instant>,
}

/// An append on its way.
struct Pending {
    vote: Vote<MemberId>,
    previous: Option<LogId<MemberId>>,
    last: Option<LogId<MemberId>>,
    answer: JoinHandle<Result<Answer, AskError>>,
}

impl Pending {
    /// Whether its entries are the first of those in `rpc`, or all.
    fn begins(&self, rpc: &AppendEntriesRequest<TypeConfig>) -> bool {
        self.vote == rpc.vote && self.previous == rpc.prev_log_id && self.last <= last_of(rpc)
    }
}

/// The last entry that the addressee has once it took `rpc`.
fn last_of(rpc: &AppendEntriesRequest<TypeConfig>) -> Option<LogId<MemberId>> {
    rpc.entries.last().map(|entry| entry.log_id).or(rpc.prev_log_id)
}

impl<T: Transport> Connection<T> {
    async fn ask(&self, request: Request, option: &RPCOption) -> Result<Answer, AskError> {
        self.network.ask(self.target, request, option.hard_ttl()).await
    }

    /// Signs a snapshot that is to be sent, and gives it back. None without a copy of the registry.
    async fn head(&mut self, snapshot: Snapshot<TypeConfig>) -> Option<Snapshot<TypeConfig>> {
        let Network { states, fence, sending: Sending { signer, execution }, .. } = &self.network;
        let (state, epoch, signer) = (Arc::clone(&states.borrow()), fence.epoch(), signer.clone());
        let sign = move || {
            let heading = signer.heading(&state, epoch, snapshot.meta.clone(), snapshot.snapshot.get_ref());
            Ok((heading, snapshot))
        };
        let (heading, snapshot) = execution.run(sign).await.ok()?;
        self.heading = Some(heading?);
        Some(snapshot)
    }

    fn send(&self, rpc: AppendEntriesRequest<TypeConfig>) -> Pending {
        let (network, target) = (self.network.clone(), self.target);
        let (vote, previous, last) = (rpc.vote, rpc.prev_log_id, last_of(&rpc));
        let ask = async move { network.ask(target, Request::Append(rpc), APPEND_LIMIT).await };
        Pending { vote, previous, last, answer: tokio::spawn(ask) }
    }
}

impl<T: Transport> RaftNetwork<TypeConfig> for Connection<T> {
    /// May be cancelled at any time: what is on its way stays so, and is waited for the next time.
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<MemberId>, RPCError<MemberId, EmptyNode, RaftError<MemberId>>> {
        let last = last_of(&rpc);
        let pending = self.pending.take().filter(|pending| pending.begins(&rpc)).unwrap_or_else(|| self.send(rpc));
        let pending = self.pending.insert(pending);
        let answer = (&mut pending.answer).await;
        let (sent, term) = (pending.last, pending.vote.leader_id.term);
        self.pending = None;
        match answer {
            Ok(Ok(Answer::Append(AppendEntriesResponse::HigherVote(vote)))) if !is_possible(&vote, term) => {
                Err(failure(Err(AskError::Nonsense)))
            }
            Ok(Ok(Answer::Append(AppendEntriesResponse::Success))) if sent != last => {
                Ok(AppendEntriesResponse::PartialSuccess(sent))
            }
            Ok(Ok(Answer::Append(answer))) => Ok(answer),
            Ok(other) => Err(failure(other)),
            // The task panicked, which has been reported.
            Err(_) => Err(failure(Err(AskError::Nonsense))),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<
        InstallSnapshotResponse<MemberId>,
        RPCError<MemberId, EmptyNode, RaftError<MemberId, InstallSnapshotError>>,
    > {
        let term = rpc.vote.leader_id.term;
        let Some(heading) = self.heading.clone().map(Box::new) else { return Err(failure(Err(AskError::Nonsense))) };
        match self.ask(Request::Snapshot(heading, rpc), &option).await {
            Ok(Answer::Snapshot(Ok(answer))) if is_possible(&answer.vote, term) => Ok(answer),
            // Sent on from where the other end is.
            Ok(Answer::Snapshot(Err(error))) => {
                Err(RPCError::RemoteError(RemoteError::new(self.target, RaftError::APIError(error))))
            }
            other => {
                let is_refused = matches!(other, Err(AskError::Rejected(Rejection::Unsigned)));
                self.refused = is_refused.then(Instant::now);
                Err(failure(other))
            }
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<MemberId>,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<MemberId>, StreamingError<TypeConfig, Fatal<MemberId>>> {
        let mut cancel = Box::pin(cancel);
        // Whoever does not believe this manager will not do so soon.
        if let Some(refused) = self.refused.take() {
            tokio::select! {
                closed = &mut cancel => return Err(closed.into()),
                () = sleep_until(refused + UNSIGNED_PAUSE) => {}
            }
        }
        let snapshot = self.head(snapshot).await.ok_or_else(|| Unreachable::new(&AskError::Nonsense))?;
        Chunked::send_snapshot(self, vote, snapshot, cancel, option).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<MemberId>,
        _: RPCOption,
    ) -> Result<VoteResponse<MemberId>, RPCError<MemberId, EmptyNode, RaftError<MemberId>>> {
        let term = rpc.vote.leader_id.term;
        self.network.tally.asks_for_vote(term);
        // openraft waits for less time than it may take to connect. Then the next vote finds a connection.
        let (network, target) = (self.network.clone(), self.target);
        let asked = tokio::spawn(async move { network.ask(target, Request::Vote(rpc), VOTE_LIMIT).await });
        match asked.await {
            Ok(Ok(Answer::Vote(answer))) if is_possible(&answer.vote, term) => Ok(answer),
            Ok(other) => Err(failure(other)),
            // The task panicked, which has been reported.
            Err(_) => Err(failure(Err(AskError::Nonsense))),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}

/// What openraft hears of a request without its answer: whether trying again at once makes sense.
fn failure<E: std::error::Error>(answer: Result<Answer, AskError>) -> RPCError<MemberId, EmptyNode, E> {
    match answer.err().unwrap_or(AskError::Nonsense) {
        error @ AskError::Call(CallError::NoAnswer(_)) => RPCError::Network(NetworkError::new(&error)),
        error => RPCError::Unreachable(Unreachable::new(&error)),
    }
}
