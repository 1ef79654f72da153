//! Who may still take part: whoever was removed from the cluster may not, nor whoever was left behind in an earlier epoch.
//!
//! Epochs: when an admin promotes a manager that has lost its quorum, the cluster goes on in a later epoch, and whoever
//! was not there is fenced off until it gives up its own log and rejoins.

use std::sync::Arc;

use festoon_proto::epoch::EpochProof;
use festoon_proto::{EpochId, ManagerId};
use tokio::sync::watch;

use crate::message::{Rejection, Removal, SignedRemoval};
use crate::signer::Trust;
use crate::transfer::Heading;

/// In which epoch this manager is, and whether the cluster has gone on without it. A clone is the same fence.
#[derive(Debug, Clone)]
pub(crate) struct Fence {
    me: ManagerId,
    epoch: EpochId,
    trust: Trust,
    /// What the epoch that the cluster is in began with, once that is known to be a later one.
    later: Arc<watch::Sender<Option<EpochProof>>>,
    /// The removal of this manager, as one that is there says.
    removed: Arc<watch::Sender<Option<Removal>>>,
}

impl Fence {
    /// `later` was believed before, and outlives a restart.
    pub(crate) fn new(me: ManagerId, epoch: EpochId, trust: Trust, later: Option<EpochProof>) -> Self {
        let later = Arc::new(watch::Sender::new(later.filter(|later| later.epoch > epoch)));
        Self { me, epoch, trust, later, removed: Arc::default() }
    }

    /// As [`Trust::was_removed`].
    pub(crate) fn was_removed(&self, manager: ManagerId) -> bool {
        self.trust.was_removed(manager)
    }

    /// Whether a snapshot from this manager is taken.
    pub(crate) fn check_snapshot(&self, heading: &Heading, from: ManagerId) -> Result<(), Rejection> {
        let is_ours = heading.by == from && heading.epoch() == self.epoch;
        if is_ours && self.trust.may_send(heading) {
            return Ok(());
        }
        tracing::warn!(%from, "refused a snapshot of the registry: no full manager that this one knows has signed it");
        Err(Rejection::Unsigned)
    }

    /// As [`Trust::is_copy_behind`].
    pub(crate) fn is_copy_behind(&self) -> bool {
        self.trust.is_copy_behind()
    }

    /// The epoch of our log.
    pub(crate) const fn epoch(&self) -> EpochId {
        self.epoch
    }

    /// The later epoch that the cluster is in, if it is in one.
    pub(crate) fn later(&self) -> Option<EpochId> {
        self.later_proof().map(|proof| proof.epoch)
    }

    /// What that one began with.
    pub(crate) fn later_proof(&self) -> Option<EpochProof> {
        *self.later.borrow()
    }

    /// The cluster is in a later epoch, as somebody says. Nothing comes of that without a signature that this manager can
    /// check: whoever believes it takes no part any more.
    pub(crate) fn close(&self, proof: &EpochProof) {
        let is_news = |known: &Option<EpochProof>| {
            proof.epoch > self.epoch && known.is_none_or(|known| known.epoch < proof.epoch)
        };
        if !is_news(&self.later.borrow()) {
            return;
        }
        if let Err(error) = self.trust.check(proof) {
            return tracing::warn!(%error, "ignored a later epoch of the cluster that another manager announced without a valid proof");
        }
        self.later.send_if_modified(|later| {
            let is_news = is_news(later);
            if is_news {
                *later = Some(*proof);
            }
            is_news
        });
    }

    /// This manager was removed, as somebody says.
    pub(crate) fn remove(&self, removal: &SignedRemoval) {
        if removal.what.epoch < self.epoch {
            return;
        }
        match self.trust.believes(self.me, removal) {
            true => drop(self.removed.send_replace(Some(removal.what))),
            false => {
                let by = removal.by;
                tracing::warn!(%by, "ignored the message that this manager was removed: no full manager that this one knows has signed it");
            }
        }
    }

    /// Waits until this manager is told that it was removed. May be cancelled at any time.
    pub(crate) async fn removed(&self) -> Removal {
        known(&self.removed).await
    }

    /// Waits until the cluster has gone on without us. May be cancelled at any time.
    pub(crate) async fn closed(&self) -> EpochProof {
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
