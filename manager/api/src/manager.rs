//! Managers.

use std::net::SocketAddr;

use festoon_proto::PublicKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ManagerId;

/// What a manager does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManagerRole {
    /// Votes and carries endpoints.
    Full,
    /// Votes only.
    Witness,
}

/// How a manager is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManagerState {
    /// It carries endpoints.
    Serving,
    /// It takes none and moves away those it has.
    Draining,
    /// It can't be reached.
    Down,
    /// It carries none.
    Witness,
    /// The one that answers can't tell: a witness has no links.
    Unknown,
}

/// A node that switches and routes, or a witness of those.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Manager {
    /// Its id. Never used again.
    pub id: ManagerId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// What it does.
    pub role: ManagerRole,
    /// Its WireGuard identity.
    #[schema(value_type = String)]
    pub public_key: PublicKey,
    /// Where its tunnels are reached, best first.
    #[schema(value_type = Vec<String>)]
    pub underlay: Vec<SocketAddr>,
    /// Where its HTTPS listener is reached, best first.
    #[schema(value_type = Vec<String>)]
    pub https: Vec<SocketAddr>,
    /// Declared preference, the higher the better.
    pub priority: u8,
    /// Where it is, as admins call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whether an admin has it drain.
    pub draining: bool,
    /// The release of Festoon that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// How it is doing, as the manager that answers sees it.
    pub state: ManagerState,
    /// Round-trip time of the link to it, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u32>,
    /// Whether there is a direct link that is up.
    pub direct: bool,
    /// Over which manager it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<ManagerId>,
    /// How many endpoints it carries.
    pub endpoints: u64,
    /// Its version, which is also its `ETag`.
    pub version: u64,
}

/// What of a manager is to be changed. What is left out stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct ManagerUpdate {
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 63)]
    pub name: Option<String>,
    /// Where its tunnels are reached from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub underlay: Option<Vec<SocketAddr>>,
    /// Where its HTTPS listener is reached from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub https: Option<Vec<SocketAddr>>,
    /// Its new priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Where it is; empty for nowhere in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 63)]
    pub region: Option<String>,
    /// Whether it is to take no endpoints and move away those it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<bool>,
}

/// What became of the CA when a manager was removed that fell into the wrong hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaReplacement {
    /// The next CA was made, and is trusted beside the one of now.
    Begun,
    /// The manager was a witness: it never knew the CA's key.
    NotNeeded,
    /// It could not begin: see `problem`.
    NotBegun,
}

/// A manager was removed that fell into the wrong hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CompromisedRemoved {
    /// What became of the CA.
    pub ca: CaReplacement,
    /// Why the replacement of the CA did not begin, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What an admin has to do next, in this order.
    pub next: Vec<String>,
}
