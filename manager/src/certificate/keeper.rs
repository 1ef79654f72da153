//! Keeps what this manager shows and whom it believes as the registry says.
//!
//! Task: [`Keeper::run`]. It may be cancelled at any point: a file is replaced whole or not at all, and what was not done is
//! still due at the next start.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use festoon_cluster::CallError;
use festoon_control::registry::{State, UnixMs};
use festoon_proto::{Fingerprint, Introduction, ManagerId, SigningKey};
use tokio::sync::watch;

use super::due::due;
use super::told::Told;
use crate::cluster::Https;
use crate::https::route;
use crate::pki::{Credentials, CredentialsError, PkiError, SigningRequest, TlsKey};
use crate::vault::{Vault, VaultError, trusted_pem};

/// How often the age of the certificate is looked at: the clock may be set meanwhile.
const LOOK: Duration = Duration::from_secs(3600);
/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// For another manager to certify.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// A manager keeps the certificate it has.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Its files can't be written.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A key can't be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Nobody certifies.
    #[error("{own}; and no other manager does it ({others})")]
    Nobody {
        /// Why this manager does not.
        own: VaultError,
        /// Why the others do not.
        others: String,
    },
}

/// All it needs. A clone keeps the same.
#[derive(Debug, Clone)]
pub struct Keeper {
    /// This manager.
    pub me: ManagerId,
    /// The secrets it reads.
    pub vault: Vault,
    /// Signs the key of its certificate.
    pub signing_key: SigningKey,
    /// How it came into the cluster.
    pub introductions: Vec<Introduction>,
    /// What it keeps.
    pub credentials: Credentials,
    /// The way to the others: a witness can't certify itself.
    pub managers: Https,
    /// The agents that know of the next CA.
    pub told: Told,
}

impl Keeper {
    /// Runs as long as there are `states`, by `clock`.
    pub async fn run(self, mut states: watch::Receiver<Arc<State>>, clock: impl Fn() -> UnixMs) {
        loop {
            let state = Arc::clone(&states.borrow_and_update());
            if let Err(error) = self.keep(&state, clock()).await {
                tracing::warn!(%error, "this manager keeps the certificate it has; trying again");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            if let Ok(Err(_)) = tokio::time::timeout(LOOK, states.changed()).await {
                return;
            }
        }
    }

    /// Does what `state` asks for at `now`.
    pub async fn keep(&self, state: &State, now: UnixMs) -> Result<(), KeepError> {
        self.trust(state)?;
        let shown = self.credentials.now();
        let Some(reason) = due(&shown.chain, &shown.leaf, state, self.me, now) else { return Ok(()) };
        let key = TlsKey::generate()?;
        let request = key.signing_request(&self.signing_key, &self.introductions)?;
        let chain = match self.vault.certify(state, self.me, SigningRequest::from_pem(&request)?, now) {
            Ok(chain) => chain,
            Err(own) => self.ask(state, request).await.map_err(|others| KeepError::Nobody { own, others })?,
        };
        self.credentials.show(&key, &chain)?;
        let until = self.credentials.now().leaf.until.0;
        tracing::info!(?reason, until_unix_ms = until, "this manager has a new certificate");
        Ok(())
    }

    /// Believes the CAs of the registry. It names none while there is no copy of it yet.
    fn trust(&self, state: &State) -> Result<(), CredentialsError> {
        let trusted = state.vault().authorities().iter().map(|authority| authority.fingerprint);
        let is_known = trusted.eq(self.credentials.now().trusted.iter().copied());
        if is_known || state.vault().authorities().is_empty() {
            return Ok(());
        }
        self.credentials.trust(&trusted_pem(state))?;
        let trusted: Vec<Fingerprint> = self.credentials.now().trusted.clone();
        tracing::info!(?trusted, "this manager trusts other CAs");
        Ok(())
    }

    /// Asks the managers that can certify, one after the other.
    async fn ask(&self, state: &State, request: String) -> Result<String, String> {
        let mut failures = Vec::new();
        for other in state.full_managers().filter(|manager| manager.id != self.me) {
            let asked =
                self.managers.post(other.id, route::CERTIFICATE.path(), Bytes::from(request.clone()), ASK_LIMIT).await;
            match asked.map(String::from_utf8) {
                Ok(Ok(chain)) => return Ok(chain),
                Ok(Err(_)) => failures.push(format!("{}: it sends no certificate", other.name)),
                Err(CallError::NotSent(why) | CallError::NoAnswer(why)) => {
                    failures.push(format!("{}: {why}", other.name));
                }
            }
        }
        Err(if failures.is_empty() { "there is none".to_owned() } else { failures.join("; ") })
    }
}
