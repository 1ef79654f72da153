//! A node that learns of changes is like one that started with the last map.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc;

use festoon_control::compile::{endpoint_map, endpoint_version, manager_delta, manager_map};
use festoon_control::registry::{
    AddClient, AddNetwork, Addresses, Bootstrap, Command as Change, CreateToken, DEFAULT_MTU, FORMAT, JoinEndpoint,
    JoinManager, ManagerRole, ManagerSpec, RemoveEndpoint, RotateEndpointKey, State, TokenPreset, UnixMs,
    UpdateManager, apply,
};
use festoon_dataplane::batch::Coalesce;
use festoon_dataplane::forwarder::{HostArrival, HostForwarder};
use festoon_proto::map::EndpointMap;
use festoon_proto::signal::MoveReason;
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{ClusterId, Generation, NetworkId};
use proptest::prelude::*;

use super::*;

mod limits;

const ME: ManagerId = ManagerId(1);
const AGENT: EndpointId = EndpointId(1);

fn key(number: u32) -> PrivateKey {
    let mut bytes = [0x40; 32];
    bytes[8..12].copy_from_slice(&number.to_le_bytes());
    PrivateKey::from_bytes(bytes)
}

fn remove(endpoint: EndpointId) -> Change {
    Change::RemoveEndpoint(RemoveEndpoint { endpoint, now: UnixMs(1) })
}

fn spec(number: u8) -> ManagerSpec {
    ManagerSpec {
        name: format!("m{number}"),
        role: ManagerRole::Full,
        seal_key: None,
        signing_key: festoon_proto::SigningKey::from_seed([number; 32]).verifying_key(),
        tls_key: festoon_proto::Fingerprint([number; 32]),
        format: FORMAT,
        public_key: key(1_000_000 + u32::from(number)).public_key(),
        underlay: vec![([192, 0, 2, number], 51820).into()],
        https: vec![([192, 0, 2, number], 8443).into()],
        priority: number,
    }
}

fn add_network(name: &str) -> Change {
    let prefixes = vec!["10.0.0.0/8".parse().unwrap()];
    Change::AddNetwork(AddNetwork { name: name.to_owned(), prefixes, mtu: DEFAULT_MTU })
}

fn add_client(number: u32, network: u32) -> Change {
    let (name, network) = (format!("c{number}"), NetworkId(network));
    let (addresses, public_key) = (Addresses::NONE, key(number).public_key());
    Change::AddClient(AddClient {
        name,
        network,
        addresses,
        public_key,
        tags: Vec::new(),
        expires: None,
        now: UnixMs(1),
    })
}

fn token(number: u8, kind: TokenKind) -> Change {
    let network = (kind == TokenKind::Endpoint).then_some(NetworkId(1));
    let hash = SecretHash([number; 32]);
    Change::CreateToken(CreateToken {
        hash,
        kind,
        network,
        addresses: Addresses::NONE,
        preset: TokenPreset::default(),
        now: UnixMs(0),
        expires: UnixMs(10),
    })
}

fn join_agent(token: u8, number: u32) -> Change {
    let (token, name) = (SecretHash([token; 32]), "agent".to_owned());
    let public_key = key(number).public_key();
    Change::JoinEndpoint(JoinEndpoint { token, public_key, credential: token, name, now: UnixMs(1) })
}

fn join_manager(number: u8) -> Change {
    let token = SecretHash([number; 32]);
    Change::JoinManager(JoinManager { token, manager: spec(number), data_key: None, now: UnixMs(1) })
}

fn rotate_key(endpoint: EndpointId, number: u32) -> Change {
    let (new_key, now, overlap_until) = (key(number).public_key(), UnixMs(1), UnixMs(1000));
    let (shown, credential) = (Some(SecretHash([1; 32])), Some(SecretHash([99; 32])));
    Change::RotateEndpointKey(RotateEndpointKey { endpoint, shown, new_key, credential, now, overlap_until })
}

fn set_priority(manager: u16, priority: u8) -> Change {
    let (manager, priority) = (ManagerId(manager), Some(priority));
    Change::UpdateManager(UpdateManager {
        manager,
        name: None,
        underlay: None,
        https: None,
        priority,
        ..UpdateManager::of(manager)
    })
}

