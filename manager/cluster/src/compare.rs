//! Whether all members have the same registry. Consensus gives them one log, and all make the same of it; if they differ
//! nevertheless, a program has a fault or a machine computes wrongly, and nothing else would notice.
//!
//! Each member asks each other one now and then for the digests of two states: that of now, which is the same everywhere while
//! nothing changes, and the last one at a round place in the log, which is the same for a while however much does.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use festoon_control::registry::State;
use festoon_proto::map::MapVersion;
use openraft::Raft;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::message::{Answer, Request};
use crate::network::Network;
use crate::storage::Execution;
use crate::transport::Transport;
use crate::types::{MemberId, TypeConfig};

/// Entries of the log from one round place to the next.
pub(crate) const ROUND: u64 = 1024;

/// A digest of 100,000 endpoints takes a tenth of a second, on a busy machine more.
const LIMIT: Duration = Duration::from_secs(5);

/// What a state of some version is, in 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    version: MapVersion,
    sha256: [u8; 32],
}

impl Digest {
    /// Of a state as it is stored. `None` if it can't be, which is a fault that storing it reports.
    fn of(state: &State) -> Option<Self> {
        let hasher = postcard::to_io(state, BufWriter::new(Hasher(Context::new(&SHA256)))).ok()?;
        let sha256 = hasher.into_inner().ok()?.0.finish().as_ref().try_into().ok()?;
        Some(Self { version: state.version(), sha256 })
    }
}

struct Hasher(Context);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether two members have the same; `None` if they have no digest of the same version.
fn is_same(ours: &[Digest], theirs: &[Digest]) -> Option<bool> {
    let of_version = |version| theirs.iter().find(move |digest| digest.version == version);
    let both = ours.iter().filter_map(|our| Some(our == of_version(our.version)?));
    both.reduce(|all, one| all && one)
}

/// What this member has to compare, and what came of it. A clone is the same.
#[derive(Clone)]
pub(crate) struct Comparison {
    now: watch::Receiver<Arc<State>>,
    round: watch::Receiver<Arc<State>>,
    execution: Execution,
    /// The digests that were taken last.
    known: Arc<tokio::sync::Mutex<Vec<Digest>>>,
    /// The members whose registry was another than ours when they were compared last.
    differing: Arc<Mutex<BTreeSet<MemberId>>>,
}

impl Comparison {
    /// Of the state of `now` and that at the last `round` place.
    pub(crate) fn new(
        now: watch::Receiver<Arc<State>>,
        round: watch::Receiver<Arc<State>>,
        execution: Execution,
    ) -> Self {
        Self { now, round, execution, known: Arc::default(), differing: Arc::default() }
    }

    /// Whether a member's registry was another when it was compared last.
    pub(crate) fn differs(&self, member: MemberId) -> bool {
        self.differing().contains(&member)
    }

    /// Takes the digests, away from the state machine. May be cancelled at any time.
    pub(crate) async fn digests(&self) -> Vec<Digest> {
        // Held meanwhile, so that several who ask at once cost no more than one.
        let mut known = self.known.lock().await;
        let mut digests = Vec::new();
        for states in [&self.now, &self.round] {
            let state = Arc::clone(&states.borrow());
            // Without a copy there is only what each was told when it joined.
            if state.cluster().is_none() {
                continue;
            }
            let digest = match known.iter().find(|digest| digest.version == state.version()) {
                Some(digest) => Some(*digest),
                None => self.execution.run(move || Ok(Digest::of(&state))).await.ok().flatten(),
            };
            digests.extend(digest);
        }
        known.clone_from(&digests);
        digests
    }

    /// Compares with all other members, once in `every`. Never returns; may be dropped at any time.
    pub(crate) async fn keep<T: Transport>(&self, raft: &Raft<TypeConfig>, network: &Network<T>, every: Duration) {
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let membership = Arc::clone(&raft.metrics().borrow().membership_config);
            for (&other, _) in membership.nodes().filter(|(id, _)| **id != network.me) {
                let Ok(Answer::Digests(theirs)) = network.ask(other, Request::Digests, LIMIT).await else { continue };
                if let Some(is_same) = is_same(&self.digests().await, &theirs) {
                    self.note(other, is_same);
                }
            }
        }
    }

    fn note(&self, other: MemberId, is_same: bool) {
        let is_news = if is_same { self.differing().remove(&other) } else { self.differing().insert(other) };
        match is_same {
            true if is_news => tracing::info!(%other, "that manager has the same registry again"),
            false if is_news => tracing::error!(
                %other,
                "that manager has ANOTHER registry at the same place of the log: see `festoon-manager status` for what to do"
            ),
            _ => {}
        }
    }

    fn differing(&self) -> MutexGuard<'_, BTreeSet<MemberId>> {
        // Nothing panics while holding it.
        self.differing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests;
