//! The way of a change into the log, through whichever manager leads.

use std::sync::Arc;
use std::time::Duration;

use festoon_control::registry::{Change, Command, Outcome, Refusal, State};
use festoon_proto::map::MapVersion;
use festoon_proto::{EpochId, ManagerId};
use openraft::error::{ClientWriteError, RaftError};
use openraft::{EmptyNode, Raft, RaftMetrics};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cluster::Cluster;
use crate::door::{Passage, Queue};
use crate::members;
use crate::message::{Answer, Rejection, Request};
use crate::network::AskError;
use crate::signer::Signer;
use crate::transport::{CallError, Transport};
use crate::types::{Applied, MemberId, Proposal, TypeConfig};

/// How long a proposal may take, from its turn on, before whoever made it hears that it failed.
const PROPOSE_LIMIT: Duration = Duration::from_millis(1800);
/// How long a leader may look into it before it writes anything.
const CHECK_LIMIT: Duration = Duration::from_millis(1500);
/// How long after a failed attempt the next is made, if nobody else leads by then.
const RETRY: Duration = Duration::from_millis(50);

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
    /// The others could agree on nothing without the manager that is to be removed.
    #[error("manager {manager} can't be removed now: those that stay could agree on nothing without it, for {} not answer. Start what is lost, or remove it first; {}", silent_text(silent), uncertain_text(*.is_uncertain))]
    StillNeeded {
        /// Its name.
        manager: String,
        /// Those that would stay and do not answer, by name.
        silent: Vec<String>,
        /// The change may have been made, or may still be.
        is_uncertain: bool,
    },
    /// Many changes are being made at once, and this one did not come to its turn.
    #[error(
        "too many changes are being made through this manager at once: this one waited for {waited_s} s, and nothing was changed; try again"
    )]
    Busy {
        /// How long it waited, in seconds.
        waited_s: u64,
    },
    /// The cluster has gone on without this manager.
    #[error(
        "this manager belongs to epoch {ours} of the cluster, which is in epoch {theirs}: ask another manager, and run `festoon-manager rejoin` on this one"
    )]
    Fenced {
        /// The epoch of its log.
        ours: EpochId,
        /// The epoch of the cluster.
        theirs: EpochId,
    },
    /// This manager can take no part.
    #[error(
        "the registry can't be changed through this manager: it is stopping, or its disk fails, see its log; it is not certain that nothing was changed: look through another manager before you try again there"
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

fn silent_text(silent: &[String]) -> String {
    match silent {
        [one] => format!("{one} does"),
        many => format!("{} do", many.join(", ")),
    }
}

impl<T: Transport> Cluster<T> {
    /// Changes the registry, through whichever manager leads. When it returns `Ok`, a majority has the change on disk, and
    /// [`Cluster::snapshot`] has it.
    pub async fn propose(&self, change: impl Into<Change>) -> Result<Outcome, ProposeError> {
        match self.submit(change.into()).await?.result {
            Some(result) => Ok(result?),
            None => Err(ProposeError::Stopped),
        }
    }

    /// As [`Cluster::propose`], and says where in the log the change stands. Most that were refused stand there too.
    pub async fn submit(&self, change: Change) -> Result<Applied, ProposeError> {
        let proposal = self.sign(&self.signer, change).await?;
        let _passage = self.wait_for_turn(&proposal).await?;
        self.submit_signed(proposal).await
    }

    /// As [`Cluster::submit`], for questions about the cluster that are asked in the form of a change. They wait for no others, so
    /// whoever asks sees to it that there are few.
    pub async fn submit_at_once(&self, change: Change) -> Result<Applied, ProposeError> {
        let proposal = self.sign(&self.signer, change).await?;
        self.submit_signed(proposal).await
    }

    async fn sign(&self, signer: &Signer, change: Change) -> Result<Proposal, ProposeError> {
        self.first_copy(&change).await?;
        Ok(signer.propose(&self.snapshot(), self.seen(), self.ids.next(), change))
    }

    /// A member that keeps a cluster from agreeing is replaced whatever else is wanted.
    async fn wait_for_turn(&self, proposal: &Proposal) -> Result<Option<Passage>, ProposeError> {
        let queue = match proposal.change.command {
            Command::RemoveManager(_) | Command::RenewManager(_) => return Ok(None),
            Command::JoinEndpoint(_) | Command::JoinManager(_) if refusal(&self.snapshot(), proposal).is_some() => {
                Queue::Doubtful
            }
            _ => Queue::Changes,
        };
        let passage = self.door.pass(queue).await;
        match passage {
            // Those before it waited for a leader, each in vain.
            Err(_) if self.health().leader.is_none() => Err(self.no_quorum(false)),
            passage => passage.map(Some),
        }
    }

