//! Deltas say what maps say, and cost what the change costs.

use std::time::{Duration, Instant};

use festoon_proto::map::{ManagerMap, ManagerMapDelta, MapVersion};
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{ClusterId, EndpointId, ManagerId, NetworkId, PublicKey};
use proptest::prelude::*;

use super::{endpoint_version, manager_delta, manager_map};
use crate::registry::*;

const ME: ManagerId = ManagerId(1);

fn key(number: u32) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    PublicKey::from_bytes(bytes)
}

fn spec(number: u8) -> ManagerSpec {
    ManagerSpec {
        name: format!("m{number}"),
        role: ManagerRole::Full,
        public_key: key(1_000_000 + u32::from(number)),
        seal_key: None,
        signing_key: festoon_proto::VerifyingKey([number; 32]),
        tls_key: Fingerprint([number; 32]),
        underlay: vec![([192, 0, 2, number], 51820).into()],
        https: vec![([192, 0, 2, number], 8443).into()],
        priority: number,
        format: FORMAT,
    }
}

fn network(name: &str, prefix: &str) -> Command {
    let prefixes = vec![prefix.parse().unwrap()];
    Command::AddNetwork(AddNetwork { name: name.to_owned(), prefixes, mtu: DEFAULT_MTU })
}

fn client(number: u32, network: u32) -> Command {
    let (name, network) = (format!("c{number}"), NetworkId(network));
    let (addresses, public_key) = (Addresses::NONE, key(number));
    Command::AddClient(AddClient {
        name,
        network,
        addresses,
        public_key,
        tags: Vec::new(),
        expires: None,
        now: UnixMs(1),
    })
}

fn remove(endpoint: u64) -> Command {
    Command::RemoveEndpoint(RemoveEndpoint { endpoint: EndpointId(endpoint), now: UnixMs(1) })
}

fn manager_token(number: u8) -> Command {
    let (hash, kind) = (SecretHash([number; 32]), TokenKind::Manager);
    let addresses = Addresses::NONE;
    Command::CreateToken(CreateToken {
        hash,
        kind,
        network: None,
        addresses,
        preset: TokenPreset::default(),
        now: UnixMs(0),
        expires: UnixMs(10),
    })
}

fn join_manager(number: u8) -> Command {
    let token = SecretHash([number; 32]);
    Command::JoinManager(JoinManager { token, manager: spec(number), data_key: None, now: UnixMs(1) })
}

fn set_priority(manager: u16, priority: u8) -> Command {
    let (manager, priority) = (ManagerId(manager), Some(priority));
    Command::UpdateManager(UpdateManager {
        manager,
        name: None,
        underlay: None,
        https: None,
        priority,
        ..UpdateManager::of(manager)
    })
}

fn rotate_key(id: u64, number: u32, until: u64) -> Command {
    let (endpoint, new_key) = (EndpointId(id), key(number));
    let (now, overlap_until) = (UnixMs(1), UnixMs(until));
    Command::RotateEndpointKey(RotateEndpointKey {
        endpoint,
        shown: None,
        new_key,
        credential: None,
        now,
        overlap_until,
    })
}

/// A registry, and the log that made it.
struct Log {
    state: State,
    index: u64,
}

impl Log {
    /// A cluster with one manager and one network.
    fn new() -> Self {
        let mut log = Self { state: State::default(), index: 0 };
        log.add(&Command::Bootstrap(Bootstrap { cluster: ClusterId([7; 16]), manager: spec(1) }));
        log.add(&network("default", "10.0.0.0/8"));
        log
    }

    /// Applies a command. One that is refused changes nothing.
    fn add(&mut self, command: &Command) {
        self.index += 1;
        if let Ok((next, _)) = apply(&self.state, self.index, command) {
            self.state = next;
        }
    }

    fn of(commands: impl IntoIterator<Item = Command>) -> Self {
        let mut log = Self::new();
        commands.into_iter().for_each(|command| log.add(&command));
        log
    }

    fn map(&self) -> ManagerMap {
        manager_map(&self.state, ME).unwrap()
    }

    fn delta_after(&mut self, command: &Command) -> ManagerMapDelta {
        let before = self.state.clone();
        self.add(command);
        manager_delta(&before, &self.state, ME).unwrap()
    }
}

fn ids(delta: &ManagerMapDelta) -> (Vec<u64>, Vec<u64>) {
    let put = delta.endpoints.put.iter().map(|endpoint| endpoint.id.0).collect();
    (put, delta.endpoints.removed.iter().map(|id| id.0).collect())
}

