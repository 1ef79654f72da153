//! When other managers were heard last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use festoon_proto::ManagerId;
use tokio::time::Instant;

/// When each manager last answered a request or sent one. A clone is the same record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    heard: Arc<Mutex<HashMap<ManagerId, Instant>>>,
}

impl Reach {
    pub(crate) fn heard(&self, manager: ManagerId) {
        self.table().insert(manager, Instant::now());
    }

    /// How long it has been silent; `None` if it was never heard.
    pub(crate) fn silence(&self, manager: ManagerId) -> Option<Duration> {
        self.table().get(&manager).map(Instant::elapsed)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<ManagerId, Instant>> {
        // Nothing panics while holding it.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
