//! The types that consensus is about.

use std::fmt;
use std::io::Cursor;

use festoon_control::registry::{Carried, Change, Outcome, Refusal, State, Vouch, VouchError};
use festoon_control::registry::{carry_out_vouched, check_vouch};
use festoon_proto::ManagerId;
use serde::{Deserialize, Serialize};

/// A manager's vote and copy of the log. A manager that lost its disk, or was fenced off, comes back as a new
/// incarnation: to the others it is somebody new, for it may have forgotten for whom it voted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberId {
    /// Which manager.
    pub manager: ManagerId,
    /// How often it began with an empty disk.
    pub incarnation: u32,
}

/// Nobody: openraft wants a value to begin with.
impl Default for MemberId {
    fn default() -> Self {
        Self { manager: ManagerId(0), incarnation: 0 }
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.manager, self.incarnation)
    }
}

/// Tells a proposal from every other, so that one which is sent again is carried out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProposalId(pub u128);

/// A change on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Which proposal.
    pub id: ProposalId,
    /// What it asks for.
    pub change: Change,
    /// The manager that stands for it. Nobody does for the first change of a cluster.
    pub vouch: Option<Vouch>,
}

impl Proposal {
    /// The state after it, if it stands at `index` in the log.
    pub fn carry_out(&self, state: &State, index: u64) -> Result<Carried, Refusal> {
        carry_out_vouched(state, index, self.id.0, &self.change, self.vouch.as_ref())
    }

    /// Whether a manager that may do so stands for it.
    pub(crate) fn check_vouch(&self, state: &State, index: u64) -> Result<(), VouchError> {
        check_vouch(state, index, self.id.0, &self.change, self.vouch.as_ref())
    }
}

/// What came of a command of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Its place in the log: a copy whose state has this version or a later one contains it.
    pub index: u64,
    /// What it made, or why it changed nothing. `None` for an entry that is no command.
    pub result: Option<Result<Outcome, Refusal>>,
}

openraft::declare_raft_types!(
    /// What openraft replicates here.
    pub TypeConfig:
        D = Proposal,
        R = Applied,
        NodeId = MemberId,
        Node = openraft::EmptyNode,
        SnapshotData = Cursor<Vec<u8>>,
);
