//! What is refused and why.

use festoon_proto::map::MapVersion;
use ipnet::IpNet;

use super::*;
use crate::compile;

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
fn joining_again_gets_the_same_answer_for_some_minutes() {
    let (state, last) = last_of(&[token(1, 1), join_as(1, 1, 5), join_as(1, 1, AGAIN_MS)]);
    assert_eq!(last, Ok(Outcome::Endpoint(EndpointId(1))));
    assert_eq!(state.endpoints().count(), 1);
    let (state, last) = last_of(&[manager_token(1), join_manager(1, 2), join_manager(1, 2)]);
    assert_eq!(last, Ok(Outcome::Manager(ManagerId(2))));
    assert_eq!(state.managers().count(), 2);
}

#[test]
fn a_token_that_was_used_is_good_for_nothing_once_the_minutes_are_over_or_it_has_expired() {
    let at =
        |now| Command::JoinManager(JoinManager { token: hash(1), manager: spec(2), data_key: None, now: UnixMs(now) });
    let manager = |now| refusal(&[manager_token(1), at(1), at(now)]).0;
    let endpoint = |now| refusal(&[token(1, 1), join_as(1, 1, 5), join_as(1, 1, now)]).0;
    assert_eq!((manager(AGAIN_MS + 1), endpoint(AGAIN_MS + 5)), ("token-used", "token-used"));
    assert_eq!((manager(HOUR), endpoint(HOUR)), ("token-expired", "token-expired"));
}

#[test]
fn a_spent_manager_token_answers_nobody_who_does_not_hold_the_keys_that_came_first() {
    let join = |manager| Command::JoinManager(JoinManager { token: hash(1), manager, data_key: None, now: UnixMs(2) });
    for stranger in [
        // All that stands in an agent's map, and a signing request of one's own.
        ManagerSpec { tls_key: Fingerprint([66; 32]), ..spec(2) },
        ManagerSpec { signing_key: signing_key(66).verifying_key(), ..spec(2) },
        ManagerSpec { public_key: key(66), ..spec(2) },
    ] {
        assert_eq!(refusal(&[manager_token(1), join(spec(2)), join(stranger)]).0, "token-used");
    }
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
    let gone = [token(1, 1), join_as(1, 1, 5), remove(1), join_as(1, 1, 5)];
    assert_eq!(refusal(&gone).0, "token-used");
    assert_eq!(
        refusal(&[token(1, 1), join_as(1, 1, HOUR)]).1,
        "this join token has expired: make a new one with `festoon-manager tokens add`"
    );
}

#[test]
fn a_token_is_good_for_a_year_at_most() {
    let for_days = |days: u64| {
        let (now, made) = (UnixMs(5 * HOUR), [token(1, 1), manager_token(1)]);
        made.map(|command| {
            let Command::CreateToken(token) = command else { unreachable!() };
            Command::CreateToken(CreateToken { now, expires: now.after(days * 24 * HOUR), ..token })
        })
    };
    for (year, longer) in for_days(365).into_iter().zip(for_days(366)) {
        assert!(last_of(&[year]).1.is_ok());
        let (kind, text) = refusal(&[longer]);
        assert_eq!(kind, "bad-expiry");
        assert!(text.contains("365 days at most"), "{text}");
    }
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
    let (_, freed) = last_of(&[client("a", 1), remove(1), client("a", 1)]);
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
            addresses: Addresses::NONE,
            public_key: key(number),
            tags: Vec::new(),
            expires: None,
            now: UnixMs(1),
        })
    };
    let small = network("small", &["192.0.2.0/30", "192.0.2.8/30"]);
    let (kind, text) = refusal(&[small.clone(), in_two(1), in_two(2), in_two(3)]);
    assert_eq!(kind, "no-free-address");
    assert!(text.starts_with("network small has no free IPv4 address left: remove endpoints that are gone"), "{text}");
    let (_, freed) = last_of(&[small, in_two(1), in_two(2), remove(1), in_two(3)]);
    assert_eq!(freed, Ok(Outcome::Endpoint(EndpointId(3))));
}

#[test]
fn managers_are_checked() {
    let update = |addresses: &[&str]| {
        let underlay = Some(addresses.iter().map(|at| at.parse().unwrap()).collect());
        let (name, https, priority) = (None, None, None);
        Command::UpdateManager(UpdateManager {
            manager: ManagerId(1),
            name,
            underlay,
            https,
            priority,
            ..UpdateManager::of(ManagerId(1))
        })
    };
    assert_eq!(refusal(&[update(&[])]).0, "bad-address");
    assert_eq!(refusal(&[update(&["0.0.0.0:1"])]).0, "bad-address");
    assert_eq!(refusal(&[update(&["192.0.2.1:0"])]).0, "bad-address");
    assert_eq!(refusal(&[Command::RemoveManager(ManagerId(1))]).0, "manager-is-last");
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