#[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
fn now() -> Instant {
    Instant::now()
}

fn effects() -> Effects {
    Effects::new(1, Coalesce::None)
}

fn node(state: &State) -> ManagerNode {
    let config = NodeConfig { keys: NodeKeys { key: key(1_000_001), former: None }, manager: ME, link_sequence: 1 };
    ManagerNode::new(&config, manager_map(state, ME).unwrap(), now())
}

/// A registry, and the node of its first manager, which knows the state `known`.
struct World {
    now: Instant,
    state: State,
    index: u64,
    known: State,
    node: ManagerNode,
}

impl World {
    /// One manager and one network, and after that whatever `changes` bring.
    fn new(changes: impl IntoIterator<Item = Change>) -> Self {
        let bootstrap = Change::Bootstrap(Bootstrap { cluster: ClusterId([7; 16]), manager: spec(1) });
        let (mut state, mut index) = (State::default(), 0);
        for change in [bootstrap, add_network("default")].into_iter().chain(changes) {
            index += 1;
            state = apply(&state, index, &change).unwrap().0;
        }
        Self { now: now(), index, known: state.clone(), node: node(&state), state }
    }

    /// Changes the registry. A change that is refused is none.
    fn change(&mut self, change: &Change) {
        self.index += 1;
        if let Ok((state, _)) = apply(&self.state, self.index, change) {
            self.state = state;
        }
    }

    /// Tells the node what happened since it was told last.
    fn tell(&mut self) -> bool {
        let delta = manager_delta(&self.known, &self.state, ME).unwrap();
        let taken = self.command(|reply| Command::ChangeMap(Box::new(delta), reply));
        self.known = self.state.clone();
        taken
    }

    fn command<T: Send + 'static>(&mut self, command: impl FnOnce(Reply<T>) -> Command) -> T {
        let (sender, answer) = mpsc::channel();
        let reply = Box::new(move |value| sender.send(value).unwrap());
        self.node.handle_command(self.now, command(reply), &mut effects());
        answer.recv().unwrap()
    }

    fn attach(&mut self, endpoint: u64, manager: u16, generation: u64) {
        let (endpoint, manager, generation) = (EndpointId(endpoint), ManagerId(manager), Generation(generation));
        self.node.mesh.attach(self.now, Attachment { endpoint, manager, generation });
        self.node.settle(self.now, &mut effects());
    }

    fn status(&mut self) -> Status {
        self.command(|reply| Command::Status((0..20_000).map(EndpointId).collect(), reply))
    }
}

/// The agent at the other end of a tunnel to the node.
struct Agent {
    host: HostForwarder,
    map: EndpointMap,
    probes: u32,
}

impl Agent {
    fn new(state: &State, number: u32) -> Self {
        Self::with(endpoint_map(state, AGENT).unwrap(), number)
    }

    /// As `other` after a restart, which knows no more than its map.
    fn of(other: &Self, number: u32) -> Self {
        Self::with(other.map.clone(), number)
    }

    fn with(map: EndpointMap, number: u32) -> Self {
        let mut host = HostForwarder::new(&key(number));
        host.set_map(&map);
        Self { host, map, probes: 0 }
    }

    /// The map version the node names in answer to a probe.
    fn probe(&mut self, world: &mut World) -> Option<MapVersion> {
        self.probe_from(world, path(7)).map(|reply| reply.map_version)
    }

    /// What the node answers to a probe that comes by `way`.
    fn probe_from(&mut self, world: &mut World, way: UnderlayPath) -> Option<ProbeReply> {
        let mut effects = effects();
        self.probes += 1;
        self.host.signal(ME, &Message::Probe(Probe { sequence: self.probes }), &mut effects);
        let mut answers = Vec::new();
        let mut waiting = datagrams(&effects);
        while let Some(datagram) = waiting.pop() {
            let mut replies = self::effects();
            world.node.handle_underlay(world.now, way, &datagram, datagram.len(), &mut replies);
            world.node.handle_timeout(world.now, &mut replies);
            for reply in datagrams(&replies) {
                let mut effects = self::effects();
                answers.push(self.host.handle_underlay(world.now, path(1), &reply, &mut effects));
                while self.host.handle_handshake(world.now, &mut effects).is_some() {}
                waiting.extend(datagrams(&effects));
            }
        }
        answers.into_iter().find_map(|answer| match answer {
            HostArrival::Signal(ME, Message::ProbeReply(reply)) => Some(reply),
            _ => None,
        })
    }
}

