//! The records of accounts.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use festoon_proto::access::{Grant, Role};
use festoon_proto::map::MapVersion;
use festoon_proto::token::SecretHash;
use festoon_proto::{ApiTokenId, SessionId, UserId};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::super::UnixMs;

/// A person who may change something, or look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The name it logs in with, unique in the cluster.
    pub name: Arc<str>,
    /// What it may do.
    pub grant: Grant,
    /// What its password is compared with; none if it has no password.
    pub password: Option<PasswordHash>,
    /// Its second factor, asked for beside the password.
    pub totp: Option<Totp>,
    /// Who it is for an identity provider.
    pub identity: Option<OidcIdentity>,
    /// Whether it may log in and its tokens are good.
    pub is_enabled: bool,
    /// The hosts (see [`site_of`]) that it logged in from, the latest last: 16 at most.
    pub logged_in_from: Vec<IpAddr>,
    /// When it was added.
    pub created: UnixMs,
    /// The last command that changed what it logs in with.
    pub credentials_changed: MapVersion,
    /// The last command that changed it.
    pub changed: MapVersion,
}

/// What one host has to itself: an address, of IPv6 a /64.
pub fn site_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Hosts that are remembered of a user; the one that it used least lately gives way.
const MAX_HOSTS: usize = 16;

impl User {
    /// Whether it logged in from this host before.
    pub fn knows(&self, from: IpAddr) -> bool {
        self.logged_in_from.contains(&site_of(from))
    }

    /// Remembers that it logged in from this host.
    pub(in crate::registry) fn note_log_in(&mut self, from: IpAddr) {
        let site = site_of(from);
        self.logged_in_from.retain(|known| *known != site);
        let excess = (self.logged_in_from.len() + 1).saturating_sub(MAX_HOSTS);
        self.logged_in_from.drain(..excess);
        self.logged_in_from.push(site);
    }

    /// Whether it is an owner who can log in.
    pub fn is_acting_owner(&self) -> bool {
        let can_log_in = self.is_enabled && (self.password.is_some() || self.identity.is_some());
        can_log_in && self.grant.role == Role::Owner
    }
}

/// What a password is compared with: the hash as a PHC string, with its algorithm, parameters and salt. Never printed.
/// <https://github.com/P-H-C/phc-string-format>
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// This PHC string.
    pub fn new(phc: impl Into<String>) -> Self {
        Self(phc.into())
    }

    /// The PHC string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(redacted)")
    }
}

/// A second factor: codes from the clock (RFC 6238). Their secret is in the vault, under
/// [`SecretName::of_totp`](crate::registry::SecretName::of_totp).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totp {
    /// The time step of the last code that was accepted. No code of it, or of one before, is accepted again.
    pub last_step: u64,
    /// The hashes of the recovery codes that were not used yet.
    pub recovery: Vec<SecretHash>,
}

/// Who somebody is for an identity provider (OpenID Connect Core, section 2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OidcIdentity {
    /// The provider: `iss`.
    pub issuer: String,
    /// Whom it means: `sub`.
    pub subject: String,
}

/// What a program uses the API with, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its id.
    pub id: ApiTokenId,
    /// What its user calls it.
    pub name: String,
    /// Whose it is.
    pub user: UserId,
    /// What it may do, as far as its user may.
    pub grant: Grant,
    /// Whether it may also do what a session has to be confirmed for.
    pub is_sensitive: bool,
    /// The hash of its secret.
    pub hash: SecretHash,
    /// When it was made.
    pub created: UnixMs,
    /// From when on it is refused.
    pub expires: UnixMs,
    /// The last command that changed it.
    pub changed: MapVersion,
}

/// A user who is logged in somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who is logged in.
    pub user: UserId,
    /// The hash of its secret.
    pub hash: SecretHash,
    /// Since when.
    pub created: UnixMs,
    /// When its user last proved on it who it is; long ago, if that is not known.
    pub confirmed: UnixMs,
    /// From when on it is refused.
    pub expires: UnixMs,
    /// From which address.
    pub from: IpAddr,
    /// With which program, as that says.
    pub agent: String,
}

/// All accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(in crate::registry) struct Accounts {
    /// The hash of the secret that makes the first owner, until there is one.
    pub(in crate::registry) set_up: Option<SecretHash>,
    pub(in crate::registry) users: OrdMap<UserId, Arc<User>>,
    pub(in crate::registry) api_tokens: OrdMap<ApiTokenId, Arc<ApiToken>>,
    pub(in crate::registry) sessions: OrdMap<SessionId, Arc<Session>>,
    pub(in crate::registry) last_user: u32,
    pub(in crate::registry) last_api_token: u32,
    pub(in crate::registry) last_session: u64,
}
