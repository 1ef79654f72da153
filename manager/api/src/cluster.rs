//! The cluster as a whole.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ManagerId;

/// A cluster, and how its registry is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cluster {
    /// Its id.
    pub id: String,
    /// The manager that answers.
    pub manager: ManagerId,
    /// The epoch.
    pub epoch: String,
    /// The last change that this manager knows of.
    pub version: u64,
    /// Who leads the registry, if anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<ManagerId>,
    /// How many have to agree to a change.
    pub quorum: u64,
    /// Whether changes are possible now.
    pub writable: bool,
    /// All that take part.
    pub members: Vec<Member>,
    /// How many networks there are that the caller may know of.
    pub networks: u64,
    /// How many endpoints there are in them.
    pub endpoints: u64,
}

/// What a member of the registry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It leads.
    Leader,
    /// It votes.
    Voter,
    /// It copies, and does not vote yet.
    Learner,
}

/// A manager's part in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The manager.
    pub manager: ManagerId,
    /// What it does.
    pub state: MemberState,
    /// Whether it was heard lately.
    pub heard: bool,
    /// How many changes it is behind, if the leader knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
}

/// Whether a manager is in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Whether it is.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}