    /// Waits for a copy of the registry, which a signature is about: a manager that has just joined has none for a moment. Only
    /// the first change of a cluster needs none.
    async fn first_copy(&self, change: &Change) -> Result<(), ProposeError> {
        if matches!(change.command, Command::Bootstrap(_)) {
            return Ok(());
        }
        let mut states = self.watch();
        let copied = states.wait_for(|state| state.cluster().is_some());
        let copied = timeout(PROPOSE_LIMIT, copied).await.is_ok_and(|it| it.is_ok());
        if copied { Ok(()) } else { Err(self.no_quorum(false)) }
    }

    /// How far the log was carried out here.
    fn seen(&self) -> MapVersion {
        let applied = self.raft.metrics().borrow().last_applied.map_or(0, |applied| applied.index);
        // A member that has just begun may not have said yet how far it is.
        self.snapshot().version().max(MapVersion(applied))
    }

    /// What another manager needs to sign a change itself: the epoch, and how far this copy goes.
    pub fn to_sign(&self) -> (EpochId, MapVersion) {
        (self.snapshot().epoch().id(), self.seen())
    }

    /// As [`Cluster::submit`], of a change that another manager signs.
    #[cfg(any(test, feature = "testing"))]
    pub async fn submit_for(&self, signer: &Signer, change: Change) -> Result<Applied, ProposeError> {
        let proposal = self.sign(signer, change).await?;
        self.submit_signed(proposal).await
    }

    /// Brings a change into the registry that another manager has signed itself.
    pub async fn propose_signed(&self, proposal: Proposal) -> Result<Outcome, ProposeError> {
        match self.submit_signed(proposal).await?.result {
            Some(result) => Ok(result?),
            None => Err(ProposeError::Stopped),
        }
    }

    async fn submit_signed(&self, proposal: Proposal) -> Result<Applied, ProposeError> {
        let deadline = Instant::now() + PROPOSE_LIMIT;
        let applied = self.carry(&proposal, deadline).await?;
        self.reach(applied.index, deadline).await;
        Ok(applied)
    }

    /// Brings a proposal into the log. It may be sent several times, and is carried out once.
    async fn carry(&self, proposal: &Proposal, deadline: Instant) -> Result<Applied, ProposeError> {
        let mut metrics = self.raft.metrics();
        let (mut is_uncertain, mut silent, mut number) = (false, Vec::new(), 0);
        while Instant::now() < deadline {
            if let Some(theirs) = self.network.fence.later() {
                return Err(ProposeError::Fenced { ours: self.network.fence.epoch(), theirs });
            }
            let leader = metrics.borrow_and_update().current_leader;
            number += 1;
            let attempt = timeout_at(deadline, self.attempt(proposal, leader, (number, is_uncertain)));
            tokio::select! {
                biased;
                attempt = attempt => match attempt {
                    Ok(Ok(applied)) => return Ok(applied),
                    Ok(Err(Attempt::Stopped)) => return Err(ProposeError::Stopped),
                    Ok(Err(Attempt::NotTaken)) => silent.clear(),
                    Ok(Err(Attempt::StillNeeded(those))) => silent = those,
                    Ok(Err(Attempt::Unknown)) => {
                        silent.clear();
                        is_uncertain |= leader.is_some();
                    }
                    Err(_) => is_uncertain |= leader.is_some(),
                },
                // Somebody else leads: whoever led before may never answer.
                () = other_leader(&mut metrics, leader) => {
                    is_uncertain |= leader.is_some();
                    continue;
                }
            }
            let pause = tokio::time::sleep_until(deadline.min(Instant::now() + RETRY));
            tokio::select! { biased; () = pause => {}, () = other_leader(&mut metrics, leader) => {} }
        }
        match proposal.change.command {
            Command::RemoveManager(manager) if !silent.is_empty() => {
                Err(self.still_needed(manager, &silent, is_uncertain))
            }
            _ => Err(self.no_quorum(is_uncertain)),
        }
    }

    fn no_quorum(&self, is_uncertain: bool) -> ProposeError {
        let health = self.health();
        let voters = health.members.iter().filter(|member| member.votes).count();
        ProposeError::NoQuorum { needed: health.quorum(), voters, is_uncertain }
    }

