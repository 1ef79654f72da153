//! Tables of what is refused and why, and properties that hold after any log.

use std::collections::BTreeSet;

use festoon_proto::map::MapVersion;
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{ClusterId, EndpointId, ManagerId, NetworkId, PublicKey};
use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::compile;

const HOUR: u64 = 3_600_000;

fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn hash(number: u8) -> SecretHash {
    SecretHash([number; 32])
}

fn spec(number: u8) -> ManagerSpec {
    ManagerSpec {
        name: format!("m{number}"),
        public_key: key(200 + number),
        underlay: vec![([192, 0, 2, number], 51820).into()],
        https: vec![([192, 0, 2, number], 8443).into()],
        priority: number,
    }
}

fn bootstrap() -> Command {
    Command::Bootstrap(Bootstrap { cluster: ClusterId([7; 16]), manager: spec(1) })
}

fn network(name: &str, prefixes: &[&str]) -> Command {
    let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    Command::AddNetwork(AddNetwork { name: name.to_owned(), prefixes, mtu: DEFAULT_MTU })
}

fn token(number: u8, network: u32) -> Command {
    Command::CreateToken(CreateToken {
        hash: hash(number),
        kind: TokenKind::Endpoint,
        network: Some(NetworkId(network)),
        now: UnixMs(0),
        expires: UnixMs(HOUR),
    })
}

fn manager_token(number: u8) -> Command {
    Command::CreateToken(CreateToken {
        hash: hash(number),
        kind: TokenKind::Manager,
        network: None,
        now: UnixMs(0),
        expires: UnixMs(HOUR),
    })
}

fn join_as(token: u8, node: u8, now: u64) -> Command {
    Command::JoinEndpoint(JoinEndpoint {
        token: hash(token),
        public_key: key(node),
        credential: hash(node),
        name: "web".to_owned(),
        now: UnixMs(now),
    })
}

fn join_manager(token: u8, number: u8) -> Command {
    Command::JoinManager(JoinManager { token: hash(token), manager: spec(number), now: UnixMs(1) })
}

fn client(name: &str, node: u8) -> Command {
    let (name, public_key) = (name.to_owned(), key(node));
    Command::AddClient(AddClient { name, network: NetworkId(1), public_key, now: UnixMs(1) })
}

/// The state after `log`, from nothing; what is refused is passed over, as a manager does on replay.
fn replay(log: &[Command]) -> (State, Vec<Result<Outcome, Refusal>>) {
    let mut state = State::default();
    let mut results = Vec::new();
    for (index, command) in (1..).zip(log) {
        results.push(apply(&state, index, command).map(|(next, outcome)| {
            state = next;
            outcome
        }));
    }
    (state, results)
}

/// A cluster with network 1 (a /16 and a ULA) and the commands in `more`, of which all but the last must succeed.
fn last_of(more: &[Command]) -> (State, Result<Outcome, Refusal>) {
    let mut log = vec![bootstrap(), network("default", &["172.31.0.0/16", "fd00:1::/64"])];
    log.extend_from_slice(more);
    let (state, mut results) = replay(&log);
    let last = results.pop().unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    (state, last)
}

fn refusal(more: &[Command]) -> (&'static str, String) {
    let refusal = last_of(more).1.unwrap_err();
    assert!(!refusal.to_string().contains('\n'));
    (refusal.kind(), refusal.to_string())
}

