//! Proving once more who one is, before what gives power over the whole cluster: a session that somebody left open, or that was
//! stolen, must not be enough to make owners or to let managers in.

use std::net::IpAddr;

use festoon_control::registry::{AccountError, Author, Change, Command, ConfirmSession, Refusal, State, UnixMs, Who};
use zeroize::Zeroizing;

use super::caller::Caller;
use super::limits::Try;
use super::log_in::{Accounts, LogInError};
use crate::cluster::ProposeError;

/// How long a session counts as confirmed after its user proved who it is: 10 minutes.
pub const CONFIRMED_MS: u64 = 10 * 60 * 1000;

/// A caller may do this only once it has proved who it is, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    /// Its session was confirmed too long ago.
    #[error(
        "your session has to be confirmed for this: send your password to POST /api/v1/session/confirm (without a password, log in at /api/v1/session/oidc?confirm=true), then send this request again within 10 minutes"
    )]
    Session,
    /// Nobody is there who could confirm it.
    #[error("this API token may not do this: use one that was made with `api-tokens add --sensitive`, or log in")]
    ApiToken,
}

impl Unconfirmed {
    /// A stable word for programs.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Session => "confirmation-needed",
            Self::ApiToken => "token-not-sensitive",
        }
    }
}

/// A session is not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmationError {
    /// The caller has none.
    #[error("only the session of a user can be confirmed: an API token is made with `api-tokens add --sensitive`")]
    NoSession,
    /// The user logs in at an identity provider alone.
    #[error(
        "this account has no password: log in at the identity provider once more, at /api/v1/session/oidc?confirm=true"
    )]
    NoPassword,
    /// Which of it is wrong is not said.
    #[error("the password or the code is wrong: try again")]
    Wrong,
    /// As at a login.
    #[error(transparent)]
    LogIn(LogInError),
}

impl From<LogInError> for ConfirmationError {
    fn from(error: LogInError) -> Self {
        match error {
            LogInError::Wrong => Self::Wrong,
            error => Self::LogIn(error),
        }
    }
}

/// What somebody shows to confirm a session.
#[derive(Debug)]
pub struct Shown {
    /// The password.
    pub password: Zeroizing<String>,
    /// The code of the second factor, or a recovery code.
    pub code: Option<Zeroizing<String>>,
    /// From which address.
    pub from: IpAddr,
}

impl Caller {
    /// Whether it may do what gives power over the whole cluster, as far as its role allows that.
    pub fn check_confirmed(&self, state: &State, now: UnixMs) -> Result<(), Unconfirmed> {
        match self.author.who {
            Who::User { session, .. } => {
                let is_fresh = |confirmed: UnixMs| now < confirmed.after(CONFIRMED_MS);
                let session = state.session(session).filter(|session| is_fresh(session.confirmed));
                session.map(drop).ok_or(Unconfirmed::Session)
            }
            Who::ApiToken { token, .. } => {
                let token = state.api_token(token).filter(|token| token.is_sensitive);
                token.map(drop).ok_or(Unconfirmed::ApiToken)
            }
            // Root on the machine of a manager shows no password anywhere.
            _ => Ok(()),
        }
    }
}

impl Accounts {
    /// Confirms the session of `caller`, with what a login needs. Tries count as those of logging in do.
    pub async fn confirm(&self, caller: &Caller, shown: Shown, now: UnixMs) -> Result<(), ConfirmationError> {
        let state = self.cluster.snapshot();
        let session = caller.session().and_then(|id| state.session(id)).filter(|session| now < session.expires);
        let session = session.ok_or(ConfirmationError::NoSession)?;
        let user = state.user(session.user).ok_or(ConfirmationError::NoSession)?;
        if user.password.is_none() {
            return Err(ConfirmationError::NoPassword);
        }
        let counted = Try { name: &user.name, from: shown.from, is_known: user.knows(shown.from) };
        let code = shown.code.as_ref().map(|code| code.as_str());
        let proof = self.check(&state, Some(user), (shown.password, code), counted, now).await?;
        let command = ConfirmSession { session: session.id, proof, checked: user.credentials_changed, now };
        self.propose_confirmation(caller.author, command).await?;
        self.limits().give_back(counted);
        Ok(())
    }

    async fn propose_confirmation(&self, by: Author, command: ConfirmSession) -> Result<(), ConfirmationError> {
        match self.cluster.propose(Change { by, ..Command::ConfirmSession(command).into() }).await {
            Ok(_) => Ok(()),
            Err(ProposeError::Refused(Refusal::Account(AccountError::NoSession(_)))) => {
                Err(ConfirmationError::NoSession)
            }
            // A code that was used, or an account that was changed meanwhile.
            Err(ProposeError::Refused(Refusal::Account(_))) => Err(ConfirmationError::Wrong),
            Err(error) => Err(LogInError::from(error).into()),
        }
    }
}
