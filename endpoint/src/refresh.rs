//! Keeps the map new.
//!
//! Task: [`Refresher::run`]. It sleeps until the session wants a newer map, or has lost every manager and so may hold a
//! map that leads nowhere. It may be cancelled at any point: a map is stored before it is handed on, atomically, and a
//! map that was stored and not handed on is the one the next start begins with.

use std::sync::Arc;
use std::time::Duration;

use festoon_proto::ManagerId;
use festoon_proto::http::Credential;
use festoon_proto::map::{EndpointMap, MapVersion};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::https::{AskError, Managers, ask_any};
use crate::state::StateDir;

/// A change reaches every endpoint at once; their requests should not.
const SPREAD: Duration = Duration::from_millis(200);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// While no manager answers in its tunnel, one that was restored from a backup is found only so: it has other keys.
const LAST_PAUSE_LOST: Duration = Duration::from_secs(5);
/// Attempts after which it is odd that managers answer here and not in their tunnels, and after which a refusal is not that of
/// one that lags behind: some 3 seconds.
const ODD: u32 = 5;
const REMOVED_PAUSE: Duration = Duration::from_secs(300);

/// What the session knows of newer maps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Want {
    /// The newest version a manager spoke of.
    pub newest: MapVersion,
    /// Whom to ask first.
    pub active: Option<ManagerId>,
    /// No manager answers in its tunnel.
    pub lost: bool,
}

/// Fetches maps.
#[derive(Debug)]
pub struct Refresher {
    /// Where maps are stored.
    pub state: StateDir,
    /// The map in use.
    pub map: Arc<EndpointMap>,
    /// What the session wants.
    pub want: watch::Receiver<Want>,
    /// Where newer maps go.
    pub maps: mpsc::Sender<Arc<EndpointMap>>,
}

/// What came of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Newer,
    NothingNew,
    Removed,
    Failed,
}

impl Refresher {
    /// Runs until the session is gone.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let current = self.map.version;
            let wanted = self.want.wait_for(|want| want.lost || want.newest > current).await.map(|want| *want);
            let Ok(want) = wanted else { return };
            sleep(SPREAD.mul_f64(rand::random())).await;
            let outcome = self.attempt(want, failures == 0).await;
            failures = if outcome == Outcome::Newer { 0 } else { failures + 1 };
            // Managers that were restored from a snapshot know the key and the credential that this endpoint had then.
            if failures == ODD && (outcome == Outcome::Removed || want.lost && outcome == Outcome::NothingNew) {
                self.introduce_anew().await;
            }
            // A change in what the session knows, a manager that answers again above all, is a reason to try again now.
            let woken = timeout(pause(outcome, want.lost, failures, rand::random()), self.want.changed()).await;
            if let Ok(Err(_)) = woken {
                return;
            }
        }
    }

    async fn attempt(&mut self, want: Want, first: bool) -> Outcome {
        let credential = match self.state.credential(self.map.endpoint) {
            Ok(credential) => credential,
            Err(error) => {
                tracing::error!(%error, "cannot read this endpoint's credential, so no map is fetched");
                return Outcome::Failed;
            }
        };
        let managers = Managers::of_map(&self.map, want.active);
        let asked = ask_any(&managers, |manager| manager.map(&credential)).await;
        match asked {
            Ok(map) => self.accept(map).await,
            Err(error) => report(&error, first),
        }
    }

    /// Tells managers the key and the credential of now, with any credential that they may know: that of now, or one of before.
    /// It changes nothing if they know the right ones.
    async fn introduce_anew(&self) {
        let identity = match self.state.identity() {
            // What is being changed is told anyhow.
            Ok(Some(identity)) if identity.next.is_none() => identity,
            _ => return,
        };
        let (request, managers) = (identity.request(), Managers::of_map(&self.map, None));
        for secret in std::iter::once(&identity.credential_secret).chain(&identity.former_secrets) {
            let credential = Credential::new(self.map.endpoint, **secret);
            let told = ask_any(&managers, |manager| manager.rotate_key(&credential, &request));
            match told.await {
                Ok(()) => return,
                // They know another one, or none.
                Err(error) if error.is_removed() => {}
                Err(error) => {
                    return tracing::warn!(%error, "managers answer but refuse this endpoint's key");
                }
            }
        }
    }

    async fn accept(&mut self, map: EndpointMap) -> Outcome {
        if (map.cluster, map.endpoint) != (self.map.cluster, self.map.endpoint) {
            tracing::error!(endpoint = %map.endpoint, "a manager sent the map of another endpoint; it is not used");
            return Outcome::Failed;
        }
        if map.version <= self.map.version {
            return Outcome::NothingNew;
        }
        if map.authorities.is_empty() {
            tracing::error!("a manager sent a map that believes no CA, so no other could be fetched; it is not used");
            return Outcome::Failed;
        }
        if let Err(error) = self.state.store_map(&map) {
            // The map is good for this run all the same.
            tracing::error!(%error, "cannot store the new map");
        }
        tracing::info!(version = map.version.0, "a new map");
        self.map = Arc::new(map);
        let _ = self.maps.send(Arc::clone(&self.map)).await;
        Outcome::Newer
    }
}

/// Says why there is no map, aloud the first time.
fn report(error: &AskError, first: bool) -> Outcome {
    if error.is_removed() {
        if first {
            tracing::error!(%error, "the managers refuse this endpoint; the agent goes on asking them");
        }
        return Outcome::Removed;
    }
    if first {
        tracing::warn!(%error, "cannot fetch the map; trying again until a manager answers");
    } else {
        tracing::debug!(%error, "cannot fetch the map");
    }
    Outcome::Failed
}

/// How long to wait after `failures` attempts without a newer map; `chance` is uniform in 0..1.
fn pause(outcome: Outcome, lost: bool, failures: u32, chance: f64) -> Duration {
    let longest = match outcome {
        Outcome::Newer => return Duration::ZERO,
        Outcome::Removed if failures > ODD => REMOVED_PAUSE,
        Outcome::Removed | Outcome::NothingNew | Outcome::Failed => {
            let last = if lost { LAST_PAUSE_LOST } else { LAST_PAUSE };
            FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(last)
        }
    };
    longest.mul_f64(0.5 + chance / 2.0)
}

#[cfg(test)]
mod tests;
