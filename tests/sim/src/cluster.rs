//! The desired state of a simulated cluster: keys, addresses and the maps made of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use festoon_proto::map::{
    EndpointInfo, EndpointKind, EndpointMap, ManagerInfo, ManagerMap, MapVersion, NetworkInfo, Timing,
};
use festoon_proto::{ClusterId, EndpointId, EpochId, ManagerId, NetworkId, PrivateKey, PublicKey, VerifyingKey};
use ipnet::IpNet;

use crate::world::NodeId;

const PORT: u16 = 51_820;
const FIRST: MapVersion = MapVersion(1);

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
}

/// How often the key of a node has changed, and whether the one before is good too.
#[derive(Debug, Clone, Copy, Default)]
struct Keys {
    changes: u8,
    overlap: bool,
}

/// A cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    managers: Vec<ManagerInfo>,
    networks: Vec<NetworkInfo>,
    agents: Vec<Agent>,
    timing: Timing,
    version: MapVersion,
    /// Of the nodes whose key was not always the same.
    keys: BTreeMap<NodeId, Keys>,
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
        Self { managers, networks, agents, timing: layout.timing, version: FIRST, keys: BTreeMap::new() }
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

    /// The key of a node, and the one before while that is good too.
    pub fn keys(&self, node: NodeId) -> (PrivateKey, Option<PrivateKey>) {
        let Keys { changes, overlap } = self.keys.get(&node).copied().unwrap_or_default();
        let former = changes.checked_sub(1).filter(|_| overlap);
        (key(node, changes), former.map(|changes| key(node, changes)))
    }

    /// A node has another key. The one before is good until [`Cluster::forget_key`].
    pub fn new_key(&mut self, node: NodeId) {
        let keys = self.keys.entry(node).or_default();
        *keys = Keys { changes: keys.changes.wrapping_add(1), overlap: true };
        self.version.0 += 1;
    }

    /// The key of a node before its key of now is no longer good.
    pub fn forget_key(&mut self, node: NodeId) {
        self.keys.entry(node).or_default().overlap = false;
        self.version.0 += 1;
    }

    fn public_keys(&self, node: NodeId) -> (PublicKey, Option<PublicKey>) {
        let (key, former) = self.keys(node);
        (key.public_key(), former.map(|former| former.public_key()))
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
            version: self.version,
            manager,
            networks: self.networks.clone(),
            endpoints: self.agents.iter().map(|agent| self.endpoint_info(agent)).collect(),
            managers: self.manager_infos(),
            managers_changed: self.version,
            timing: self.timing,
        }
    }

    fn endpoint_info(&self, agent: &Agent) -> EndpointInfo {
        let (public_key, previous_key) = self.public_keys(NodeId::Endpoint(agent.id));
        EndpointInfo {
            id: agent.id,
            name: agent.id.to_string(),
            network: agent.network,
            public_key,
            previous_key,
            kind: EndpointKind::Agent,
            allowed: agent.addresses.iter().map(|&address| IpNet::from(address)).collect(),
            changed: self.version,
        }
    }

    fn manager_infos(&self) -> Vec<ManagerInfo> {
        let with_keys = |manager: &ManagerInfo| {
            let (public_key, previous_key) = self.public_keys(NodeId::Manager(manager.id));
            ManagerInfo { public_key, previous_key, ..manager.clone() }
        };
        self.managers.iter().map(with_keys).collect()
    }

    /// The map of an agent.
    pub fn endpoint_map(&self, agent: &Agent) -> Arc<EndpointMap> {
        Arc::new(EndpointMap {
            version: self.version,
            cluster: ClusterId([7; 16]),
            endpoint: agent.id,
            name: agent.id.to_string(),
            network: network(agent.network.0),
            addresses: agent.addresses.to_vec(),
            given: Vec::new(),
            routes: Vec::new(),
            own_routes: Vec::new(),
            is_key_due: false,
            managers: self.manager_infos(),
            epoch: EpochId::FIRST,
            recovery_key: None,
            authorities: Vec::new(),
            timing: self.timing,
        })
    }
}

fn key(node: NodeId, changes: u8) -> PrivateKey {
    let (kind, id) = match node {
        NodeId::Manager(id) => (1, u64::from(id.0)),
        NodeId::Endpoint(id) => (2, id.0),
    };
    let mut bytes = [kind; 32];
    bytes[8..16].copy_from_slice(&id.to_be_bytes());
    bytes[16] = bytes[16].wrapping_add(changes);
    PrivateKey::from_bytes(bytes)
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
        changed: FIRST,
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
    Agent { id, network, addresses }
}

fn manager(id: ManagerId, priority: u8) -> ManagerInfo {
    ManagerInfo {
        id,
        name: id.to_string(),
        public_key: key(NodeId::Manager(id), 0).public_key(),
        previous_key: None,
        signing_key: VerifyingKey([0; 32]),
        underlay: vec![Cluster::manager_address(id)],
        https: Vec::new(),
        priority,
    }
}
