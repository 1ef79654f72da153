//! What the node says of itself.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use festoon_dataplane::liveness::Liveness;
use festoon_proto::map::ManagerInfo;
use festoon_proto::signal::ManagerState;
use festoon_proto::{Generation, ManagerId};
use serde::{Deserialize, Serialize};

use super::EndpointNode;
use super::measure::micros;

/// The node, now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Of the attachment.
    pub generation: Generation,
    /// The manager that carries the endpoint.
    pub active: Option<ManagerId>,
    /// All managers of the map.
    pub managers: Vec<ManagerStatus>,
    /// Overlay bytes received.
    pub rx_bytes: u64,
    /// Overlay bytes sent.
    pub tx_bytes: u64,
    /// How often another manager took over, by the word for the reason.
    pub moves: Vec<(String, u64)>,
    /// How often no manager answered any more.
    pub losses: u64,
    /// Dropped packets by reason.
    pub drops: Vec<(String, u64)>,
}

/// A manager as the endpoint sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerStatus {
    /// Its id.
    pub id: ManagerId,
    /// Its name.
    pub name: String,
    /// What it is to the endpoint.
    pub state: UplinkState,
    /// Round-trip time in microseconds.
    pub rtt_us: Option<u32>,
    /// Milliseconds since anything came from it.
    pub heard_ms_ago: Option<u64>,
    /// Milliseconds since the last handshake.
    pub handshake_ms_ago: Option<u64>,
    /// The address its tunnel uses.
    pub underlay: Option<SocketAddr>,
    /// Our own address, as it last told us to see it.
    pub observed: Option<SocketAddr>,
}

/// What a manager is to the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UplinkState {
    /// It carries the endpoint.
    Active,
    /// A spare with a live session.
    Warm,
    /// It does not answer.
    Down,
    /// It answers again, but not for long enough.
    HoldDown,
    /// It is about to stop.
    Draining,
    /// Not used now.
    Idle,
}

impl fmt::Display for UplinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Warm => "warm",
            Self::Down => "down",
            Self::HoldDown => "hold-down",
            Self::Draining => "draining",
            Self::Idle => "idle",
        })
    }
}

impl EndpointNode {
    pub(super) fn status(&self, now: Instant) -> Status {
        let peers = self.map.managers.iter().filter_map(|manager| self.forwarder.peer(manager.id));
        let (rx_bytes, tx_bytes) = peers.fold((0, 0), |(rx, tx), peer| (rx + peer.rx_bytes(), tx + peer.tx_bytes()));
        Status {
            generation: self.uplink.generation(),
            active: self.uplink.active(),
            managers: self.map.managers.iter().map(|manager| self.manager_status(now, manager)).collect(),
            rx_bytes,
            tx_bytes,
            moves: self.moves.iter().map(|(reason, count)| (reason.word().to_owned(), *count)).collect(),
            losses: self.losses,
            drops: self.forwarder.drops().nonzero().map(|(reason, count)| (reason.to_string(), count)).collect(),
        }
    }

    fn manager_status(&self, now: Instant, info: &ManagerInfo) -> ManagerStatus {
        let peer = self.forwarder.peer(info.id);
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let rtt = self.liveness.get(&info.id).and_then(Liveness::rtt);
        let heard = peer.and_then(|peer| peer.last_heard());
        ManagerStatus {
            id: info.id,
            name: info.name.clone(),
            state: self.uplink_state(now, info.id),
            rtt_us: rtt.map(micros),
            heard_ms_ago: heard.map(|at| millis(now.saturating_duration_since(at))),
            handshake_ms_ago: peer.and_then(|peer| peer.session_age()).map(millis),
            underlay: peer.and_then(|peer| peer.underlay()),
            observed: self.observed.get(&info.id).copied(),
        }
    }

    fn uplink_state(&self, now: Instant, manager: ManagerId) -> UplinkState {
        if !self.liveness.get(&manager).is_some_and(Liveness::is_alive) {
            UplinkState::Down
        } else if self.uplink.state_of(manager) == Some(ManagerState::Draining) {
            UplinkState::Draining
        } else if self.uplink.active() == Some(manager) {
            UplinkState::Active
        } else if self.uplink.is_held(now, manager) {
            UplinkState::HoldDown
        } else {
            UplinkState::Warm
        }
    }
}
