//! Logging in with a password.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use festoon_control::registry::{
    Author, Change, Command, LogIn, MAX_SESSION_MS, Outcome, Proof, Refusal, SecretName, State, UnixMs, User, Who,
};
use festoon_proto::UserId;
use zeroize::Zeroizing;

use super::limits::{Limits, TooMany, Try};
use super::password::{ComputeError, Passwords, Queue};
use super::secret::{Secret, SessionSecret};
use super::totp::{self, TotpSecret};
use crate::cluster::{Cluster, ProposeError};
use crate::vault::{Vault, VaultError};

/// How long a session lasts: a day's work.
pub(super) const SESSION_MS: u64 = 12 * 3600 * 1000;
const _: () = assert!(SESSION_MS <= MAX_SESSION_MS);

/// Somebody tries to log in.
#[derive(Debug)]
pub struct Attempt {
    /// As whom.
    pub name: String,
    /// With which password.
    pub password: Zeroizing<String>,
    /// With which code from the clock, or recovery code.
    pub code: Option<Zeroizing<String>>,
    /// From which address.
    pub from: IpAddr,
    /// With which program, as that says.
    pub agent: String,
}

/// Somebody is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// Who.
    pub user: UserId,
    /// What to put in the cookie.
    pub session: SessionSecret,
    /// For how many seconds.
    pub lasts_s: u64,
}

/// Nobody is let in.
#[derive(Debug, thiserror::Error)]
pub enum LogInError {
    /// After too many tries.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// At a bad moment.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// Which of it is wrong is not said.
    #[error("name, password or code is wrong: try again")]
    Wrong,
    /// The password is right, and not enough.
    #[error("this account has a second factor: give its code too")]
    CodeNeeded,
    /// Codes can't be checked here.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The registry takes nothing now.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

/// Logs people in. A clone counts tries with the others.
#[derive(Debug, Clone)]
pub struct Accounts {
    pub(super) cluster: Cluster,
    pub(super) vault: Vault,
    /// Hashes and compares passwords.
    pub passwords: Passwords,
    limits: Arc<Mutex<Limits>>,
}

impl Accounts {
    /// For this registry. Codes are checked with what `vault` reads.
    pub fn new(cluster: Cluster, vault: Vault) -> Self {
        Self { cluster, vault, passwords: Passwords::default(), limits: Arc::default() }
    }

    /// Logs somebody in.
    pub async fn log_in(&self, attempt: Attempt, now: UnixMs) -> Result<LoggedIn, LogInError> {
        let state = self.cluster.snapshot();
        let user = state.user_named(&attempt.name).filter(|user| user.is_enabled);
        let is_known = user.is_some_and(|user| user.knows(attempt.from));
        let counted = Try { name: &attempt.name, from: attempt.from, is_known };
        let shown = (attempt.password.clone(), attempt.code.as_ref().map(|code| code.as_str()));
        let proof = self.check(&state, user, shown, counted, now).await?;
        let user = user.ok_or(LogInError::Wrong)?;
        let logged_in = self.begin(user, proof, &attempt, now).await?;
        self.limits().give_back(counted);
        Ok(logged_in)
    }

    /// What has been proved by somebody who says that it is `user`, and shows this password and this code. The try counts; one that
    /// turns out well is for the caller to give back.
    pub(super) async fn check(
        &self,
        state: &State,
        user: Option<&User>,
        (password, code): (Zeroizing<String>, Option<&str>),
        counted: Try<'_>,
        now: UnixMs,
    ) -> Result<Proof, LogInError> {
        self.limits().count(counted, now)?;
        let stored = user.and_then(|user| user.password.clone());
        let queue = if counted.is_known { Queue::Known } else { Queue::Anybody };
        let is_right = self.passwords.verify(password, stored, queue).await?;
        let user = user.filter(|_| is_right).ok_or(LogInError::Wrong)?;
        self.prove(state, user, code, now)
    }

    /// What a user has shown whose password is right.
    fn prove(&self, state: &State, user: &User, code: Option<&str>, now: UnixMs) -> Result<Proof, LogInError> {
        if user.totp.is_none() {
            return Ok(Proof::Password);
        }
        let code = code.map(str::trim).filter(|code| !code.is_empty()).ok_or(LogInError::CodeNeeded)?;
        if !totp::is_code(code) {
            return Ok(Proof::RecoveryCode(totp::recovery_hash(code)));
        }
        let secret = TotpSecret::from_secret_bytes(self.vault.read(state, &SecretName::of_totp(user.id))?);
        secret.step_of(code, now).map(|step| Proof::Code { step }).ok_or(LogInError::Wrong)
    }

    async fn begin(&self, user: &User, proof: Proof, attempt: &Attempt, now: UnixMs) -> Result<LoggedIn, LogInError> {
        let secret = Secret::generate();
        let command = LogIn {
            user: user.id,
            proof,
            checked: user.credentials_changed,
            hash: secret.hash(),
            from: attempt.from,
            agent: attempt.agent.clone(),
            now,
            confirmed: now,
            expires: now.after(SESSION_MS),
        };
        match self.cluster.propose(by_newcomer(Command::LogIn(command), attempt.from)).await {
            Ok(Outcome::Session(id)) => {
                let session = SessionSecret { id, secret };
                Ok(LoggedIn { user: user.id, session, lasts_s: SESSION_MS / 1000 })
            }
            // A code that was used, or an account that was changed meanwhile.
            Err(ProposeError::Refused(Refusal::Account(_))) | Ok(_) => Err(LogInError::Wrong),
            Err(error) => Err(error.into()),
        }
    }

    /// Counts a try that names nobody, if it is not one too many: by its address alone, or anybody could lock all others out.
    pub(super) fn count_nameless(&self, from: IpAddr, now: UnixMs) -> Result<(), TooMany> {
        self.limits().count_nameless(from, now)
    }

    /// The one who tried was right.
    pub(super) fn give_back_nameless(&self, from: IpAddr) {
        self.limits().give_back_nameless(from);
    }

    pub(super) fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn by_newcomer(command: Command, from: IpAddr) -> Change {
    Change { by: Author { who: Who::Newcomer, from: Some(from) }, ..command.into() }
}
