//! How a node is doing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use festoon_control::mesh::Route;
use festoon_dataplane::forwarder::Neighbour;
use festoon_dataplane::liveness::Liveness;
use festoon_proto::signal::ManagerState;
use festoon_proto::{Attachment, EndpointId, ManagerId};
use serde::Serialize;

use super::ManagerNode;

/// How a node is doing.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    /// All managers.
    pub managers: Vec<ManagerStatus>,
    /// The endpoints that were asked for, by id.
    pub endpoints: Vec<EndpointStatus>,
    /// Packets dropped, by reason.
    pub drops: Vec<(String, u64)>,
    /// Whether it takes no more endpoints.
    pub draining: bool,
}

/// How a manager is doing, seen from here.
#[derive(Debug, Clone, Serialize)]
pub struct ManagerStatus {
    /// Which.
    pub id: ManagerId,
    /// `serving`, `draining` or `down`.
    pub state: &'static str,
    /// Round-trip time of the link.
    pub rtt_us: Option<u32>,
    /// Whether there is a direct link that is up.
    pub direct: bool,
    /// Over which manager it is reached.
    pub next_hop: Option<ManagerId>,
    /// How many endpoints it carries.
    pub endpoints: usize,
}

/// How an endpoint is doing, seen from here.
#[derive(Debug, Clone, Serialize)]
pub struct EndpointStatus {
    /// Which.
    pub id: EndpointId,
    /// Who carries it.
    pub attachment: Option<Attachment>,
    /// Its underlay address.
    pub underlay: Option<SocketAddr>,
    /// How old its session is.
    pub last_handshake_ms_ago: Option<u64>,
    /// Bytes received from it.
    pub rx_bytes: u64,
    /// Bytes sent to it.
    pub tx_bytes: u64,
    /// How long ago anything came from it.
    pub heard_ms_ago: Option<u64>,
}

impl ManagerNode {
    /// With the endpoints of `ids` that there are: packets wait while this is made, and there may be 100,000.
    pub(super) fn status(&self, now: Instant, ids: &[EndpointId]) -> Status {
        let known = ids.iter().filter(|id| self.roster.knows(**id));
        Status {
            managers: self.roster.managers().map(|manager| self.manager_status(manager)).collect(),
            endpoints: known.map(|id| self.endpoint_status(now, *id)).collect(),
            drops: self.forwarder.drops().nonzero().map(|(reason, count)| (reason.to_string(), count)).collect(),
            draining: self.draining,
        }
    }

    fn manager_status(&self, id: ManagerId) -> ManagerStatus {
        let link = self.links.get(&id);
        let is_here = id == self.me;
        let state = if is_here { Some(self.own_state()) } else { self.mesh.state_of(id) };
        ManagerStatus {
            id,
            state: match state {
                Some(_) if !is_here && !self.mesh.is_reachable(id) => "down",
                Some(ManagerState::Serving) => "serving",
                Some(ManagerState::Draining) => "draining",
                None => "down",
            },
            rtt_us: link.and_then(Liveness::rtt).map(|rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)),
            direct: link.is_some_and(Liveness::is_alive),
            next_hop: if is_here { None } else { self.mesh.next_hop(id) },
            endpoints: self.mesh.carried_by(id).len(),
        }
    }

    fn own_state(&self) -> ManagerState {
        if self.draining { ManagerState::Draining } else { ManagerState::Serving }
    }

    fn endpoint_status(&self, now: Instant, id: EndpointId) -> EndpointStatus {
        let stats = self.forwarder.neighbour(Neighbour::Endpoint(id));
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let heard = stats.and_then(|stats| stats.last_heard);
        EndpointStatus {
            id,
            attachment: self.mesh.attachment(id).filter(|_| self.mesh.route_to(id) != Route::Unattached),
            underlay: stats.and_then(|stats| stats.underlay),
            last_handshake_ms_ago: stats.and_then(|stats| stats.session_age).map(millis),
            rx_bytes: stats.map_or(0, |stats| stats.rx_bytes),
            tx_bytes: stats.map_or(0, |stats| stats.tx_bytes),
            heard_ms_ago: heard.map(|at| millis(now.saturating_duration_since(at))),
        }
    }
}