#[test]
fn a_delta_names_what_changed_and_nothing_else() {
    let mut log = Log::of([client(1, 1), client(2, 1), manager_token(2)]);
    let delta = log.delta_after(&client(3, 1));
    assert_eq!(ids(&delta), (vec![3], vec![]));
    assert_eq!((delta.networks.put.len(), delta.managers), (0, None), "where the next address is searched is no news");
    let delta = log.delta_after(&remove(1));
    assert_eq!(ids(&delta), (vec![], vec![1]));
    let delta = log.delta_after(&rotate_key(2, 9, 100));
    assert_eq!(ids(&delta), (vec![2], vec![]));
    assert_eq!((delta.endpoints.put[0].public_key, delta.endpoints.put[0].previous_key), (key(9), Some(key(2))));
    let delta = log.delta_after(&join_manager(2));
    assert_eq!((ids(&delta), delta.networks.put.len()), ((vec![], vec![]), 0));
    assert_eq!(delta.managers.map(|managers| managers.len()), Some(2));
    assert_eq!(delta.managers_changed, delta.version);
    let delta = log.delta_after(&network("other", "10.0.0.0/8"));
    assert_eq!((delta.networks.put[0].id, delta.networks.put.len()), (NetworkId(2), 1));
}

#[test]
fn there_is_no_way_to_a_state_without_the_manager() {
    let before = Log::of([manager_token(2), join_manager(2)]);
    let after = Log::of([manager_token(2), join_manager(2), Command::RemoveManager(ManagerId(2))]);
    assert!(manager_delta(&before.state, &after.state, ManagerId(2)).is_none());
}

#[test]
fn a_change_among_many_costs_little() {
    const MANY: u32 = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
    let mut log = Log::of((0..MANY).map(|number| client(number, 1)));
    let (map, whole) = timed(|| log.map());
    assert_eq!(map.endpoints.len(), MANY as usize);
    let before = log.state.clone();
    let changes = [remove(500), client(MANY, 1), manager_token(2), join_manager(2)];
    changes.iter().for_each(|command| log.add(command));
    let (delta, part) = timed(|| manager_delta(&before, &log.state, ME).unwrap());
    println!("{MANY} endpoints: the map takes {whole:?}, a delta {part:?}");
    assert_eq!(ids(&delta), (vec![u64::from(MANY) + 1], vec![500]));
}

#[expect(clippy::disallowed_methods, reason = "what a person reads, not what the test asserts")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (work(), start.elapsed())
}

fn any_command() -> impl Strategy<Value = Command> {
    let number = 2_u8..9;
    prop_oneof![
        4 => (0_u32..30, 1_u32..4).prop_map(|(number, network)| client(number, network)),
        4 => (1_u64..40).prop_map(remove),
        2 => (1_u64..40, 0_u32..30, 1_u64..3).prop_map(|(id, number, until)| rotate_key(id, number, until)),
        1 => (0_u8..4).prop_map(|name| network(&format!("n{name}"), "10.0.0.0/8")),
        1 => number.clone().prop_map(manager_token),
        1 => number.prop_map(join_manager),
        1 => (2_u16..6).prop_map(|id| Command::RemoveManager(ManagerId(id))),
        1 => (1_u16..6, 0_u8..3).prop_map(|(id, priority)| set_priority(id, priority)),
    ]
}

proptest! {
    /// A node may see any of the states and miss any: `seen` says how many commands pass before it looks.
    #[test]
    fn deltas_lead_where_compiling_anew_does(
        commands in proptest::collection::vec(any_command(), 0..100),
        seen in proptest::collection::vec(1_usize..12, 100),
    ) {
        let mut log = Log::new();
        let mut map = log.map();
        let mut known = log.state.clone();
        let mut commands = &commands[..];
        for count in seen {
            let (now, later) = commands.split_at(count.min(commands.len()));
            now.iter().for_each(|command| log.add(command));
            commands = later;
            let delta = manager_delta(&known, &log.state, ME).unwrap();
            prop_assert_eq!(delta.base, map.version);
            map.change(&delta);
            prop_assert_eq!(&map, &log.map());
            known = log.state.clone();
        }
    }

    #[test]
    fn the_version_of_an_endpoints_map_follows_from_the_managers_map(
        commands in proptest::collection::vec(any_command(), 0..60),
    ) {
        let log = Log::of(commands);
        let map = log.map();
        for info in &map.endpoints {
            let network = map.networks.iter().find(|network| network.id == info.network).unwrap();
            let version = info.changed.max(network.changed).max(map.managers_changed);
            prop_assert_eq!(version, endpoint_version(&log.state, log.state.endpoint(info.id).unwrap()));
            prop_assert!(version <= map.version && version > MapVersion(0));
        }
    }
}
