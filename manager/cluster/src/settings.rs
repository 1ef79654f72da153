//! What a simulation wants to be otherwise than in a program.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::clock::OwnClock;
use crate::types::ProposalId;

/// What may be otherwise than in a program, where the defaults are right.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Entries of the log after which a snapshot takes their place.
    pub snapshot_after: u64,
    /// Entries that are kept nevertheless, for members that lag.
    pub keep: u64,
    /// How often a member sees whether the others have the same registry.
    pub compare_every: Duration,
    /// Ids of proposals are drawn from this. Each start of each member needs another, or proposals are taken for one.
    pub seed: [u8; 32],
    /// The clock of the machine.
    pub clock: OwnClock,
    /// Changes are taken whatever their dates are: for tests that make up the time.
    pub takes_any_date: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            snapshot_after: 5000,
            keep: 5000,
            compare_every: Duration::from_secs(300),
            seed: rand::random(),
            clock: OwnClock::default(),
            takes_any_date: false,
        }
    }
}

/// Where ids of proposals come from. A clone is the same source.
#[derive(Debug, Clone)]
pub(crate) struct ProposalIds(Arc<Mutex<StdRng>>);

impl ProposalIds {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_seed(seed))))
    }

    pub(crate) fn next(&self) -> ProposalId {
        // Nothing panics while holding it.
        ProposalId(self.0.lock().unwrap_or_else(PoisonError::into_inner).random())
    }
}
