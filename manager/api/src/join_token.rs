//! Join tokens.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{JoinTokenId, NetworkId, Time};

/// What a token lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum JoinTokenKind {
    /// An endpoint, with `festoon join`.
    #[default]
    Endpoint,
    /// A full manager, with `festoon-manager join`.
    Manager,
    /// A witness, with `festoon-manager witness`.
    Witness,
}

/// A join token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinToken {
    /// Its id.
    pub id: JoinTokenId,
    /// What it lets in.
    pub kind: JoinTokenKind,
    /// What an admin calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The network an endpoint gets into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkId>,
    /// Whether it lets in any number of endpoints.
    pub reusable: bool,
    /// Whether its endpoints are removed once they have been away for a while.
    pub ephemeral: bool,
    /// The tags that its endpoints get.
    pub tags: Vec<String>,
    /// The addresses that are promised to its endpoint, until that came or the token expired.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// When it was made.
    pub created: Time,
    /// From when on it is refused.
    pub expires: Time,
    /// How many came in with it.
    pub uses: u32,
    /// Who came in with it last: the id of an endpoint or a manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_by: Option<String>,
    /// Its version, which is also its `ETag`.
    pub version: u64,
}

/// A new join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct JoinTokenCreate {
    /// What it lets in.
    pub kind: JoinTokenKind,
    /// What an admin calls it, a DNS label.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 63)]
    pub name: Option<String>,
    /// The network an endpoint gets into, by id or name; the only one, or the one called `default`, if none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Whether it lets in any number of endpoints; otherwise one.
    pub reusable: bool,
    /// Whether its endpoints are removed once they have been away for a while.
    pub ephemeral: bool,
    /// The tags that its endpoints get.
    #[schema(max_items = 32)]
    pub tags: Vec<String>,
    /// The addresses its endpoint gets, at most one of each family.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// For how many seconds it is good, a year at most; an hour if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 31536000)]
    pub expires_in_s: Option<u64>,
}

/// The new token, with its secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinTokenCreated {
    /// It.
    pub join_token: JoinToken,
    /// One word, for `festoon join`. Nobody can have it again.
    pub secret: String,
}

impl fmt::Debug for JoinTokenCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinTokenCreated").field("join_token", &self.join_token).finish_non_exhaustive()
    }
}
