//! A leader that gives way: it says nothing of itself and takes no proposals, until the others miss it and one of them
//! leads.
//!
//! Without the second half a busy leader would never be missed, for every entry it sends is a sign of life.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::Raft;

use crate::types::{MemberId, TypeConfig};

/// How many want this member to be silent now. A clone is the same count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Silence(Arc<Mutex<usize>>);

/// While it lives this member is silent.
pub(crate) struct Silent<'a> {
    silence: &'a Silence,
    raft: &'a Raft<TypeConfig>,
}

impl Silence {
    /// Whether it is silent now.
    pub(crate) fn is_on(&self) -> bool {
        *self.count() > 0
    }

    pub(crate) fn begin<'a>(&'a self, raft: &'a Raft<TypeConfig>) -> Silent<'a> {
        *self.count() += 1;
        raft.runtime_config().heartbeat(false);
        Silent { silence: self, raft }
    }

    /// Is silent until another leads, for `limit` at most. Returns whether another does. May be cancelled at any time.
    pub(crate) async fn until_another_leads(&self, raft: &Raft<TypeConfig>, me: MemberId, limit: Duration) -> bool {
        let _silent = self.begin(raft);
        let mut metrics = raft.metrics();
        let followed = metrics.wait_for(|metrics| metrics.current_leader != Some(me));
        tokio::time::timeout(limit, followed).await.is_ok()
    }

    fn count(&self) -> std::sync::MutexGuard<'_, usize> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        let mut count = self.silence.count();
        *count -= 1;
        if *count == 0 {
            self.raft.runtime_config().heartbeat(true);
        }
    }
}
