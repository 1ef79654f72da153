//! Logging in, and who one is then.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ApiTokenId, NetworkId, Role, SecretText, SessionId, Time, UserId};

/// The first owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetUp {
    /// The set-up secret, which `festoon-manager init` showed.
    pub secret: SecretText,
    /// The name to log in with, written like a DNS label.
    #[schema(example = "root", max_length = 63)]
    pub name: String,
    /// The password to log in with, 12 characters or more.
    pub password: SecretText,
}

/// A secret that makes the first owner.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetUpSecret {
    /// It. Nobody can have it again.
    pub secret: String,
}

impl fmt::Debug for SetUpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetUpSecret(redacted)")
    }
}

/// Somebody logs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// As whom.
    #[schema(example = "ann", max_length = 63)]
    pub name: String,
    /// With which password.
    pub password: SecretText,
    /// With which code of the second factor, or recovery code, if there is a second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<SecretText>,
}

/// Somebody proves once more, on a session, who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionConfirm {
    /// With which password.
    pub password: SecretText,
    /// With which code of the second factor, or recovery code, if there is a second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<SecretText>,
}

/// How one may log in. Anybody may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogInWays {
    /// Whether there is an owner. Until there is, the set-up secret makes one.
    pub set_up: bool,
    /// Whether there is an identity provider.
    pub oidc: bool,
}

/// How it is known who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallerKind {
    /// A person, by the cookie of a session.
    User,
    /// A program, by an API token.
    ApiToken,
    /// Whoever may open the admin socket of the manager.
    Local,
}

/// Who one is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Whoami {
    /// How that is known.
    pub kind: CallerKind,
    /// The user; none on the admin socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The session, of a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The token, of a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_token: Option<ApiTokenId>,
    /// What one may do.
    pub role: Role,
    /// In which networks; in all, and outside of them, if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<BTreeSet<NetworkId>>,
    /// When that ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// Until when a session may do what it has to be confirmed for; it may not if this is past or left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_until: Option<Time>,
    /// What a page has to send as `X-Festoon-Csrf` whenever it changes something. Only with a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf_token: Option<String>,
}

/// Somewhere that a user is logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Since when.
    pub created: Time,
    /// When it ends by itself.
    pub expires: Time,
    /// From which address.
    #[schema(value_type = String)]
    pub from: IpAddr,
    /// With which program, as that says.
    pub agent: String,
    /// Whether it is the one that asks.
    pub current: bool,
}
