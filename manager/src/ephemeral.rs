//! Endpoints that are to go when they leave: those that came in with an ephemeral token.
//!
//! Whether an endpoint is there is soft state, so no manager can say alone when one left. The leader of the registry looks
//! now and then, and removes those that it has seen nowhere for a while. Another that leads begins to count anew.

use std::collections::BTreeMap;
use std::time::Duration;

use festoon_control::registry::{Command, RemoveEndpoint};
use festoon_proto::EndpointId;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cluster::{Cluster, Role};
use crate::driver::NodeHandle;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(10);
/// How long an endpoint may be away: a host may be restarted meanwhile, and a manager lost.
const AWAY: Duration = Duration::from_secs(300);

/// Removes ephemeral endpoints that have left. Ends only with the node.
pub async fn keep_removing(cluster: Cluster, node: NodeHandle) {
    let mut away = Away::default();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = looks.tick().await;
        if cluster.health().role != Role::Leader {
            away = Away::default();
            continue;
        }
        let state = cluster.snapshot();
        let ids = state.endpoints().filter(|endpoint| endpoint.is_ephemeral).map(|endpoint| endpoint.id).collect();
        let Ok(status) = node.status(ids).await else { return };
        let absent = status.endpoints.iter().filter(|seen| seen.attachment.is_none()).map(|seen| seen.id);
        for endpoint in away.see(now, absent) {
            let command = Command::RemoveEndpoint(RemoveEndpoint { endpoint, now: cluster.now() });
            match cluster.propose(command).await {
                Ok(_) => tracing::info!(%endpoint, "an ephemeral endpoint has left, and is removed"),
                Err(error) => tracing::debug!(%endpoint, %error, "an ephemeral endpoint is not removed yet"),
            }
        }
    }
}

/// Since when endpoints are away.
#[derive(Debug, Default)]
struct Away(BTreeMap<EndpointId, Instant>);

impl Away {
    /// Notes who is away now, and says who has been for too long.
    fn see(&mut self, now: Instant, absent: impl Iterator<Item = EndpointId>) -> Vec<EndpointId> {
        let before = std::mem::take(&mut self.0);
        self.0.extend(absent.map(|id| (id, before.get(&id).copied().unwrap_or(now))));
        self.0.iter().filter(|(_, since)| now.duration_since(**since) >= AWAY).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_in_time_stays() {
        let mut away = Away::default();
        let start = Instant::now();
        let mut see = |after: u64, ids: &[u64]| {
            let gone = away.see(start + Duration::from_secs(after), ids.iter().copied().map(EndpointId));
            gone.into_iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(see(0, &[1, 2, 3]), [0_u64; 0]);
        assert_eq!(see(200, &[1, 3]), [0_u64; 0]);
        assert_eq!(see(299, &[1, 2, 3]), [0_u64; 0]);
        assert_eq!(see(300, &[1, 2, 3]), [1, 3]);
        assert_eq!(see(499, &[1, 2]), [1], "one that could not be removed is tried again");
        assert_eq!(see(599, &[2]), [2]);
    }
}
