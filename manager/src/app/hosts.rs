//! Has the HTTPS listener tell the hosts of agents from strangers by their tunnels: also after a start, before any of them has asked
//! anything.
//!
//! Task: [`know_agents`]. It may be cancelled at any point: what it tells is told again in the next round.

use std::time::Duration;

use crate::driver::{NodeHandle, Stopped};
use crate::https::KnownHosts;
use crate::node::Carried;

/// How often all tunnels are looked at.
const EVERY: Duration = Duration::from_secs(10);
/// Endpoints at a time: the packet loop waits for nobody.
const PAGE: usize = 256;

/// Ends when the node does; never without one.
pub(super) async fn know_agents(node: Option<NodeHandle>, known: KnownHosts) -> anyhow::Error {
    let Some(node) = node else { return std::future::pending().await };
    loop {
        if let Err(stopped) = note_all(&node, &known).await {
            return stopped.into();
        }
        // Tunnels are looked at in rounds: the packet loop has better to do than to tell where each packet comes from.
        tokio::time::sleep(EVERY).await;
    }
}

async fn note_all(node: &NodeHandle, known: &KnownHosts) -> Result<(), Stopped> {
    let mut last = None;
    loop {
        let part = node.carried(last, PAGE).await?;
        let Some(end) = part.last() else { return Ok(()) };
        last = Some(end.id);
        part.iter().filter_map(heard_from).for_each(|host| known.note(host));
    }
}

/// Where an endpoint is, if its tunnel said so since the last round.
fn heard_from(endpoint: &Carried) -> Option<std::net::IpAddr> {
    endpoint.from.filter(|_| endpoint.heard_ago.is_some_and(|ago| ago <= EVERY)).map(|from| from.ip())
}
