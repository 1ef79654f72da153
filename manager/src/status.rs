//! How this manager and its cluster are doing: the registry and the node in one report.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use festoon_control::registry::{AddressRange, Endpoint, Manager, Network, State};
use festoon_proto::map::EndpointKind;
use festoon_proto::{EndpointId, Generation, ManagerId, NetworkId};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::cluster::Health;
use crate::node::{EndpointStatus, Status};
use crate::snapshot::Standing;

/// The most endpoints that a report names. A report of 100,000 would take seconds and 40 MB.
pub const MOST_ROWS: usize = 1000;

/// The report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The cluster.
    pub cluster: String,
    /// The manager that reports.
    pub manager: ManagerId,
    /// Whether it is about to stop.
    pub draining: bool,
    /// How the registry is doing.
    pub registry: Health,
    /// The last change it knows of.
    pub version: u64,
    /// All networks.
    pub networks: Vec<NetworkRow>,
    /// All managers.
    pub managers: Vec<ManagerRow>,
    /// How many endpoints there are.
    pub endpoint_count: usize,
    /// Those on the page that was asked for, by id.
    pub endpoints: Vec<EndpointRow>,
    /// How the snapshots of this manager are doing.
    pub snapshots: Option<Standing>,
    /// Packets this manager dropped, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// A network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NetworkRow {
    /// Its id.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// Its prefixes.
    pub prefixes: Vec<IpNet>,
    /// Addresses that endpoints get only when an admin names them.
    pub reserved: Vec<AddressRange>,
    /// The largest packet in bytes.
    pub mtu: u16,
    /// How many endpoints it has.
    pub endpoints: usize,
}

/// A manager.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ManagerRow {
    /// Its id.
    pub id: ManagerId,
    /// Its name.
    pub name: String,
    /// `serving`, `draining`, `down`, `witness`; `unknown` to a witness, which has no links.
    pub state: String,
    /// Declared preference.
    pub priority: u8,
    /// Where its tunnels are reached.
    pub underlay: Vec<SocketAddr>,
    /// Where its HTTPS listener is reached.
    pub https: Vec<SocketAddr>,
    /// Round-trip time of the link, in microseconds.
    pub rtt_us: Option<u32>,
    /// Whether there is a direct link that is up.
    pub direct: bool,
    /// Over which manager it is reached.
    pub next_hop: Option<ManagerId>,
    /// How many endpoints it carries.
    pub endpoints: usize,
}

/// An endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndpointRow {
    /// Its id.
    pub id: EndpointId,
    /// Its name.
    pub name: String,
    /// What runs on it.
    pub kind: EndpointKind,
    /// The name of its network.
    pub network: String,
    /// Its addresses in the overlay.
    pub addresses: Vec<IpAddr>,
    /// Its WireGuard identity.
    pub public_key: String,
    /// The manager that carries it.
    pub manager: Option<ManagerId>,
    /// Since which generation.
    pub generation: Option<Generation>,
    /// Where it is in the underlay, if this manager has heard from it.
    pub underlay: Option<SocketAddr>,
    /// How long ago its session with this manager was made, in milliseconds.
    pub last_handshake_ms_ago: Option<u64>,
    /// How long ago this manager heard from it, in milliseconds.
    pub heard_ms_ago: Option<u64>,
    /// Bytes this manager received from it.
    pub rx_bytes: u64,
    /// Bytes this manager sent to it.
    pub tx_bytes: u64,
}

/// Which endpoints a report names: `limit` of them behind `after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The last one on the page before; none for the first page.
    pub after: Option<EndpointId>,
    /// How many, at most [`MOST_ROWS`].
    #[serde(default = "most_rows")]
    pub limit: usize,
}

const fn most_rows() -> usize {
    MOST_ROWS
}

impl Page {
    /// The endpoints on it.
    fn rows(self, state: &State) -> impl Iterator<Item = &Endpoint> {
        state.endpoints_after(self.after).take(self.limit.min(MOST_ROWS))
    }

    /// The ids on it.
    pub fn ids(self, state: &State) -> Vec<EndpointId> {
        self.rows(state).map(|endpoint| endpoint.id).collect()
    }
}

/// The report of `manager`, with the endpoints of a page.
pub fn report(state: &State, manager: ManagerId, registry: Health, node: Option<&Status>, page: Page) -> Report {
    let nothing = Status::default();
    let carries = node.is_some();
    let node = node.unwrap_or(&nothing);
    let known: BTreeMap<_, _> = node.endpoints.iter().map(|endpoint| (endpoint.id, endpoint)).collect();
    Report {
        cluster: state.cluster().map(|cluster| cluster.to_string()).unwrap_or_default(),
        manager,
        draining: node.draining,
        registry,
        version: state.version().0,
        networks: networks(state),
        managers: state.managers().map(|row| manager_row(row, manager, node, carries)).collect(),
        endpoint_count: state.endpoint_count(),
        endpoints: page.rows(state).map(|row| endpoint_row(state, row, known.get(&row.id).copied())).collect(),
        snapshots: None,
        drops: node.drops.iter().filter(|(_, count)| *count > 0).cloned().collect(),
    }
}

