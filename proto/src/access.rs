//! What somebody may do: a role, and the networks it is for.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::NetworkId;

/// What somebody may do, each role all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Changes endpoints, join tokens and routes.
    Operator,
    /// Changes networks, managers, snapshots and settings.
    Admin,
    /// Changes users and CAs, and decides about the cluster as a whole.
    Owner,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::Owner];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is not a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a role: use viewer, operator, admin or owner")]
pub struct ParseRoleError;

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, ParseRoleError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(ParseRoleError)
    }
}

/// For which networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All there are and will be, and what belongs to no network.
    All,
    /// These alone.
    Networks(BTreeSet<NetworkId>),
}

impl Scope {
    /// Whether `network` is among them; of `None`, whether what belongs to no network is.
    pub fn covers(&self, network: Option<NetworkId>) -> bool {
        match (self, network) {
            (Self::All, _) => true,
            (Self::Networks(networks), Some(network)) => networks.contains(&network),
            (Self::Networks(_), None) => false,
        }
    }

    fn both(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, scope) | (scope, Self::All) => scope.clone(),
            (Self::Networks(one), Self::Networks(other)) => Self::Networks(one & other),
        }
    }
}

/// What somebody may do, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What.
    pub role: Role,
    /// Where.
    pub networks: Scope,
}

impl Grant {
    /// Everything, everywhere.
    pub const OWNER: Self = Self { role: Role::Owner, networks: Scope::All };

    /// Whether it is enough for what needs `role` in `network`, or in no network in particular.
    pub fn allows(&self, role: Role, network: Option<NetworkId>) -> bool {
        self.role >= role && self.networks.covers(network)
    }

    /// What both allow.
    #[must_use]
    pub fn both(&self, other: &Self) -> Self {
        Self { role: self.role.min(other.role), networks: self.networks.both(&other.networks) }
    }

    /// Whether it allows no more than `other`.
    pub fn is_within(&self, other: &Self) -> bool {
        self.both(other) == *self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_grant() -> impl Strategy<Value = Grant> {
        let role = proptest::sample::select(Role::ALL.to_vec());
        let some = proptest::collection::btree_set((1_u32..5).prop_map(NetworkId), 0..4).prop_map(Scope::Networks);
        (role, prop_oneof![Just(Scope::All), some]).prop_map(|(role, networks)| Grant { role, networks })
    }

    fn all_needs() -> impl Iterator<Item = (Role, Option<NetworkId>)> {
        let networks = (1..6).map(|id| Some(NetworkId(id))).chain([None]);
        networks.flat_map(|network| Role::ALL.map(|role| (role, network)))
    }

    proptest! {
        #[test]
        fn both_allow_what_each_allows(one in any_grant(), other in any_grant()) {
            let both = one.both(&other);
            for (role, network) in all_needs() {
                let each = one.allows(role, network) && other.allows(role, network);
                prop_assert_eq!(both.allows(role, network), each, "{:?} {:?}", role, network);
            }
            prop_assert!(both.is_within(&one) && both.is_within(&other) && one.is_within(&Grant::OWNER));
        }
    }

    #[test]
    fn a_grant_for_some_networks_is_none_for_the_cluster() {
        let grant = Grant { role: Role::Admin, networks: Scope::Networks(BTreeSet::from([NetworkId(1)])) };
        assert!(grant.allows(Role::Operator, Some(NetworkId(1))));
        assert!(!grant.allows(Role::Operator, Some(NetworkId(2))));
        assert!(!grant.allows(Role::Viewer, None));
        assert!(!grant.allows(Role::Owner, Some(NetworkId(1))));
    }

    #[test]
    fn roles_are_words() {
        assert!(Role::ALL.into_iter().all(|role| role.to_string().parse() == Ok(role)));
        assert!("root".parse::<Role>().is_err());
    }
}
