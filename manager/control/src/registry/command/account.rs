//! Commands on accounts. What is secret is hashed or encrypted before it gets here.

use std::net::IpAddr;

use festoon_proto::access::{Grant, Role, Scope};
use festoon_proto::map::MapVersion;
use festoon_proto::token::SecretHash;
use festoon_proto::{SessionId, UserId};
use serde::{Deserialize, Serialize};

use super::super::accounts::{OidcIdentity, PasswordHash};
use super::super::vault::EncryptedSecret;
use super::UnixMs;

/// See [`Command::SetUp`](super::Command::SetUp).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetUp {
    /// The hash of the set-up secret.
    pub secret: SecretHash,
    /// The name of the first owner.
    pub name: String,
    /// Its password.
    pub password: PasswordHash,
    /// Now.
    pub now: UnixMs,
}

/// See [`Command::AddUser`](super::Command::AddUser).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddUser {
    /// The name it logs in with, written like a DNS label.
    pub name: String,
    /// What it may do.
    pub grant: Grant,
    /// Its password, if it logs in with one.
    pub password: Option<PasswordHash>,
    /// Who it is for an identity provider, if it logs in there.
    pub identity: Option<OidcIdentity>,
    /// Now.
    pub now: UnixMs,
}

/// See [`Command::UpdateUser`](super::Command::UpdateUser). What is `None` stays. A change of what the user logs in with, and
/// being disabled, ends all its sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateUser {
    /// Which one.
    pub user: UserId,
    /// Its new name.
    pub name: Option<String>,
    /// Its new role.
    pub role: Option<Role>,
    /// The networks it is for.
    pub networks: Option<Scope>,
    /// Its new password; none any more, if that is `Some(None)`.
    pub password: Option<Option<PasswordHash>>,
    /// Its new second factor; none any more, if that is `Some(None)`.
    pub totp: Option<Option<NewTotp>>,
    /// Who it is for an identity provider; nobody any more, if that is `Some(None)`.
    pub identity: Option<Option<OidcIdentity>>,
    /// Whether it may log in and its tokens are good.
    pub is_enabled: Option<bool>,
}

impl UpdateUser {
    /// One that changes nothing of `user`.
    pub const fn of(user: UserId) -> Self {
        let (name, role, networks, password) = (None, None, None, None);
        Self { user, name, role, networks, password, totp: None, identity: None, is_enabled: None }
    }
}

/// A second factor, of which the user has shown one code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTotp {
    /// Its secret.
    pub secret: EncryptedSecret,
    /// The time step of the code that was shown.
    pub step: u64,
    /// The hashes of the recovery codes.
    pub recovery: Vec<SecretHash>,
}

/// See [`Command::CreateApiToken`](super::Command::CreateApiToken).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateApiToken {
    /// The hash of its secret, which nobody stores.
    pub hash: SecretHash,
    /// What its user calls it, written like a DNS label.
    pub name: String,
    /// Whose it is.
    pub user: UserId,
    /// What it may do: no more than its user.
    pub grant: Grant,
    /// Whether it may also do what a session has to be confirmed for.
    pub is_sensitive: bool,
    /// Now.
    pub now: UnixMs,
    /// From when on it is refused.
    pub expires: UnixMs,
}

/// See [`Command::LogIn`](super::Command::LogIn).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogIn {
    /// Who.
    pub user: UserId,
    /// How that was proved.
    pub proof: Proof,
    /// [`User::credentials_changed`](crate::registry::User::credentials_changed) of the user it was proved against. It is
    /// refused if they have changed since.
    pub checked: MapVersion,
    /// The hash of the secret of the session.
    pub hash: SecretHash,
    /// From which address.
    pub from: IpAddr,
    /// With which program, as that says. What is too long is cut off.
    pub agent: String,
    /// Now.
    pub now: UnixMs,
    /// When that was proved: now, or for an identity provider that says so, when it last saw the user log in.
    pub confirmed: UnixMs,
    /// When the session ends by itself.
    pub expires: UnixMs,
}

/// See [`Command::ConfirmSession`](super::Command::ConfirmSession).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmSession {
    /// Which session.
    pub session: SessionId,
    /// How its user proved who it is.
    pub proof: Proof,
    /// As in [`LogIn::checked`].
    pub checked: MapVersion,
    /// Now.
    pub now: UnixMs,
}

/// What somebody has shown who logs in, or confirms a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proof {
    /// The password of a user without a second factor.
    Password,
    /// The password, and the code of this time step.
    Code {
        /// Since 1970, in units of 30 s.
        step: u64,
    },
    /// The password, and the recovery code with this hash, which is used up.
    RecoveryCode(SecretHash),
    /// What an identity provider says of it.
    Identity(OidcIdentity),
}
