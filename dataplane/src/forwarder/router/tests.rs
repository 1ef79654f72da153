//! Whatever a map was before, after a delta the forwarder is as if it had started with the new one.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use festoon_proto::map::{
    EndpointInfo, EndpointKind, ManagerInfo, ManagerMap, ManagerMapDelta, MapVersion, NetworkInfo, Timing,
};
use festoon_proto::{PublicKey, VerifyingKey};
use proptest::prelude::*;

use super::*;
use crate::peers::Peer;

const ME: ManagerId = ManagerId(1);
const KEYS: u8 = 12;
const NETWORKS: u32 = 3;
const ENDPOINTS: u64 = 6;
const MANAGERS: u16 = 3;
const HOSTS: u8 = 6;

fn key(number: u8) -> PublicKey {
    PrivateKey::from_bytes([number + 1; 32]).public_key()
}

fn host(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

/// What an endpoint may look like: its network, its key and perhaps the one before, its hosts, and its kind.
type Draft = Option<(u32, u8, Option<u8>, BTreeSet<u8>, bool)>;

fn any_draft() -> impl Strategy<Value = Draft> {
    let hosts = proptest::collection::btree_set(2..HOSTS, 0..3);
    proptest::option::weighted(0.8, (0..NETWORKS, 0..KEYS, proptest::option::of(0..KEYS), hosts, any::<bool>()))
}

/// A map that keeps the registry's promises: a key has one owner, a prefix has one owner in its network, and the network of
/// every endpoint is there.
fn any_map() -> impl Strategy<Value = ManagerMap> {
    (
        proptest::collection::btree_set(0..NETWORKS, 1..=NETWORKS as usize),
        proptest::collection::vec(any_draft(), ENDPOINTS as usize),
        proptest::collection::vec(
            proptest::option::of((0..KEYS, proptest::option::of(0..KEYS), 0_u8..2)),
            MANAGERS as usize - 1,
        ),
        1280_u16..1282,
    )
        .prop_map(|(networks, endpoints, managers, mtu)| {
            let mut keys = BTreeSet::new();
            let managers = (2..).zip(managers).filter_map(|(id, manager)| {
                let (number, previous, address) = manager.filter(|(number, ..)| keys.insert(*number))?;
                let previous = previous.filter(|number| keys.insert(*number));
                Some(manager_info(id, key(number), previous.map(key), address))
            });
            let managers = [manager_info(ME.0, key(KEYS), None, 0)].into_iter().chain(managers).collect();
            let mut taken = BTreeSet::new();
            let endpoints = (1..).zip(endpoints).filter_map(|(id, draft)| {
                let (network, number, previous, hosts, is_client) = draft?;
                let is_free = networks.contains(&network) && keys.insert(number);
                let hosts: Vec<u8> =
                    hosts.into_iter().filter(|host| is_free && taken.insert((network, *host))).collect();
                let previous = previous.filter(|number| is_free && keys.insert(*number));
                is_free.then(|| endpoint_info(id, network, number, previous, &hosts, is_client))
            });
            let endpoints = endpoints.collect();
            let networks = networks.iter().map(|&id| network_info(id, mtu)).collect();
            let (version, managers_changed) = (MapVersion(1), MapVersion(1));
            ManagerMap {
                version,
                manager: ME,
                networks,
                endpoints,
                managers,
                managers_changed,
                timing: Timing::default(),
            }
        })
}

fn manager_info(id: u16, public_key: PublicKey, previous_key: Option<PublicKey>, address: u8) -> ManagerInfo {
    let underlay = vec![SocketAddr::from(([192, 0, 2, address], id))];
    let (id, name, signing_key) = (ManagerId(id), String::new(), VerifyingKey([0; 32]));
    ManagerInfo { id, name, public_key, previous_key, signing_key, underlay, https: Vec::new(), priority: 1 }
}

fn network_info(id: u32, mtu: u16) -> NetworkInfo {
    NetworkInfo {
        id: NetworkId(id),
        name: String::new(),
        prefixes: Vec::new(),
        gateways: vec![host((mtu - 1280) as u8)],
        mtu,
        changed: MapVersion(1),
    }
}

fn endpoint_info(
    id: u64,
    network: u32,
    number: u8,
    previous: Option<u8>,
    hosts: &[u8],
    is_client: bool,
) -> EndpointInfo {
    EndpointInfo {
        id: EndpointId(id),
        name: String::new(),
        network: NetworkId(network),
        public_key: key(number),
        previous_key: previous.map(key),
        kind: if is_client { EndpointKind::Client } else { EndpointKind::Agent },
        allowed: hosts.iter().map(|&number| IpNet::from(host(number))).collect(),
        changed: MapVersion(1),
    }
}

/// Whose each key is.
fn holders(map: &ManagerMap) -> BTreeMap<PublicKey, EndpointId> {
    let keys = |info: &EndpointInfo| [Some(info.public_key), info.previous_key].into_iter().flatten();
    map.endpoints.iter().flat_map(|info| keys(info).map(|key| (key, info.id))).collect()
}

/// The way from one map to another. It may put what did not change, too.
fn delta(from: &ManagerMap, to: &ManagerMap, puts_all: bool) -> ManagerMapDelta {
    let mut delta = to.clone().replacing(
        from.version,
        from.networks.iter().map(|network| network.id),
        from.endpoints.iter().map(|endpoint| endpoint.id),
    );
    if !puts_all {
        delta.networks.put.retain(|network| !from.networks.contains(network));
        delta.endpoints.put.retain(|endpoint| !from.endpoints.contains(endpoint));
        delta.managers = delta.managers.filter(|managers| *managers != from.managers);
    }
    delta
}

/// All that packets, neighbours and the rest of the program can tell of what was made of a map.
#[derive(Debug, PartialEq)]
struct View {
    networks: Vec<(NetworkId, u16, Vec<IpAddr>)>,
    /// Who has each host of each network; `None` is the gateway.
    owners: Vec<(NetworkId, u8, Option<EndpointId>)>,
    members: Vec<(EndpointId, NetworkId, Vec<IpNet>, bool)>,
    neighbours: Vec<(u8, Neighbour)>,
    candidates: Vec<(ManagerId, SocketAddr)>,
}

impl View {
    fn of(router: &mut RouterForwarder) -> Self {
        let networks =
            router.networks.iter().map(|(&id, network)| (id, network.mtu, network.gateways.clone())).collect();
        let mut owners = Vec::new();
        for (&id, network) in &router.networks {
            for number in 0..HOSTS {
                owners.extend(network.table.lookup(host(number)).map(|target| match target {
                    Target::Gateway => (id, number, None),
                    Target::Member(peer) => (id, number, Some(router.member(*peer).unwrap().id)),
                }));
            }
        }
        let member =
            |peer| router.member(peer).map(|it| (it.id, it.network, it.allowed.to_vec(), it.is_client)).unwrap();
        let members =
            (1..=ENDPOINTS).filter_map(|id| router.by_endpoint.get(&EndpointId(id))).map(|&peer| member(peer));
        let neighbour = |number| Some((number, router.neighbour_of(router.peers.find(&key(number))?)?));
        Self {
            networks,
            owners,
            members: members.collect(),
            neighbours: (0..=KEYS).filter_map(neighbour).collect(),
            candidates: candidates(router),
        }
    }
}

/// Where each link would be tried first.
fn candidates(router: &RouterForwarder) -> Vec<(ManagerId, SocketAddr)> {
    let candidate = |peer| router.peers.get(peer).and_then(Peer::first_candidate);
    router.links.iter().filter_map(|(&manager, pair)| Some((manager, candidate(pair.present)?))).collect()
}

/// There may be a hundred thousand.
#[test]
fn an_endpoint_that_never_spoke_here_takes_little_room() {
    assert!(size_of::<Option<Peer<Role>>>() <= 256, "{}", size_of::<Option<Peer<Role>>>());
}

proptest! {
    #[test]
    fn after_deltas_a_forwarder_is_as_if_it_had_started_with_the_last_map(
        maps in proptest::collection::vec((any_map(), any::<bool>()), 1..8),
    ) {
        let new = || RouterForwarder::new(&PrivateKey::from_bytes([KEYS + 1; 32]));
        let mut router = new();
        let mut before: Option<ManagerMap> = None;
        for (map, puts_all) in maps {
            let empty = ManagerMap { networks: vec![], endpoints: vec![], managers: vec![], ..map.clone() };
            let from = before.as_ref().unwrap_or(&empty);
            let sessions: BTreeMap<_, _> = holders(from).keys().map(|key| (*key, router.peers.find(key))).collect();
            router.change_map(&delta(from, &map, puts_all));

            let mut fresh = new();
            fresh.change_map(&map.clone().replacing(MapVersion(0), [], []));
            prop_assert_eq!(View::of(&mut router), View::of(&mut fresh));
            for endpoint in &map.endpoints {
                let known = from.endpoints.iter().find(|known| known.id == endpoint.id);
                let expected = if known.is_some() { Place::At(ManagerId(9)) } else { Place::Nowhere };
                let owner = router.by_endpoint[&endpoint.id];
                prop_assert_eq!(router.member(owner).unwrap().place, expected);
                router.set_place(endpoint.id, Place::At(ManagerId(9)));
            }
            for (key, holder) in holders(&map) {
                let peer = router.peers.find(&key).unwrap();
                prop_assert_eq!(router.owner(peer), router.by_endpoint[&holder]);
                if holders(from).get(&key) == Some(&holder) {
                    prop_assert_eq!(Some(peer), sessions[&key], "its session is cut");
                }
            }
            before = Some(map);
        }
    }
}