fn path(host: u8) -> UnderlayPath {
    UnderlayPath { remote: (Ipv4Addr::new(192, 0, 2, host), 51820).into(), local: None::<IpAddr> }
}

fn datagrams(effects: &Effects) -> Vec<Vec<u8>> {
    effects.underlay.groups().map(|group| group.bytes.to_vec()).collect()
}

#[test]
fn an_agent_learns_at_once_of_what_it_can_see_and_of_nothing_else() {
    let mut world = World::new([token(1, TokenKind::Endpoint), join_agent(1, 1), token(2, TokenKind::Manager)]);
    let mut agent = Agent::new(&world.state, 1);
    let first = agent.probe(&mut world).unwrap();
    for (change, is_seen) in [
        (add_client(2, 1), false),
        (add_network("other"), false),
        (join_manager(2), true),
        (remove(EndpointId(2)), false),
        (set_priority(2, 9), true),
        (Change::RemoveManager(ManagerId(2)), true),
    ] {
        let before = agent.probe(&mut world);
        world.change(&change);
        assert!(world.tell());
        let version = agent.probe(&mut world).unwrap();
        assert_eq!(Some(version) != before, is_seen, "{change:?}");
        assert_eq!(version, endpoint_version(&world.state, world.state.endpoint(AGENT).unwrap()));
        assert_eq!(version, endpoint_map(&world.state, AGENT).unwrap().version);
        assert!(version >= first);
    }
}

#[test]
fn an_agent_is_told_where_its_probe_came_from() {
    let mut world = World::new([token(1, TokenKind::Endpoint), join_agent(1, 1)]);
    let mut agent = Agent::new(&world.state, 1);
    // A NAT box in between may change the mapping at any time.
    for way in [path(7), path(8), path(7)] {
        assert_eq!(agent.probe_from(&mut world, way).unwrap().observed, Some(way.remote));
    }
}

#[test]
fn an_endpoint_that_is_removed_is_cut_off_and_forgotten_at_once() {
    let mut world = World::new([token(1, TokenKind::Endpoint), join_agent(1, 1)]);
    let mut agent = Agent::new(&world.state, 1);
    world.attach(AGENT.0, 1, 5);
    assert!(agent.probe(&mut world).is_some() && world.node.attachment(AGENT).is_some());
    world.change(&remove(AGENT));
    assert!(world.tell());
    assert_eq!((agent.probe(&mut world), world.node.attachment(AGENT)), (None, None));
    assert_eq!(world.status().drops, [("unknown_session".to_owned(), 1)]);
}

#[test]
fn an_endpoint_that_is_removed_while_its_key_changes_is_cut_off_with_both() {
    let mut world = World::new([token(1, TokenKind::Endpoint), join_agent(1, 1)]);
    let (mut before, mut after) = (Agent::new(&world.state, 1), Agent::new(&world.state, 2));
    assert!(before.probe(&mut world).is_some());
    world.change(&rotate_key(AGENT, 2));
    assert!(world.tell());
    assert!(before.probe(&mut world).is_some() && after.probe(&mut world).is_some());
    world.change(&remove(AGENT));
    assert!(world.tell());
    assert_eq!((before.probe(&mut world), after.probe(&mut world)), (None, None));
    assert_eq!(world.status().drops, [("unknown_session".to_owned(), 2)]);
    let (mut before, mut after) = (Agent::of(&before, 1), Agent::of(&after, 2));
    assert_eq!((before.probe(&mut world), after.probe(&mut world)), (None, None), "and get no new session");
    assert!(world.status().drops.contains(&("unknown_key".to_owned(), 2)));
}

