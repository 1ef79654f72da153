//! API tokens: what programs show.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ApiTokenId, NetworkId, Role, Time, UserId};

/// An API token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiToken {
    /// Its id. Never used again.
    pub id: ApiTokenId,
    /// What its user calls it.
    pub name: String,
    /// Whose it is.
    pub user: UserId,
    /// What it may do, as far as its user may.
    pub role: Role,
    /// In which networks; in all, and outside of them, if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<BTreeSet<NetworkId>>,
    /// Whether it may also do what a session has to be confirmed for, such as making owners.
    #[serde(default)]
    pub sensitive: bool,
    /// When it was made.
    pub created: Time,
    /// From when on it is refused.
    pub expires: Time,
    /// Its version, which is also its `ETag`.
    pub version: u64,
}

/// A new API token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiTokenCreate {
    /// What its user calls it, written like a DNS label.
    #[schema(example = "ci", max_length = 63)]
    pub name: String,
    /// Whose it is: one's own, if it is not said. Only an owner makes one for somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// What it may do: no more than its user.
    pub role: Role,
    /// In which networks; in all of its user, if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<BTreeSet<NetworkId>>,
    /// Whether it may also do what a session has to be confirmed for: make owners, change what owners log in with, make join tokens
    /// for managers, download snapshots, change the recovery key. Only a session that is confirmed makes such a token.
    #[serde(default)]
    pub sensitive: bool,
    /// For how many seconds it is good, a year at most; 90 days if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 31536000)]
    pub expires_in_s: Option<u64>,
}

/// The new token, with its secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiTokenCreated {
    /// It.
    pub api_token: ApiToken,
    /// One word, for `Authorization: Bearer`. Nobody can have it again.
    pub secret: String,
}

impl fmt::Debug for ApiTokenCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiTokenCreated").field("api_token", &self.api_token).finish_non_exhaustive()
    }
}
