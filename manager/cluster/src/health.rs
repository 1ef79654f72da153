//! How the registry is doing, for people and for programs.

use std::time::Duration;

use festoon_proto::EpochId;
use openraft::{EmptyNode, RaftMetrics, ServerState};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::compare::Comparison;
use crate::fence::Fence;
use crate::reach::Reach;
use crate::types::MemberId;

/// A member that was silent for longer is taken for lost. A leader speaks several times in it.
pub(crate) const SILENT: Duration = Duration::from_millis(1500);

/// What a manager is to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Every change goes through it.
    Leader,
    /// It votes and has a copy.
    Follower,
    /// It votes, and nobody leads.
    Candidate,
    /// It is still getting its copy.
    Learner,
    /// The cluster has gone on in a later epoch without it.
    Fenced,
    /// Its disk fails.
    Stopped,
}

/// One manager's part in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberHealth {
    /// Which.
    pub id: MemberId,
    /// Whether it votes.
    pub votes: bool,
    /// Whether it was heard lately.
    pub is_heard: bool,
    /// Entries of the log that it does not have yet. Only the leader knows.
    pub lag: Option<u64>,
    /// Whether its registry was another than that of the manager which says so, at the same place of the log, when they were
    /// compared last. It must not be.
    pub differs: bool,
    /// By how much its clock is ahead of the time that a majority agrees on, in milliseconds. `None` if its clock was not heard,
    /// or no majority agrees.
    pub clock_ahead_ms: Option<i64>,
}

/// How the registry is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Which manager says so.
    pub me: MemberId,
    /// What it is.
    pub role: Role,
    /// Who leads, if anybody.
    pub leader: Option<MemberId>,
    /// The epoch of its log.
    pub epoch: EpochId,
    /// The later epoch that the cluster is in, if this manager was left behind.
    pub later_epoch: Option<EpochId>,
    /// Raft's term.
    pub term: u64,
    /// Entries in the log.
    pub last_log: u64,
    /// Entries of it that this manager has carried out.
    pub applied: u64,
    /// Whether the voters are being changed: until that is done, a majority of those before has to agree too.
    pub is_changing: bool,
    /// All members.
    pub members: Vec<MemberHealth>,
}

impl Health {
    pub(crate) fn of(
        metrics: &RaftMetrics<MemberId, EmptyNode>,
        fence: &Fence,
        reach: &Reach,
        (comparison, clock): (&Comparison, &Clock),
    ) -> Self {
        let membership = metrics.membership_config.membership();
        let last = metrics.last_log_index.unwrap_or(0);
        let members = membership.nodes().map(|(&id, _)| {
            let matched = metrics.replication.as_ref().and_then(|all| all.get(&id).copied());
            MemberHealth {
                id,
                votes: membership.voter_ids().any(|voter| voter == id),
                is_heard: id == metrics.id || reach.silence(id).is_some_and(|silence| silence < SILENT),
                lag: matched.map(|matched| last.saturating_sub(matched.map_or(0, |matched| matched.index))),
                differs: comparison.differs(id),
                clock_ahead_ms: clock.ahead_of_cluster(id, metrics.id),
            }
        });
        Self {
            me: metrics.id,
            role: role(metrics, fence),
            leader: metrics.current_leader,
            epoch: fence.epoch(),
            later_epoch: fence.later(),
            term: metrics.current_term,
            last_log: last,
            applied: metrics.last_applied.map_or(0, |applied| applied.index),
            is_changing: membership.get_joint_config().len() > 1,
            members: members.collect(),
        }
    }

    /// Voters that must agree on a change.
    pub fn quorum(&self) -> usize {
        self.voters() / 2 + 1
    }

    /// Voters that may be lost before the registry cannot be changed any more; `None` if it cannot be now.
    pub fn spare(&self) -> Option<usize> {
        let heard = self.members.iter().filter(|member| member.votes && member.is_heard).count();
        heard.checked_sub(self.quorum())
    }

    fn voters(&self) -> usize {
        self.members.iter().filter(|member| member.votes).count()
    }
}

fn role(metrics: &RaftMetrics<MemberId, EmptyNode>, fence: &Fence) -> Role {
    match metrics.state {
        _ if fence.later().is_some() => Role::Fenced,
        _ if metrics.running_state.is_err() => Role::Stopped,
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    }
}
