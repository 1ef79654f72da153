//! Passwords: argon2id (RFC 9106), and how many are computed at once.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc};
use argon2::{Algorithm, Argon2, Params, Version};
use festoon_control::registry::PasswordHash;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use super::slow::{self, Slow};

/// What OWASP recommends at least: 19 MiB, two passes, one lane.
/// <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Waiting to be computed. Whoever comes then is sent away at once.
const WAITING: usize = 32;
/// Waiting besides, of those who are known: strangers take no room from them.
const WAITING_KNOWN: usize = 32;
/// How long one waits at most.
const PATIENCE: Duration = Duration::from_secs(10);

const MIN_LEN: usize = 12;
const MAX_LEN: usize = 1024;

/// A password is too weak to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is too short or too long.
    #[error("a password has {MIN_LEN} characters or more, and {MAX_LEN} bytes at most: choose another")]
    Length,
    /// It is easily guessed.
    #[error("this password is the name of the user, or one character again and again: choose another")]
    Guessed,
}

/// A password is not computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ComputeError {
    /// Too many want it at once.
    #[error("too many are logging in at this moment: try again in a few seconds")]
    Busy,
    /// It fails.
    #[error("passwords can't be hashed on this machine: see its memory")]
    Failed,
}

/// Whether `password` may be set for the user called `name`. Length is what counts (NIST SP 800-63B section 3.1.1).
pub fn check(password: &str, name: &str) -> Result<(), PasswordError> {
    if password.chars().count() < MIN_LEN || password.len() > MAX_LEN {
        return Err(PasswordError::Length);
    }
    let is_one_character = password.chars().all(|c| password.starts_with(c));
    if is_one_character || password.eq_ignore_ascii_case(name) { Err(PasswordError::Guessed) } else { Ok(()) }
}

/// Whose place somebody takes while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Anybody's.
    Anybody,
    /// That of users who are logged in, or who come from a host that they logged in from before.
    Known,
}

/// Hashes and compares passwords, a few at once. A clone counts with the others.
#[derive(Debug, Clone)]
pub struct Passwords {
    slow: Slow,
    at_once: Arc<Semaphore>,
    anybody: Arc<Semaphore>,
    known: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new(slow::threads(), WAITING, WAITING_KNOWN)
    }
}

impl Passwords {
    fn new(at_once: usize, waiting: usize, known: usize) -> Self {
        let [at_once_permits, anybody, known] =
            [at_once, at_once + waiting, at_once + known].map(|permits| Arc::new(Semaphore::new(permits)));
        Self { slow: Slow::new(at_once), at_once: at_once_permits, anybody, known }
    }

    /// What is stored of `password`.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<PasswordHash, ComputeError> {
        self.compute(Queue::Known, move || hash(&password)).await?.ok_or(ComputeError::Failed)
    }

    /// Whether it is the password that `stored` was made of. It takes as long if nothing is stored, so that nobody learns who
    /// has an account.
    pub async fn verify(
        &self,
        password: Zeroizing<String>,
        stored: Option<PasswordHash>,
        queue: Queue,
    ) -> Result<bool, ComputeError> {
        self.compute(queue, move || match stored {
            Some(stored) => verify(&password, &stored),
            None => hash(&password).is_none(),
        })
        .await
    }

    async fn compute<T: Send + 'static>(
        &self,
        queue: Queue,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ComputeError> {
        let permits = self.permits(queue).await?;
        // The permits go when it has ended, though nobody may wait for it any more.
        self.slow.run(move || (compute(), permits)).await.map(|(result, _)| result).ok_or(ComputeError::Failed)
    }

    async fn permits(&self, queue: Queue) -> Result<[OwnedSemaphorePermit; 2], ComputeError> {
        let queue = match queue {
            Queue::Anybody => &self.anybody,
            Queue::Known => &self.known,
        };
        let admitted = Arc::clone(queue).try_acquire_owned().map_err(|_| ComputeError::Busy)?;
        let at_once = tokio::time::timeout(PATIENCE, Arc::clone(&self.at_once).acquire_owned()).await;
        match at_once {
            Ok(Ok(at_once)) => Ok([admitted, at_once]),
            _ => Err(ComputeError::Busy),
        }
    }
}

fn argon2id() -> Option<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Option<PasswordHash> {
    let salt: [u8; 16] = rand::random();
    let hash: phc::PasswordHash = argon2id()?.hash_password_with_salt(password.as_bytes(), &salt).ok()?;
    Some(PasswordHash::new(hash.to_string()))
}

/// With the parameters that it was stored with.
fn verify(password: &str, stored: &PasswordHash) -> bool {
    let stored = phc::PasswordHash::new(stored.as_str());
    stored.is_ok_and(|stored| Argon2::default().verify_password(password.as_bytes(), &stored).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_alone() {
        let passwords = Passwords::default();
        let stored = passwords.hash(secret("correct horse")).await.unwrap();
        assert!(stored.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.as_str());
        assert_ne!(passwords.hash(secret("correct horse")).await.unwrap(), stored, "salted");
        assert_eq!(passwords.verify(secret("correct horse"), Some(stored.clone()), Queue::Anybody).await, Ok(true));
        assert_eq!(passwords.verify(secret("correct hors"), Some(stored), Queue::Anybody).await, Ok(false));
        assert_eq!(passwords.verify(secret("correct horse"), None, Queue::Anybody).await, Ok(false), "nobody's");
        let damaged = PasswordHash::new("$argon2id$v=19$m=1$x");
        assert_eq!(passwords.verify(secret("correct horse"), Some(damaged), Queue::Anybody).await, Ok(false));
    }

    #[tokio::test]
    async fn no_more_are_computed_at_once_than_memory_is_there_for() {
        let passwords = Passwords::new(1, 1, 1);
        let first = passwords.permits(Queue::Anybody).await.unwrap();
        let mut waits = Box::pin(passwords.permits(Queue::Anybody));
        tokio::select! {
            biased;
            _ = &mut waits => panic!("the second does not wait"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(
            passwords.verify(secret("x"), None, Queue::Anybody).await,
            Err(ComputeError::Busy),
            "the third is sent away"
        );
        let mut known = Box::pin(passwords.permits(Queue::Known));
        tokio::select! {
            biased;
            _ = &mut known => panic!("who is known does not wait"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        drop(waits.await.unwrap());
        assert!(known.await.is_ok());
    }

    #[test]
    fn weak_passwords_are_not_set() {
        assert_eq!(check("correct horse", "ann"), Ok(()));
        assert_eq!(check("elevenchars", "ann"), Err(PasswordError::Length));
        assert_eq!(check(&"ab".repeat(513), "ann"), Err(PasswordError::Length));
        assert_eq!(check("aaaaaaaaaaaaa", "ann"), Err(PasswordError::Guessed));
        assert_eq!(check("Annabelle-Smith", "annabelle-smith"), Err(PasswordError::Guessed));
    }
}