    fn still_needed(&self, manager: ManagerId, silent: &[ManagerId], is_uncertain: bool) -> ProposeError {
        let state = self.snapshot();
        let name = |id| state.manager(id).map_or_else(|| id.to_string(), |manager| manager.name.clone());
        let silent = silent.iter().map(|&id| name(id)).collect();
        ProposeError::StillNeeded { manager: name(manager), silent, is_uncertain }
    }

    async fn attempt(
        &self,
        proposal: &Proposal,
        leader: Option<MemberId>,
        (attempt, is_again): (u32, bool),
    ) -> Result<Applied, Attempt> {
        let proposal = proposal.clone();
        match leader {
            None => Err(Attempt::NotTaken),
            Some(leader) if leader == self.network.me => self.write(proposal, is_again).await,
            Some(leader) => {
                let proposal = Box::new(proposal);
                match self.network.ask(leader, Request::Propose { proposal, attempt, is_again }, PROPOSE_LIMIT).await {
                    Ok(Answer::Applied(applied)) => Ok(applied),
                    // It may have led when it took the proposal, and it may have stopped after that.
                    Err(AskError::Rejected(Rejection::NotLeader | Rejection::Stopped | Rejection::Repeated)) => {
                        Err(Attempt::Unknown)
                    }
                    Err(AskError::Rejected(Rejection::StillNeeded(silent))) => Err(Attempt::StillNeeded(silent)),
                    Err(AskError::Call(CallError::NotSent(_)) | AskError::Rejected(_)) => Err(Attempt::NotTaken),
                    _ => Err(Attempt::Unknown),
                }
            }
        }
    }

    /// Writes a proposal to the log as the leader, and waits until it is carried out. If it may be in the log already, only
    /// what stands there says what became of it.
    ///
    /// What was made by a clock that the majority does not agree with has no place in the log: it could let in what has
    /// expired, or end what has not.
    pub(crate) async fn write(&self, proposal: Proposal, is_again: bool) -> Result<Applied, Attempt> {
        if let Err(error) = self.clock.check(&proposal.change, CHECK_LIMIT).await {
            let refused = Applied { index: self.snapshot().version().0, result: Some(Err(error.into())) };
            return if is_again { Err(Attempt::Unknown) } else { Ok(refused) };
        }
        let me = self.network.me.manager;
        match proposal.change.command {
            Command::RemoveManager(manager) if manager == me && self.is_leader() => self.give_way(proposal).await,
            _ if self.silence.is_on() => Err(Attempt::NotTaken),
            Command::RemoveManager(manager) => self.remove(manager, proposal).await,
            Command::JoinEndpoint(_) | Command::JoinManager(_) => self.append_unless(refusal, proposal, is_again).await,
            _ => self.append_unless(not_vouched, proposal, is_again).await,
        }
    }

    /// The leader itself is to be removed: has another lead, which then removes it. Without a sign of life meanwhile.
    async fn give_way(&self, proposal: Proposal) -> Result<Applied, Attempt> {
        if refusal(&self.snapshot(), &proposal).is_some() {
            return append(&self.raft, proposal).await;
        }
        self.check_those_without(self.network.me.manager)?;
        self.step_down().await;
        Err(Attempt::NotTaken)
    }

    /// Removes another manager, as the leader: takes its vote away, and then its record.
    async fn remove(&self, manager: ManagerId, proposal: Proposal) -> Result<Applied, Attempt> {
        // Without a majority of those that vote now, nothing can be changed at all.
        if self.health().spare().is_none() {
            return Err(Attempt::NotTaken);
        }
        let turn = in_time(async { Some(Arc::clone(&self.turn).lock_owned().await) }).await?;
        // Who stays is certain only to a leader that knows all that was ever acknowledged.
        in_time(self.catch_up()).await?;
        if self.silence.is_on() || manager == self.network.me.manager {
            return Err(Attempt::NotTaken);
        }
        let state = self.snapshot();
        if refusal(&state, &proposal).is_some() {
            drop(turn);
            return append(&self.raft, proposal).await;
        }
        self.check_those_without(manager)?;
        // On its own: until it is decided nobody may change the members, though whoever asked may have given up.
        let raft = self.raft.clone();
        let removal = self.tasks.spawn(async move {
            let _turn = turn;
            let removal = async {
                match members::dismiss(&raft, &state, manager).await.map_err(|error| failed(&error))? {
                    true => append(&raft, proposal).await,
                    false => Err(Attempt::NotTaken),
                }
            };
            members::while_leading(&raft, removal).await
        });
        // A panic has been reported.
        removal.await.ok().flatten().unwrap_or(Err(Attempt::Unknown))
    }

