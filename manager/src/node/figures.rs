//! What a node counted and measured, for those who watch it. Handed out in small parts: packets wait while one is made.

use std::net::SocketAddr;
use std::ops::Bound;
use std::time::{Duration, Instant};

use festoon_dataplane::drop_reason::DropCounters;
use festoon_dataplane::forwarder::Neighbour;
use festoon_dataplane::liveness::Liveness;
use festoon_proto::{EndpointId, ManagerId};

use super::ManagerNode;
use super::tally::Tally;

/// What is not about a single endpoint.
#[derive(Debug, Clone)]
pub struct Figures {
    /// The other managers.
    pub others: Vec<Other>,
    /// How many endpoints it carries.
    pub carried: usize,
    /// Whether it takes no more.
    pub is_draining: bool,
    /// Packets it dropped.
    pub drops: DropCounters,
    /// What it saw happen.
    pub tally: Tally,
}

/// Another manager, and the link to it.
#[derive(Debug, Clone, Copy)]
pub struct Other {
    /// Which.
    pub id: ManagerId,
    /// Whether it can be reached, over whichever links.
    pub is_reachable: bool,
    /// How many endpoints it carries.
    pub carried: usize,
    /// Whether the link to it is up.
    pub is_up: bool,
    /// The link's round-trip time.
    pub rtt: Option<Duration>,
    /// Bytes of packets received over it.
    pub rx_bytes: u64,
    /// Bytes of packets sent over it.
    pub tx_bytes: u64,
}

/// An endpoint that is carried here.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    /// Which.
    pub id: EndpointId,
    /// How often it was attached here since the node started.
    pub attached: u32,
    /// How long ago anything came from it.
    pub heard_ago: Option<Duration>,
    /// Where from, last.
    pub from: Option<SocketAddr>,
    /// The age of its session.
    pub session_age: Option<Duration>,
    /// Bytes of packets received from it.
    pub rx_bytes: u64,
    /// Bytes of packets sent to it.
    pub tx_bytes: u64,
}

impl ManagerNode {
    pub(super) fn figures(&self) -> Figures {
        Figures {
            others: self.roster.managers().filter(|&id| id != self.me).map(|id| self.other(id)).collect(),
            carried: self.carried_here().len(),
            is_draining: self.draining,
            drops: self.forwarder.drops().clone(),
            tally: self.sightings.tally().clone(),
        }
    }

    fn other(&self, id: ManagerId) -> Other {
        let (link, stats) = (self.links.get(&id), self.forwarder.neighbour(Neighbour::Manager(id)));
        Other {
            id,
            is_reachable: self.mesh.is_reachable(id),
            carried: self.mesh.carried_by(id).len(),
            is_up: link.is_some_and(Liveness::is_alive),
            rtt: link.and_then(Liveness::rtt),
            rx_bytes: stats.map_or(0, |stats| stats.rx_bytes),
            tx_bytes: stats.map_or(0, |stats| stats.tx_bytes),
        }
    }

    /// At most `limit` of the endpoints that are carried here, those behind `after`, by id.
    pub(super) fn carried(&self, now: Instant, after: Option<EndpointId>, limit: usize) -> Vec<Carried> {
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let some = self.carried_here().range(behind).copied().filter(|id| self.roster.knows(*id));
        some.take(limit).map(|id| self.one_carried(now, id)).collect()
    }

    fn one_carried(&self, now: Instant, id: EndpointId) -> Carried {
        let stats = self.forwarder.neighbour(Neighbour::Endpoint(id));
        Carried {
            id,
            attached: self.roster.attached(id),
            heard_ago: stats.and_then(|stats| stats.last_heard).map(|at| now.saturating_duration_since(at)),
            from: stats.and_then(|stats| stats.underlay),
            session_age: stats.and_then(|stats| stats.session_age),
            rx_bytes: stats.map_or(0, |stats| stats.rx_bytes),
            tx_bytes: stats.map_or(0, |stats| stats.tx_bytes),
        }
    }
}
