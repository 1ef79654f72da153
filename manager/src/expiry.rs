//! Has what is past forgotten: keys before, tokens, addresses that wait for an endpoint.
//!
//! Task: [`keep_forgetting`]. It may be cancelled at any point: what is due stays due.

use std::time::Duration;

use festoon_control::registry::{Command, UnixMs};

use crate::cluster::{Cluster, Role};

/// How long the clock is believed to go as it should: it may be set meanwhile.
const LOOK: Duration = Duration::from_secs(60);
/// What is due within this is forgotten in one go. Also how soon a new leader sees that it is its turn.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs on every manager; the one that leads acts, by the time of the cluster. Ends with the registry.
pub async fn keep_forgetting(cluster: Cluster) {
    let mut states = cluster.watch();
    loop {
        let next = states.borrow_and_update().next_expiry();
        let pause = match wait(next, cluster.now()) {
            Duration::ZERO => {
                forget(&cluster).await;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            wait => wait,
        };
        if let Ok(Err(_)) = tokio::time::timeout(pause, states.changed()).await {
            return;
        }
    }
}

/// How long to wait for what is due `next`.
fn wait(next: Option<UnixMs>, now: UnixMs) -> Duration {
    next.map_or(LOOK, |at| Duration::from_millis(at.0.saturating_sub(now.0)).min(LOOK))
}

async fn forget(cluster: &Cluster) {
    let health = cluster.health();
    // A witness only votes; it gives the lead to a full manager as soon as there is one.
    let is_full = cluster.snapshot().manager(health.me.manager).is_some_and(|me| me.is_full());
    if (health.role, is_full) == (Role::Leader, true)
        && let Err(error) = cluster.propose(Command::Expire(cluster.now())).await
    {
        tracing::debug!(%error, "what is past is not forgotten yet");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_past_is_due_and_a_clock_is_not_believed_for_long() {
        assert_eq!(wait(Some(UnixMs(5)), UnixMs(5)), Duration::ZERO);
        assert_eq!(wait(Some(UnixMs(5)), UnixMs(9)), Duration::ZERO);
        assert_eq!(wait(Some(UnixMs(1005)), UnixMs(5)), Duration::from_secs(1));
        assert_eq!(wait(Some(UnixMs(u64::MAX)), UnixMs(5)), LOOK);
        assert_eq!(wait(None, UnixMs(5)), LOOK);
    }
}
