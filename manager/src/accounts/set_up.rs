//! The first owner: made once, with the secret that `init` shows.

use std::net::IpAddr;

use festoon_control::registry::{Author, Change, Command, Outcome, Refusal, SetUp, UnixMs, check_set_up};
use festoon_proto::UserId;
use zeroize::Zeroizing;

use super::limits::TooMany;
use super::log_in::{Accounts, by_newcomer};
use super::password::{self, ComputeError, PasswordError};
use super::secret::Secret;
use crate::cluster::ProposeError;

/// Whoever wants to be the first owner.
#[derive(Debug)]
pub struct FirstOwner {
    /// What `init` showed.
    pub secret: Secret,
    /// The name to log in with.
    pub name: String,
    /// The password to log in with.
    pub password: Zeroizing<String>,
    /// From which address.
    pub from: IpAddr,
}

/// There is no first owner yet, or another.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// After too many tries.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// With a weak password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// At a bad moment.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// The registry refuses, or takes nothing now.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// It answers something else.
    #[error("the registry made no user: see the log")]
    Unexpected,
}

impl Accounts {
    /// A new secret that makes the first owner, in the place of the one before. For whoever may: root on a manager.
    pub async fn new_set_up_secret(&self, by: Author) -> Result<Secret, ProposeError> {
        let secret = Secret::generate();
        let command = Command::SetSetUpSecret(secret.hash());
        self.cluster.propose(Change { by, ..command.into() }).await?;
        Ok(secret)
    }

    /// Makes the first owner.
    pub async fn set_up(&self, owner: FirstOwner, now: UnixMs) -> Result<UserId, SetUpError> {
        let FirstOwner { secret, name, password, from } = owner;
        // A wrong secret costs no hashing and no place in the log.
        let state = self.cluster.snapshot();
        if let Err(refusal) = check_set_up(&state, &secret.hash()) {
            self.count_nameless(from, now)?;
            return Err(ProposeError::Refused(Refusal::Account(refusal)).into());
        }
        password::check(&password, &name)?;
        let password = self.passwords.hash(password).await?;
        let command = Command::SetUp(SetUp { secret: secret.hash(), name, password, now });
        match self.cluster.propose(by_newcomer(command, from)).await? {
            Outcome::User(id) => Ok(id),
            _ => Err(SetUpError::Unexpected),
        }
    }
}
