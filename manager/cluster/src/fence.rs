//! Who may still take part: whoever was removed from the cluster may not, nor whoever was left behind in an earlier epoch.
//!
//! Epochs: when an admin promotes a manager that has lost its quorum, the cluster goes on in a later epoch, and whoever
//! was not there is fenced off until it gives up its own log and rejoins.

use std::sync::Arc;

use festoon_proto::EpochId;
use tokio::sync::watch;

use crate::message::Removal;

/// In which epoch this manager is, and whether the cluster has gone on without it. A clone is the same fence.
#[derive(Debug, Clone)]
pub(crate) struct Fence {
    epoch: EpochId,
    /// The epoch the cluster is in, once that is known to be a later one.
    later: Arc<watch::Sender<Option<EpochId>>>,
    /// The removal of this manager, as one that is there says.
    removed: Arc<watch::Sender<Option<Removal>>>,
}

impl Fence {
    pub(crate) fn new(epoch: EpochId) -> Self {
        Self { epoch, later: Arc::default(), removed: Arc::default() }
    }

    /// The epoch of our log.
    pub(crate) const fn epoch(&self) -> EpochId {
        self.epoch
    }

    /// The later epoch that the cluster is in, if it is in one.
    pub(crate) fn later(&self) -> Option<EpochId> {
        *self.later.borrow()
    }

    /// The cluster is in `epoch`, as one that is there says.
    pub(crate) fn close(&self, epoch: EpochId) {
        self.later.send_if_modified(|later| {
            let news = epoch > self.epoch && later.is_none_or(|known| known < epoch);
            if news {
                *later = Some(epoch);
            }
            news
        });
    }

    /// This manager was removed.
    pub(crate) fn remove(&self, removal: Removal) {
        self.removed.send_replace(Some(removal));
    }

    /// Waits until this manager is told that it was removed. May be cancelled at any time.
    pub(crate) async fn removed(&self) -> Removal {
        known(&self.removed).await
    }

    /// Waits until the cluster has gone on without us. May be cancelled at any time.
    pub(crate) async fn closed(&self) -> EpochId {
        known(&self.later).await
    }
}

/// What is in there, once that is known.
async fn known<T: Copy>(told: &watch::Sender<Option<T>>) -> T {
    let known = told.subscribe().wait_for(Option::is_some).await.ok().and_then(|known| *known);
    match known {
        Some(known) => known,
        // Cannot be: the sender is there.
        None => std::future::pending().await,
    }
}
