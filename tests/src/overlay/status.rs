//! What `festoon status --json` and `festoon-manager status --json` say, as far as scenarios ask: read as anybody's script
//! would, not through the programs' own types.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

/// From an agent.
#[derive(Debug, Clone, Deserialize)]
pub struct AgentStatus {
    /// The overlay's network interface.
    pub interface: String,
    /// The UDP port of its tunnels.
    pub listen_port: u16,
    /// The overlay addresses.
    pub addresses: Vec<IpAddr>,
    /// Its WireGuard identity.
    pub public_key: String,
    /// The version of its map.
    pub map_version: u64,
    /// What an admin should look at.
    pub problems: Vec<String>,
    /// What its owner should know of routes.
    pub notes: Vec<Note>,
    /// The agent's routing table.
    pub routing_table: u32,
    /// Of its attachment.
    pub generation: u64,
    /// The id of the manager that carries it.
    pub active: Option<u16>,
    /// All managers it knows.
    pub managers: Vec<Uplink>,
    /// Dropped packets by reason.
    pub drops: Vec<(String, u64)>,
}

/// Something to know of routes.
#[derive(Debug, Clone, Deserialize)]
pub struct Note {
    /// `foreign_route`, `shadowed`, `refused_route` or `closed_bridge`.
    pub code: String,
    /// What it is about.
    pub prefix: String,
}

/// A manager, seen from an agent.
#[derive(Debug, Clone, Deserialize)]
pub struct Uplink {
    /// Its id.
    pub id: u16,
    /// `active`, `warm`, `down`, `hold_down`, `draining` or `idle`.
    pub state: String,
    /// Milliseconds since anything came from it.
    pub heard_ms_ago: Option<u64>,
    /// The address its tunnel uses.
    pub underlay: Option<SocketAddr>,
    /// The agent's own address, as it sees it.
    pub observed: Option<SocketAddr>,
}

impl Uplink {
    /// Whether it could carry the endpoint at once, if nothing better is left.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(&*self.state, "active" | "warm" | "hold_down")
    }
}

impl AgentStatus {
    /// Packets it dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: &str) -> u64 {
        self.drops.iter().filter(|(label, _)| label == reason).map(|(_, count)| count).sum()
    }
}

/// From a manager.
#[derive(Debug, Clone, Deserialize)]
pub struct ManagerStatus {
    /// Its id.
    pub manager: u16,
    /// How the registry is doing.
    pub registry: Registry,
    /// The last change it knows of.
    pub version: u64,
    /// All managers.
    pub managers: Vec<Neighbour>,
    /// How many endpoints there are.
    pub endpoint_count: usize,
    /// The first of them.
    pub endpoints: Vec<Endpoint>,
    /// Packets it dropped, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// The registry, as its leader knows it, or as the manager that was asked does.
#[derive(Debug, Clone, Deserialize)]
pub struct Registry {
    /// Who leads, if anybody.
    pub leader: Option<MemberId>,
    /// All managers that take part.
    pub members: Vec<Member>,
}

/// A manager in the registry's consensus.
#[derive(Debug, Clone, Deserialize)]
pub struct MemberId {
    /// Its id.
    pub manager: u16,
}

/// A manager's part in the registry's consensus.
#[derive(Debug, Clone, Deserialize)]
pub struct Member {
    /// Which.
    pub id: MemberId,
    /// Whether it votes.
    pub votes: bool,
    /// Whether it was heard lately.
    pub is_heard: bool,
    /// Changes that it does not have yet.
    pub lag: Option<u64>,
}

/// A manager, seen from a manager.
#[derive(Debug, Clone, Deserialize)]
pub struct Neighbour {
    /// Its id.
    pub id: u16,
    /// `serving`, `draining` or `down`.
    pub state: String,
    /// Whether there is a direct link that is up.
    pub direct: bool,
    /// Over which manager it is reached.
    pub next_hop: Option<u16>,
}

/// An endpoint, seen from a manager.
#[derive(Debug, Clone, Deserialize)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// The name of its network.
    pub network: String,
    /// Its addresses in the overlay.
    pub addresses: Vec<IpAddr>,
    /// The id of the manager that carries it.
    pub manager: Option<u16>,
}

/// An endpoint, as `festoon-manager endpoints list -o json` has it.
#[derive(Debug, Clone, Deserialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its addresses in the overlay.
    pub addresses: Vec<IpAddr>,
}

impl ManagerStatus {
    /// The id of the manager that carries an endpoint, as far as this one knows.
    #[must_use]
    pub fn carrier(&self, endpoint: &str) -> Option<u16> {
        self.endpoints.iter().find(|row| row.name == endpoint)?.manager
    }

    /// Packets it dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: &str) -> u64 {
        self.drops.get(reason).copied().unwrap_or(0)
    }
}
