//! Who may still take part: whoever was removed from the cluster may not, nor whoever was left behind in an earlier epoch.
//!
//! Epochs: when an admin promotes a manager that has lost its quorum, the cluster goes on in a later epoch, and whoever
//! was not there is fenced off until it gives up its own log and rejoins.

use std::sync::Arc;

use festoon_proto::EpochId;
use tokio::sync::watch;

/// In which epoch this manager is, and whether the cluster has gone on without it. A clone is the same fence.
#[derive(Debug, Clone)]
pub(crate) struct Fence {
    epoch: EpochId,
    /// The epoch the cluster is in, once that is known to be a later one.
    later: Arc<watch::Sender<Option<EpochId>>>,
    /// Whether this manager was removed, as one that was not says.
    removed: Arc<watch::Sender<bool>>,
}

impl Fence {
    pub(crate) fn new(epoch: EpochId) -> Self {
        Self { epoch, later: Arc::new(watch::Sender::new(None)), removed: Arc::new(watch::Sender::new(false)) }
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
    pub(crate) fn remove(&self) {
        self.removed.send_replace(true);
    }

    /// Waits until this manager is told that it was removed. May be cancelled at any time.
    pub(crate) async fn removed(&self) {
        // Cannot end: `self` holds the sender.
        if self.removed.subscribe().wait_for(|removed| *removed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the cluster has gone on without us. May be cancelled at any time.
    pub(crate) async fn closed(&self) -> EpochId {
        let mut later = self.later.subscribe();
        // Cannot end: `self` holds the sender.
        match later.wait_for(Option::is_some).await.ok().and_then(|later| *later) {
            Some(epoch) => epoch,
            None => std::future::pending().await,
        }
    }
}
