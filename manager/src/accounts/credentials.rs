//! Changing what a user logs in with.

use std::net::IpAddr;

use festoon_control::registry::{NewTotp, PasswordHash, SecretName, State, UnixMs, User};
use zeroize::Zeroizing;

use super::limits::{TooMany, Try};
use super::log_in::Accounts;
use super::password::{self, ComputeError, PasswordError, Queue};
use super::totp::{self, ParseTotpError, TotpSecret};
use crate::vault::VaultError;

/// A password is not set.
#[derive(Debug, thiserror::Error)]
pub enum NewPasswordError {
    /// It is too weak.
    #[error(transparent)]
    Weak(#[from] PasswordError),
    /// At a bad moment.
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

/// A user has not shown that it is itself.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// After too many tries.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// At a bad moment.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// With another password, or with none.
    #[error("this is not the password of this account: give the one that you log in with")]
    Wrong,
}

/// A second factor does not count.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// Its secret is none.
    #[error(transparent)]
    Secret(#[from] ParseTotpError),
    /// The code is of another secret, or of another time.
    #[error("this code is not of this secret and of now: see that the clock is right, and try the next one")]
    Code,
    /// It can't be stored.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// There is none.
    #[error("this account has no second factor: set one up first")]
    None,
}

impl Accounts {
    /// What is stored of a new password of the user called `name`.
    pub async fn new_password(
        &self,
        password: Zeroizing<String>,
        name: &str,
    ) -> Result<PasswordHash, NewPasswordError> {
        password::check(&password, name)?;
        Ok(self.passwords.hash(password).await?)
    }

    /// Whether it is the user itself, by its password. Tries count as those of logging in do.
    pub async fn check_password(
        &self,
        user: &User,
        password: Zeroizing<String>,
        from: IpAddr,
        now: UnixMs,
    ) -> Result<(), ProveError> {
        // Whoever has its session must not guess more often than whoever has not.
        let counted = Try { name: &user.name, from, is_known: user.knows(from) };
        self.limits().count(counted, now)?;
        match self.passwords.verify(password, user.password.clone(), Queue::Known).await? {
            true => {
                self.limits().give_back(counted);
                Ok(())
            }
            false => Err(ProveError::Wrong),
        }
    }

    /// A second factor whose secret was shown as `secret`, if `code` is of it; and its recovery codes.
    pub fn confirm_totp(
        &self,
        state: &State,
        user: &User,
        (secret, code): (&str, &str),
        now: UnixMs,
    ) -> Result<(NewTotp, Vec<Zeroizing<String>>), ConfirmError> {
        let secret = TotpSecret::parse(secret)?;
        let step = secret.step_of(code.trim(), now).ok_or(ConfirmError::Code)?;
        let secret = self.vault.encrypt(state, &SecretName::of_totp(user.id), secret.secret_bytes())?;
        let codes = totp::recovery_codes();
        let recovery = codes.iter().map(|code| totp::recovery_hash(code)).collect();
        Ok((NewTotp { secret, step, recovery }, codes))
    }

    /// The second factor of a user with other recovery codes, and these.
    pub fn new_recovery_codes(
        &self,
        state: &State,
        user: &User,
    ) -> Result<(NewTotp, Vec<Zeroizing<String>>), ConfirmError> {
        let totp = user.totp.as_ref().ok_or(ConfirmError::None)?;
        let name = SecretName::of_totp(user.id);
        let secret = state.vault().secret(&name).cloned().ok_or(VaultError::Unknown(name))?;
        let codes = totp::recovery_codes();
        let recovery = codes.iter().map(|code| totp::recovery_hash(code)).collect();
        Ok((NewTotp { secret, step: totp.last_step, recovery }, codes))
    }
}
