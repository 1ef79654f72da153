//! What somebody may do.

use std::collections::BTreeSet;

use festoon_proto::access;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::NetworkId;

/// What somebody may do, each role all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Changes endpoints, join tokens and routes.
    Operator,
    /// Changes networks, managers, snapshots and settings.
    Admin,
    /// Changes users, and decides about the cluster as a whole.
    Owner,
}

impl From<access::Role> for Role {
    fn from(role: access::Role) -> Self {
        match role {
            access::Role::Viewer => Self::Viewer,
            access::Role::Operator => Self::Operator,
            access::Role::Admin => Self::Admin,
            access::Role::Owner => Self::Owner,
        }
    }
}

impl From<Role> for access::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
            Role::Owner => Self::Owner,
        }
    }
}

/// What somebody may do, and in which networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// What.
    pub role: Role,
    /// In which networks; in all there are and will be, and outside of them, if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<BTreeSet<NetworkId>>,
}

impl From<&access::Grant> for Grant {
    fn from(grant: &access::Grant) -> Self {
        let networks = match &grant.networks {
            access::Scope::All => None,
            access::Scope::Networks(networks) => Some(networks.iter().copied().map(NetworkId).collect()),
        };
        Self { role: grant.role.into(), networks }
    }
}

impl Grant {
    /// The networks, as the registry has them.
    pub fn scope(networks: Option<BTreeSet<NetworkId>>) -> access::Scope {
        networks.map_or(access::Scope::All, |networks| {
            access::Scope::Networks(networks.into_iter().map(|NetworkId(id)| id).collect())
        })
    }
}