#[test]
fn the_keys_of_a_manager_are_good_for_as_long_as_it_is_told() {
    let mut world = World::new([token(1, TokenKind::Endpoint), join_agent(1, 1)]);
    let mut agent = Agent::new(&world.state, 1);
    assert!(agent.probe(&mut world).is_some());
    let set = |world: &mut World, keys| world.node.handle_command(world.now, Command::SetKeys(keys), &mut effects());
    let (old, new) = (key(1_000_001), key(77));
    set(&mut world, NodeKeys { key: new.clone(), former: Some(old) });
    assert!(agent.probe(&mut world).is_some());
    let mut late = Agent::of(&agent, 1);
    // Nobody is answered twice at once.
    world.now += Duration::from_millis(100);
    assert!(late.probe(&mut world).is_some(), "a handshake with the key before is answered");
    set(&mut world, NodeKeys { key: new, former: None });
    assert_eq!(late.probe(&mut world), None);
    assert_eq!(Agent::of(&agent, 1).probe(&mut world), None);
    let drops = world.status().drops;
    assert!(drops.contains(&("invalid_mac".to_owned(), 1)), "{drops:?}");
}

#[test]
fn a_change_of_another_map_is_refused_and_a_whole_map_heals() {
    let mut world = World::new([add_client(1, 1)]);
    world.change(&add_client(2, 1));
    world.known = world.state.clone();
    world.change(&add_client(3, 1));
    assert!(!world.tell(), "the node knows nothing of the second client");
    let ids = |world: &mut World| world.status().endpoints.iter().map(|endpoint| endpoint.id.0).collect::<Vec<_>>();
    assert_eq!(ids(&mut world), [1]);
    world.change(&remove(EndpointId(1)));
    let map = manager_map(&world.state, ME).unwrap();
    world.node.handle_command(world.now, Command::SetMap(Box::new(map)), &mut effects());
    world.known = world.state.clone();
    assert_eq!(ids(&mut world), [2, 3]);
    world.change(&add_client(4, 1));
    assert!(world.tell());
    assert_eq!(ids(&mut world), [2, 3, 4]);
}

#[test]
fn an_attachment_that_came_before_its_endpoint_is_kept() {
    let mut world = World::new([]);
    world.attach(1, 1, 3);
    world.change(&add_client(1, 1));
    assert!(world.tell());
    assert_eq!(world.status().endpoints[0].attachment.unwrap().generation, Generation(3));
}

#[test]
fn a_manager_of_many_endpoints_takes_a_change_of_one() {
    const MANY: u32 = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
    let mut world = World::new((0..MANY).map(|number| add_client(number, 1)));
    let (_, whole) = timed(|| node(&world.state));
    world.change(&remove(EndpointId(7)));
    let (taken, part) = timed(|| world.tell());
    println!("{MANY} endpoints: a node takes {whole:?} to start, {part:?} for a change of one endpoint");
    assert!(taken);
    assert_eq!(world.status().endpoints.len(), MANY as usize - 1);
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = now();
    (work(), start.elapsed())
}

#[derive(Debug, Clone)]
enum Step {
    Change(Box<Change>),
    Tell,
    Attach(u64, u16),
}

fn any_step() -> impl Strategy<Value = Step> {
    let number = 2_u8..9;
    let change = prop_oneof![
        4 => (0_u32..20, 1_u32..4).prop_map(|(number, network)| add_client(number, network)),
        4 => (1_u64..30).prop_map(|id| remove(EndpointId(id))),
        1 => (0_u8..4).prop_map(|name| add_network(&format!("n{name}"))),
        1 => number.clone().prop_map(|number| token(number, TokenKind::Manager)),
        1 => number.prop_map(join_manager),
        1 => (2_u16..6).prop_map(|id| Change::RemoveManager(ManagerId(id))),
        1 => (1_u16..6, 0_u8..3).prop_map(|(id, priority)| set_priority(id, priority)),
    ];
    prop_oneof![
        6 => change.prop_map(|change| Step::Change(Box::new(change))),
        2 => Just(Step::Tell),
        3 => (1_u64..30, 1_u16..5).prop_map(|(endpoint, manager)| Step::Attach(endpoint, manager)),
    ]
}

