//! What may be wrong with an account.

use festoon_proto::{ApiTokenId, NetworkId, SessionId, UserId};
use serde::{Deserialize, Serialize};

use super::super::name::NameError;
use super::super::vault::SecretError;
use super::users::MAX_USERS;
use super::{MAX_API_TOKEN_MS, MAX_SESSION_MS};

/// An account is not made, changed or used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AccountError {
    /// A name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Another user has the name.
    #[error("a user {0} exists already: choose another name")]
    NameTaken(String),
    /// There are too many.
    #[error("there are {MAX_USERS} users already: remove one first")]
    TooManyUsers,
    /// There is no such user.
    #[error("there is no user {0}: see `festoon-manager users list` for those there are")]
    NoUser(UserId),
    /// A role and its networks do not fit.
    #[error("an owner is one of all networks, and anybody else of all or of at least one")]
    Grant,
    /// A token is to be allowed more than its user.
    #[error("a token can be allowed no more than its user is: choose a lesser role, or fewer networks")]
    GrantAbove,
    /// There is no such network.
    #[error("there is no network {0}: see `festoon-manager networks list` for those there are")]
    NoNetwork(NetworkId),
    /// A password hash is none.
    #[error("a password is stored as an argon2id hash in PHC form, and this is none")]
    PasswordHash,
    /// A second factor goes beside a password.
    #[error("a second factor goes with a password, and user {0} has none: set a password first")]
    NoPassword(UserId),
    /// A second factor has too many recovery codes.
    #[error("a second factor has 1 to 16 recovery codes, not {0}")]
    RecoveryCodes(usize),
    /// An identity is none.
    #[error("an identity is an issuer and a subject of 1 to 255 bytes each")]
    Identity,
    /// Another user has the identity.
    #[error("user {0} is known by this identity already: take it from there first")]
    IdentityTaken(UserId),
    /// Nobody could manage users any more.
    #[error("{0} is the last owner who can log in: make another user an owner first")]
    LastOwner(UserId),
    /// There is an owner.
    #[error("this cluster is set up already: log in, or ask an owner for an account")]
    IsSetUp,
    /// It is not the set-up secret.
    #[error("this is not the set-up secret: it is what `festoon-manager init` showed")]
    SetUpSecret,
    /// There is no such token.
    #[error("there is no API token {0}: it was removed, or never made")]
    NoApiToken(ApiTokenId),
    /// A user has too many.
    #[error("a user has at most {0} API tokens: remove one first")]
    TooManyApiTokens(usize),
    /// It would be good for too long, or not at all.
    #[error("an API token is good for at most {} days from now", MAX_API_TOKEN_MS / 86_400_000)]
    ApiTokenExpiry,
    /// A session would last too long, or not at all.
    #[error("a session lasts at most {} days from now", MAX_SESSION_MS / 86_400_000)]
    SessionExpiry,
    /// There is no such session.
    #[error("there is no session {0}: it has ended already")]
    NoSession(SessionId),
    /// What was proved is no longer so.
    #[error("this account was changed meanwhile, or can't be used: log in again")]
    Changed,
    /// A code is missing.
    #[error("this account has a second factor: give its code too")]
    CodeNeeded,
    /// A code was used before, or never was one.
    #[error("this code was used already: wait for the next one")]
    CodeUsed,
    /// The secret of a second factor can't be stored.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl AccountError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Name(_) => "bad-name",
            Self::NameTaken(_) => "name-taken",
            Self::TooManyUsers => "too-many-users",
            Self::NoUser(_) => "user-unknown",
            Self::Grant | Self::GrantAbove => "bad-grant",
            Self::NoNetwork(_) => "network-unknown",
            Self::PasswordHash => "bad-password",
            Self::NoPassword(_) => "no-password",
            Self::RecoveryCodes(_) => "bad-recovery-codes",
            Self::Identity => "bad-identity",
            Self::IdentityTaken(_) => "identity-taken",
            Self::LastOwner(_) => "last-owner",
            Self::IsSetUp => "set-up-already",
            Self::SetUpSecret => "set-up-secret",
            Self::NoApiToken(_) => "api-token-unknown",
            Self::TooManyApiTokens(_) => "too-many-api-tokens",
            Self::ApiTokenExpiry | Self::SessionExpiry => "bad-expiry",
            Self::NoSession(_) => "session-unknown",
            Self::Changed => "account-changed",
            Self::CodeNeeded => "code-needed",
            Self::CodeUsed => "code-used",
            Self::Secret(error) => error.kind(),
        }
    }
}
