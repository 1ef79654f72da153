//! The desired state of a simulated cluster: keys, addresses and the maps made of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use festoon_proto::map::{
    EndpointInfo, EndpointKind, EndpointMap, ManagerInfo, ManagerMap, MapVersion, NetworkInfo, Timing,
};
use festoon_proto::{ClusterId, EndpointId, ManagerId, NetworkId, PrivateKey};
use ipnet::IpNet;

const PORT: u16 = 51_820;
const VERSION: MapVersion = MapVersion(1);

/// What a cluster looks like.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The declared priority of each manager, the first being `m1`.
    pub priorities: Vec<u8>,
    /// Networks, all with the same prefixes. The agents of each have the same addresses, except the last.
    pub networks: u32,
    /// Agents in each network.
    pub agents: u8,
    /// How fast failover is.
    pub timing: Timing,
}

impl Layout {
    /// Two networks of `agents` each, and a manager for each priority.
    pub fn new(priorities: &[u8], agents: u8) -> Self {
        Self { priorities: priorities.to_vec(), networks: 2, agents, timing: Timing::default() }
    }
}

/// An endpoint that runs our agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Which.
    pub id: EndpointId,
    /// Where it belongs.
    pub network: NetworkId,
    /// Its addresses in the overlay, IPv4 first. An agent of another network may have the same.
    pub addresses: [IpAddr; 2],
    key: [u8; 32],
}

/// A cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    managers: Vec<ManagerInfo>,
    networks: Vec<NetworkInfo>,
    agents: Vec<Agent>,
    timing: Timing,
}

impl Cluster {
    /// The cluster of `layout`.
    pub fn new(layout: &Layout) -> Self {
        let networks: Vec<_> = (1..=layout.networks).map(network).collect();
        let agents = networks
            .iter()
            .flat_map(|network| (0..layout.agents).map(|index| (network.id, host_number(layout, network.id, index))))
            .zip(1..)
            .map(|((network, host), id)| agent(EndpointId(id), network, host))
            .collect();
        let managers = (1..).zip(&layout.priorities).map(|(id, &priority)| manager(ManagerId(id), priority)).collect();
        Self { managers, networks, agents, timing: layout.timing }
    }

    /// All managers.
    pub fn managers(&self) -> impl Iterator<Item = ManagerId> + '_ {
        self.managers.iter().map(|manager| manager.id)
    }

    /// All agents.
    pub fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// The agent that is this endpoint.
    pub fn agent(&self, id: EndpointId) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.id == id)
    }

    /// How fast failover is.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Every ordered pair of endpoints that share a network.
    pub fn pairs(&self) -> Vec<(EndpointId, EndpointId)> {
        let pairs = self.agents.iter().flat_map(|from| self.agents.iter().map(move |to| (from, to)));
        pairs.filter(|(from, to)| from.id != to.id && from.network == to.network).map(|(a, b)| (a.id, b.id)).collect()
    }

    /// The endpoint in `network` that has this overlay address.
    pub fn owner(&self, network: NetworkId, address: IpAddr) -> Option<EndpointId> {
        let owns = |agent: &&Agent| agent.network == network && agent.addresses.contains(&address);
        self.agents.iter().find(owns).map(|agent| agent.id)
    }

    /// The key of a manager.
    pub fn manager_key(id: ManagerId) -> PrivateKey {
        PrivateKey::from_bytes(key_bytes(1, u64::from(id.0)))
    }

    /// The key of an agent.
    pub fn agent_key(agent: &Agent) -> PrivateKey {
        PrivateKey::from_bytes(agent.key)
    }

    /// Where a manager is reached. `m2` has only IPv6.
    pub fn manager_address(id: ManagerId) -> SocketAddr {
        let ip = match id.0 {
            2 => IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
            other => IpAddr::from(Ipv4Addr::new(192, 0, 2, other as u8)),
        };
        SocketAddr::new(ip, PORT)
    }

    /// The map of a manager.
    pub fn manager_map(&self, manager: ManagerId) -> ManagerMap {
        ManagerMap {
            version: VERSION,
            manager,
            networks: self.networks.clone(),
            endpoints: self.agents.iter().map(endpoint_info).collect(),
            managers: self.managers.clone(),
            managers_changed: VERSION,
            timing: self.timing,
        }
    }

    /// The map of an agent.
    pub fn endpoint_map(&self, agent: &Agent) -> Arc<EndpointMap> {
        Arc::new(EndpointMap {
            version: VERSION,
            cluster: ClusterId([7; 16]),
            endpoint: agent.id,
            name: agent.id.to_string(),
            network: network(agent.network.0),
            addresses: agent.addresses.to_vec(),
            managers: self.managers.clone(),
            authorities: Vec::new(),
            timing: self.timing,
        })
    }
}

fn key_bytes(kind: u8, id: u64) -> [u8; 32] {
    let mut bytes = [kind; 32];
    bytes[8..16].copy_from_slice(&id.to_be_bytes());
    bytes
}

fn network(id: u32) -> NetworkInfo {
    let v4 = IpNet::new_assert(Ipv4Addr::new(172, 31, 0, 0).into(), 16);
    let v6 = IpNet::new_assert(overlay_v6(0).into(), 64);
    NetworkInfo {
        id: NetworkId(id),
        name: format!("network {id}"),
        prefixes: vec![v4, v6],
        gateways: vec![Ipv4Addr::new(172, 31, 0, 1).into(), overlay_v6(1).into()],
        mtu: 1380,
        changed: VERSION,
    }
}

fn overlay_v6(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd31, 0, 0, 0, 0, 0, 0, host)
}

fn host_number(layout: &Layout, network: NetworkId, index: u8) -> u8 {
    if index + 1 == layout.agents { 100 + network.0 as u8 } else { 10 + index }
}

fn agent(id: EndpointId, network: NetworkId, host: u8) -> Agent {
    let addresses = [Ipv4Addr::new(172, 31, 0, host).into(), overlay_v6(host.into()).into()];
    Agent { id, network, addresses, key: key_bytes(2, id.0) }
}

fn manager(id: ManagerId, priority: u8) -> ManagerInfo {
    ManagerInfo {
        id,
        name: id.to_string(),
        public_key: Cluster::manager_key(id).public_key(),
        previous_key: None,
        underlay: vec![Cluster::manager_address(id)],
        https: Vec::new(),
        priority,
    }
}

fn endpoint_info(agent: &Agent) -> EndpointInfo {
    EndpointInfo {
        id: agent.id,
        name: agent.id.to_string(),
        network: agent.network,
        public_key: Cluster::agent_key(agent).public_key(),
        previous_key: None,
        kind: EndpointKind::Agent,
        allowed: agent.addresses.iter().map(|&address| IpNet::from(address)).collect(),
        changed: VERSION,
    }
}