    /// That a majority of those that would stay answers: otherwise nothing could be agreed on once this one is out, not even
    /// that another comes back.
    fn check_those_without(&self, manager: ManagerId) -> Result<(), Attempt> {
        let (health, me) = (self.health(), self.network.me);
        let stay = members::staying(&self.raft, &self.snapshot(), manager);
        let is_there = |id: &MemberId| *id == me || health.members.iter().any(|it| it.id == *id && it.is_heard);
        let (there, silent): (Vec<_>, Vec<_>) = stay.into_iter().partition(is_there);
        if there.len() > silent.len() {
            return Ok(());
        }
        let has_quorum = health.spare().is_some();
        let silent = silent.into_iter().map(|id| id.manager).collect();
        Err(if has_quorum { Attempt::StillNeeded(silent) } else { Attempt::NotTaken })
    }

    /// What strangers want has no place in the log if it is refused: they could fill it. Refused is what this manager refuses
    /// once it is certain that it knows all that was ever acknowledged. Without that certainty there is no answer.
    ///
    /// The same holds for what no manager stands for that may: the member it comes from is no better than a stranger.
    async fn append_unless(
        &self,
        refused: impl Fn(&State, &Proposal) -> Option<Refusal>,
        proposal: Proposal,
        is_again: bool,
    ) -> Result<Applied, Attempt> {
        if is_again || refused(&self.snapshot(), &proposal).is_none() {
            return append(&self.raft, proposal).await;
        }
        in_time(self.catch_up()).await?;
        let state = self.snapshot();
        match refused(&state, &proposal) {
            Some(refusal) => Ok(Applied { index: state.version().0, result: Some(Err(refusal)) }),
            None => append(&self.raft, proposal).await,
        }
    }

    fn is_leader(&self) -> bool {
        self.raft.metrics().borrow().current_leader == Some(self.network.me)
    }

    /// Falls silent until another leads, if there is another. May be cancelled at any time.
    async fn step_down(&self) {
        if !self.silence.until_another_leads(&self.raft, self.network.me, PROPOSE_LIMIT).await {
            tracing::info!("nobody else leads the registry");
        }
    }

    /// Waits until our own copy has what was acknowledged: who changed something sees it.
    async fn reach(&self, index: u64, deadline: Instant) {
        let mut metrics = self.raft.metrics();
        let reached = metrics.wait_for(|metrics| metrics.last_applied.is_some_and(|applied| applied.index >= index));
        if timeout_at(deadline, reached).await.is_err() {
            tracing::warn!(index, "the copy of the registry lags behind");
        }
    }
}

/// Why an attempt to write failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Nothing was written.
    NotTaken,
    /// Nothing was written: a manager can't be removed while these do not answer.
    StillNeeded(Vec<ManagerId>),
    /// Perhaps it was written.
    Unknown,
    /// The disk fails, or the program ends.
    Stopped,
}

/// What has to be there before anything is written. Whoever waits for longer than that is told that nothing was written.
async fn in_time<A>(there: impl Future<Output = Option<A>>) -> Result<A, Attempt> {
    timeout(CHECK_LIMIT, there).await.ok().flatten().ok_or(Attempt::NotTaken)
}

/// The place where a proposal would stand at least: a signature says how far its manager's copy went.
fn place(state: &State, proposal: &Proposal) -> u64 {
    let seen = proposal.vouch.map_or(0, |vouch| vouch.seen.0);
    state.version().0.max(seen).saturating_add(1)
}

fn refusal(state: &State, proposal: &Proposal) -> Option<Refusal> {
    proposal.carry_out(state, place(state, proposal)).err()
}

fn not_vouched(state: &State, proposal: &Proposal) -> Option<Refusal> {
    proposal.check_vouch(state, place(state, proposal)).err().map(Refusal::from)
}

async fn append(raft: &Raft<TypeConfig>, proposal: Proposal) -> Result<Applied, Attempt> {
    raft.client_write(proposal).await.map(|written| written.data).map_err(|error| failed(&error))
}

fn failed(error: &RaftError<MemberId, ClientWriteError<MemberId, EmptyNode>>) -> Attempt {
    match error {
        // It may have led when it took the proposal.
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => Attempt::Unknown,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(_)) => Attempt::NotTaken,
        RaftError::Fatal(_) => Attempt::Stopped,
    }
}

async fn other_leader(metrics: &mut watch::Receiver<RaftMetrics<MemberId, EmptyNode>>, leader: Option<MemberId>) {
    if metrics.wait_for(|metrics| metrics.current_leader != leader && metrics.current_leader.is_some()).await.is_err() {
        std::future::pending::<()>().await;
    }
}