/// All networks.
pub fn networks(state: &State) -> Vec<NetworkRow> {
    let mut endpoints = BTreeMap::<_, usize>::new();
    state.endpoints().for_each(|endpoint| *endpoints.entry(endpoint.network).or_default() += 1);
    let row = |network: &Network| NetworkRow {
        id: network.id,
        name: network.name.clone(),
        prefixes: network.prefixes.iter().map(|prefix| prefix.net).collect(),
        reserved: network.reserved.clone(),
        mtu: network.mtu,
        endpoints: endpoints.get(&network.id).copied().unwrap_or_default(),
    };
    state.networks().map(row).collect()
}

fn manager_row(manager: &Manager, me: ManagerId, node: &Status, carries: bool) -> ManagerRow {
    let seen = node.managers.iter().find(|seen| seen.id == manager.id);
    let state = match seen {
        _ if !manager.is_full() => "witness",
        _ if !carries => "unknown",
        Some(seen) => seen.state,
        None if manager.id != me => "down",
        None if node.draining => "draining",
        None => "serving",
    };
    ManagerRow {
        id: manager.id,
        name: manager.name.clone(),
        state: state.to_owned(),
        priority: manager.priority,
        underlay: manager.underlay.clone(),
        https: manager.https.clone(),
        rtt_us: seen.and_then(|seen| seen.rtt_us),
        direct: seen.is_some_and(|seen| seen.direct),
        next_hop: seen.and_then(|seen| seen.next_hop),
        endpoints: seen.map_or(0, |seen| seen.endpoints),
    }
}

fn endpoint_row(state: &State, endpoint: &Endpoint, seen: Option<&EndpointStatus>) -> EndpointRow {
    let attachment = seen.and_then(|seen| seen.attachment);
    EndpointRow {
        id: endpoint.id,
        name: endpoint.name.to_string(),
        kind: endpoint.kind,
        network: state.network(endpoint.network).map(|network| network.name.clone()).unwrap_or_default(),
        addresses: endpoint.addresses.to_vec(),
        public_key: endpoint.public_key.to_string(),
        manager: attachment.map(|attachment| attachment.manager),
        generation: attachment.map(|attachment| attachment.generation),
        underlay: seen.and_then(|seen| seen.underlay),
        last_handshake_ms_ago: seen.and_then(|seen| seen.last_handshake_ms_ago),
        heard_ms_ago: seen.and_then(|seen| seen.heard_ms_ago),
        rx_bytes: seen.map_or(0, |seen| seen.rx_bytes),
        tx_bytes: seen.map_or(0, |seen| seen.tx_bytes),
    }
}

#[cfg(test)]
mod tests {
    use festoon_control::registry::{
        AddClient, AddNetwork, Addresses, Bootstrap, Command, DEFAULT_MTU, FORMAT, ManagerRole, ManagerSpec, UnixMs,
        apply,
    };
    use festoon_proto::{ClusterId, NetworkId, PublicKey};

    use super::*;

    fn state(endpoints: u8) -> State {
        let manager = ManagerSpec {
            name: "m1".to_owned(),
            role: ManagerRole::Full,
            public_key: PublicKey::from_bytes([255; 32]),
            seal_key: None,
            signing_key: festoon_proto::SigningKey::from_seed([1; 32]).verifying_key(),
            tls_key: festoon_proto::Fingerprint([1; 32]),
            underlay: vec![([192, 0, 2, 1], 51820).into()],
            https: vec![([192, 0, 2, 1], 8443).into()],
            priority: 1,
            format: FORMAT,
        };
        let network =
            AddNetwork { name: "default".to_owned(), prefixes: vec!["10.0.0.0/24".parse().unwrap()], mtu: DEFAULT_MTU };
        let client = |number: u8| AddClient {
            name: format!("c{number}"),
            network: NetworkId(1),
            addresses: Addresses::NONE,
            public_key: PublicKey::from_bytes([number; 32]),
            tags: Vec::new(),
            expires: None,
            now: UnixMs(1),
        };
        let clients = (1..=endpoints).map(client).map(Command::AddClient);
        [Command::Bootstrap(Bootstrap { cluster: ClusterId([7; 16]), manager }), Command::AddNetwork(network)]
            .into_iter()
            .chain(clients)
            .zip(1..)
            .fold(State::default(), |state, (command, index)| apply(&state, index, &command).unwrap().0)
    }

    #[test]
    fn pages_follow_one_another_and_end() {
        let state = state(5);
        let on = |after: u64, limit| {
            let page = Page { after: (after > 0).then_some(EndpointId(after)), limit };
            page.ids(&state).into_iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(on(0, 2), [1, 2]);
        assert_eq!(on(2, 2), [3, 4]);
        assert_eq!(on(4, 2), [5]);
        assert!(on(5, 2).is_empty());
        assert_eq!(on(0, usize::MAX), [1, 2, 3, 4, 5]);
    }
}
