//! When other members were heard last. A manager that began anew is another member: the one that it was is heard no more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::types::MemberId;

/// When each member last answered a request or sent one. A clone is the same record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    heard: Arc<Mutex<HashMap<MemberId, Instant>>>,
}

impl Reach {
    pub(crate) fn heard(&self, member: MemberId) {
        self.table().insert(member, Instant::now());
    }

    /// How long it has been silent; `None` if it was never heard.
    pub(crate) fn silence(&self, member: MemberId) -> Option<Duration> {
        self.table().get(&member).map(Instant::elapsed)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<MemberId, Instant>> {
        // Nothing panics while holding it.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