#[test]
fn an_endpoint_gets_an_address_of_each_family_and_a_name_of_its_own() {
    let (state, last) = last_of(&[token(1, 1), token(2, 1), join_as(1, 1, 5), join_as(2, 2, 5)]);
    assert_eq!(last, Ok(Outcome::Endpoint(EndpointId(2))));
    let of = |id| {
        let map = compile::endpoint_map(&state, EndpointId(id)).unwrap();
        (map.name, map.addresses.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(of(1), ("web".to_owned(), vec!["172.31.0.2".to_owned(), "fd00:1::2".to_owned()]));
    assert_eq!(of(2), ("web-2".to_owned(), vec!["172.31.0.3".to_owned(), "fd00:1::3".to_owned()]));
    let map = compile::manager_map(&state, ManagerId(1)).unwrap();
    assert_eq!(map.endpoints[1].allowed, ["172.31.0.3/32", "fd00:1::3/128"].map(|net| net.parse::<IpNet>().unwrap()));
    assert_eq!(map.networks[0].gateways[0].to_string(), "172.31.0.1");
    assert_eq!(map.networks[0].gateways[1].to_string(), "fd00:1::1");
}

#[test]
fn joining_again_gets_the_same_answer_even_after_the_token_expired() {
    let (state, last) = last_of(&[token(1, 1), join_as(1, 1, 5), join_as(1, 1, 2 * HOUR)]);
    assert_eq!(last, Ok(Outcome::Endpoint(EndpointId(1))));
    assert_eq!(state.endpoints().count(), 1);
    let (state, last) = last_of(&[manager_token(1), join_manager(1, 2), join_manager(1, 2)]);
    assert_eq!(last, Ok(Outcome::Manager(ManagerId(2))));
    assert_eq!(state.managers().count(), 2);
}

#[test]
fn every_fault_of_a_token_is_told_apart() {
    assert_eq!(refusal(&[join_as(1, 1, 5)]).0, "token-unknown");
    assert_eq!(refusal(&[token(1, 1), join_as(1, 1, HOUR)]).0, "token-expired");
    assert_eq!(refusal(&[token(1, 1), join_as(1, 1, 5), join_as(1, 2, 5)]).0, "token-used");
    assert_eq!(refusal(&[manager_token(1), join_as(1, 1, 5)]).0, "token-wrong-kind");
    assert_eq!(refusal(&[token(1, 1), join_manager(1, 2)]).0, "token-wrong-kind");
    assert_eq!(refusal(&[token(1, 9)]).0, "network-unknown");
    assert_eq!(refusal(&[token(1, 1), token(1, 1)]).0, "token-exists");
    let gone = [token(1, 1), join_as(1, 1, 5), Command::RemoveEndpoint(EndpointId(1)), join_as(1, 1, 5)];
    assert_eq!(refusal(&gone).0, "token-used");
    assert_eq!(
        refusal(&[token(1, 1), join_as(1, 1, HOUR)]).1,
        "this join token has expired: make a new one with `festoon-manager token create`"
    );
}

#[test]
fn a_token_is_forgotten_a_week_after_it_expired() {
    let later = |number, now: u64| {
        let Command::CreateToken(token) = token(number, 1) else { unreachable!() };
        Command::CreateToken(CreateToken { now: UnixMs(now), expires: UnixMs(now + HOUR), ..token })
    };
    let week = 7 * 24 * HOUR;
    let (state, _) = last_of(&[token(1, 1), later(2, week)]);
    assert!(state.token(&hash(1)).is_some());
    let (state, _) = last_of(&[token(1, 1), later(2, week + 2 * HOUR)]);
    assert!(state.token(&hash(1)).is_none());
}

#[test]
fn keys_and_names_are_unique() {
    assert_eq!(refusal(&[client("a", 1), client("b", 1)]).0, "key-taken");
    assert_eq!(refusal(&[client("a", 201)]).0, "key-taken", "that is the manager's");
    assert_eq!(refusal(&[token(1, 1), client("a", 1), join_as(1, 1, 5)]).0, "key-taken");
    assert_eq!(refusal(&[client("a", 1), client("a", 2)]).0, "name-taken");
    assert_eq!(refusal(&[client("A", 1)]).0, "bad-name");
    let (_, freed) = last_of(&[client("a", 1), Command::RemoveEndpoint(EndpointId(1)), client("a", 1)]);
    assert_eq!(freed, Ok(Outcome::Endpoint(EndpointId(2))), "the name and key are free, the id is not");
}

#[test]
fn networks_are_checked() {
    for (prefixes, kind) in [
        (&[][..], "bad-prefix"),
        (&["10.0.0.1/8"], "bad-prefix"),
        (&["10.0.0.0/31"], "bad-prefix"),
        (&["127.0.0.0/8"], "bad-prefix"),
        (&["224.0.0.0/8"], "bad-prefix"),
        (&["126.0.0.0/7"], "bad-prefix"),
        (&["192.0.0.0/2"], "bad-prefix"),
        (&["fe00::/8"], "bad-prefix"),
        (&["::/0"], "bad-prefix"),
        (&["169.254.0.0/16"], "bad-prefix"),
        (&["fe80::/64"], "bad-prefix"),
        (&["ff02::/64"], "bad-prefix"),
        (&["0.0.0.0/0"], "bad-prefix"),
        (&["10.0.0.0/8", "10.1.0.0/16"], "prefix-overlap"),
        (&["10.1.0.0/16", "10.0.0.0/8"], "prefix-overlap"),
    ] {
        assert_eq!(refusal(&[network("other", prefixes)]).0, kind, "{prefixes:?}");
    }
    assert_eq!(refusal(&[network("default", &["10.0.0.0/8"])]).0, "name-taken");
    let (_, same) = last_of(&[network("other", &["172.31.0.0/16"])]);
    assert_eq!(same, Ok(Outcome::Network(NetworkId(2))), "two networks may use the same addresses");
    assert_eq!(
        refusal(&[network("other", &["10.0.0.1/8"])]).1,
        "10.0.0.1/8 is the address of a host: the prefix is 10.0.0.0/8"
    );
}

#[test]
fn a_full_network_says_so() {
    let in_two = |number: u8| {
        Command::AddClient(AddClient {
            name: format!("c{number}"),
            network: NetworkId(2),
            public_key: key(number),
            now: UnixMs(1),
        })
    };
    let small = network("small", &["192.0.2.0/30", "192.0.2.8/30"]);
    let (kind, text) = refusal(&[small.clone(), in_two(1), in_two(2), in_two(3)]);
    assert_eq!(kind, "no-free-address");
    assert_eq!(text, "network small has no free IPv4 address left: remove endpoints that are gone");
    let (_, freed) = last_of(&[small, in_two(1), in_two(2), Command::RemoveEndpoint(EndpointId(1)), in_two(3)]);
    assert_eq!(freed, Ok(Outcome::Endpoint(EndpointId(3))));
}

#[test]
fn managers_are_checked() {
    let update = |addresses: &[&str]| {
        let underlay = Some(addresses.iter().map(|at| at.parse().unwrap()).collect());
        let (name, https, priority) = (None, None, None);
        Command::UpdateManager(UpdateManager { manager: ManagerId(1), name, underlay, https, priority })
    };
    assert_eq!(refusal(&[update(&[])]).0, "bad-address");
    assert_eq!(refusal(&[update(&["0.0.0.0:1"])]).0, "bad-address");
    assert_eq!(refusal(&[update(&["192.0.2.1:0"])]).0, "bad-address");
    assert_eq!(refusal(&[Command::RemoveManager(ManagerId(1))]).0, "manager-is-writer");
    assert_eq!(refusal(&[Command::RemoveManager(ManagerId(4))]).0, "manager-unknown");
    assert_eq!(refusal(&[bootstrap()]).0, "has-cluster");
    assert_eq!(replay(&[token(1, 1)]).1[0], Err(Refusal::NoCluster));
    let mut many: Vec<_> = (2..=9).flat_map(|number| [manager_token(number), join_manager(number, number)]).collect();
    many.extend([manager_token(10), join_manager(10, 10)]);
    assert_eq!(refusal(&many).0, "too-many-managers");
}

#[test]
fn a_map_gets_a_new_version_only_from_what_its_endpoint_can_see() {
    let version = |more: &[Command]| {
        let (state, last) = last_of(more);
        assert!(last.is_ok());
        (compile::endpoint_map(&state, EndpointId(1)).unwrap().version.0, state.version())
    };
    let log = [token(1, 1), join_as(1, 1, 5), client("other", 2), manager_token(2), join_manager(2, 2)];
    assert_eq!(version(&log[..2]), (4, MapVersion(4)));
    assert_eq!(version(&log[..3]), (4, MapVersion(5)));
    assert_eq!(version(&log[..4]), (4, MapVersion(6)));
    assert_eq!(version(&log), (7, MapVersion(7)));
}

fn any_command() -> impl Strategy<Value = Command> {
    let small = 1_u8..12;
    prop_oneof![
        small.clone().prop_map(|n| network(&format!("n{n}"), &["192.0.2.0/29", "2001:db8::/125"])),
        (small.clone(), 1_u32..4).prop_map(|(n, net)| token(n, net)),
        small.clone().prop_map(manager_token),
        (small.clone(), small.clone(), 0..2 * HOUR).prop_map(|(t, n, now)| join_as(t, n, now)),
        (small.clone(), small.clone()).prop_map(|(t, n)| join_manager(t, n)),
        (small.clone(), small.clone()).prop_map(|(a, n)| client(&format!("c{a}"), n)),
        (1_u64..12).prop_map(|n| Command::RemoveEndpoint(EndpointId(n))),
        (1_u16..5).prop_map(|n| Command::RemoveManager(ManagerId(n))),
    ]
}

fn any_log() -> impl Strategy<Value = Vec<Command>> {
    proptest::collection::vec(any_command(), 0..120).prop_map(|mut log| {
        log.splice(0..0, [bootstrap(), network("default", &["172.31.0.0/28"])]);
        log
    })
}

proptest! {
    #[test]
    fn the_same_log_gives_the_same_state(log in any_log()) {
        let (first, second) = (replay(&log), replay(&log));
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(postcard::to_stdvec(&first.0).unwrap(), postcard::to_stdvec(&second.0).unwrap());
    }

    #[test]
    fn a_state_survives_the_disk_and_goes_on_the_same(log in any_log(), at in 2_usize..122) {
        let at = at.min(log.len());
        let bytes = postcard::to_stdvec(&replay(&log[..at]).0).unwrap();
        let mut state: State = postcard::from_bytes(&bytes).unwrap();
        for (index, command) in (at as u64 + 1..).zip(&log[at..]) {
            let bytes = postcard::to_stdvec(command).unwrap();
            if let Ok((next, _)) = apply(&state, index, &postcard::from_bytes(&bytes).unwrap()) {
                state = next;
            }
        }
        prop_assert_eq!(state, replay(&log).0);
    }

    #[test]
    fn nothing_is_given_away_twice(log in any_log()) {
        let state = replay(&log).0;
        let (mut addresses, mut names, mut keys) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for endpoint in state.endpoints() {
            let network = state.network(endpoint.network).unwrap();
            for address in &endpoint.addresses {
                prop_assert!(addresses.insert((endpoint.network, *address)), "{} twice", address);
                prop_assert!(network.prefixes.iter().any(|prefix| prefix.net.contains(address)));
                prop_assert!(network.prefixes.iter().all(|prefix| prefix.gateway() != *address));
                prop_assert_eq!(state.owner(endpoint.network, *address), Some(endpoint.id));
            }
            prop_assert!(names.insert((endpoint.network, endpoint.name.clone())));
            prop_assert!(keys.insert(endpoint.public_key));
        }
        prop_assert!(state.managers().all(|manager| keys.insert(manager.public_key)));
        prop_assert!(state.managers().count() <= MAX_MANAGERS);
    }
}