proptest! {
    #[test]
    fn a_node_that_learns_of_changes_is_like_one_that_started_with_the_last_map(
        steps in proptest::collection::vec(any_step(), 0..60),
    ) {
        let mut world = World::new([]);
        let mut generation = 0;
        let mut attached = BTreeMap::new();
        for step in steps.into_iter().chain([Step::Tell]) {
            match step {
                Step::Change(change) => world.change(&change),
                Step::Tell => {
                    // Who is attached before it is known stays; who is no longer known does not.
                    attached.retain(|&id, _| {
                        let id = EndpointId(id);
                        world.known.endpoint(id).is_none() || world.state.endpoint(id).is_some()
                    });
                    prop_assert!(world.tell());
                }
                Step::Attach(endpoint, manager) => {
                    generation += 1;
                    world.attach(endpoint, manager, generation);
                    attached.insert(endpoint, (manager, generation));
                }
            }
        }
        let mut fresh = World::new([]);
        fresh.node = node(&world.state);
        for (endpoint, (manager, generation)) in attached {
            fresh.attach(endpoint, manager, generation);
        }
        prop_assert_eq!(format!("{:?}", world.status()), format!("{:?}", fresh.status()));
        prop_assert!(world.node.roster.endpoints().eq(fresh.node.roster.endpoints()));
        for id in world.node.roster.endpoints() {
            let endpoint = world.state.endpoint(id).unwrap();
            prop_assert_eq!(world.node.roster.endpoint_version(id), endpoint_version(&world.state, endpoint));
        }
        prop_assert!(world.node.mesh.attachments().eq(fresh.node.mesh.attachments()));
    }
}

/// All endpoints that the node tells of, asked for in parts of `limit`.
fn carried(world: &mut World, limit: usize) -> Vec<Carried> {
    let mut all: Vec<Carried> = Vec::new();
    loop {
        let after = all.last().map(|last| last.id);
        let part = world.command(|reply| Command::Carried(after, limit, reply));
        assert!(part.len() <= limit);
        if part.is_empty() {
            return all;
        }
        all.extend(part);
    }
}

#[test]
fn of_the_endpoints_that_it_carries_a_node_tells_in_parts() {
    let more = [token(2, TokenKind::Manager), join_manager(2)];
    let mut world = World::new((1..=300).map(|number| add_client(number, 1)).chain(more));
    for endpoint in 1..=300 {
        let (here, elsewhere) = (endpoint % 3 == 0, endpoint % 3 == 1);
        if here || elsewhere {
            world.attach(endpoint, if here { 1 } else { 2 }, 1);
        }
    }
    let ids = |all: &[Carried]| all.iter().map(|one| one.id.0).collect::<Vec<_>>();
    let mine: Vec<u64> = (1..=300).filter(|endpoint| endpoint % 3 == 0).collect();
    for limit in [1, 7, 100, 1000] {
        assert_eq!(ids(&carried(&mut world, limit)), mine, "in parts of {limit}");
    }
    let figures = world.command(Command::Figures);
    assert_eq!((figures.carried, figures.others[0].carried, figures.others[0].is_up), (100, 100, false));

    // One moves on, one is removed.
    world.attach(3, 2, 2);
    world.change(&remove(EndpointId(6)));
    assert!(world.tell());
    assert_eq!(ids(&carried(&mut world, 7)), mine[2..]);
}

#[test]
fn every_arrival_counts_and_those_that_change_nothing_do_not() {
    let mut world = World::new([add_client(1, 1), token(2, TokenKind::Manager), join_manager(2)]);
    let now = world.now;
    let arrive = |world: &mut World, generation| {
        let wanted = Attachment { endpoint: EndpointId(1), manager: ME, generation: Generation(generation) };
        world.node.attach(now, wanted, Some(MoveReason::ManagerDead), Some(Duration::from_millis(90)));
    };
    arrive(&mut world, 1);
    arrive(&mut world, 1);
    world.attach(1, 2, 2);
    arrive(&mut world, 1);
    arrive(&mut world, 3);
    assert_eq!(carried(&mut world, 10)[0].attached, 2);
    let Tally { ups, moves, gaps, .. } = world.command(Command::Figures).tally;
    assert_eq!((ups, moves["manager_dead"], gaps.count()), (1, 1, 1));
}
