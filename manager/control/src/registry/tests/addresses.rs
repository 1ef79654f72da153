//! Which addresses endpoints get, in examples.

use super::*;

const DAY: u64 = 24 * HOUR;

/// The addresses of an endpoint.
fn of(state: &State, endpoint: u64) -> Vec<String> {
    state.endpoint(EndpointId(endpoint)).unwrap().addresses.iter().map(|address| address.to_string()).collect()
}

/// The IPv4 addresses of all endpoints, after commands that all succeed.
fn v4_after(more: &[Command]) -> Vec<String> {
    let (state, last) = last_of(more);
    assert!(last.is_ok(), "{last:?}");
    state.endpoints().filter_map(|endpoint| endpoint.addresses.get(Family::V4)).map(|at| at.to_string()).collect()
}

fn token_for(number: u8, fixed: &[&str]) -> Command {
    let Command::CreateToken(token) = token(number, 1) else { unreachable!() };
    Command::CreateToken(CreateToken { addresses: addresses(fixed), ..token })
}

#[test]
fn an_admin_may_name_addresses_of_either_family() {
    let (state, _) = last_of(&[client_at("a", 1, &["172.31.7.7"]), client_at("b", 2, &["fd00:1::7", "172.31.0.2"])]);
    assert_eq!(of(&state, 1), ["172.31.7.7", "fd00:1::2"]);
    assert_eq!(of(&state, 2), ["172.31.0.2", "fd00:1::7"]);
}

#[test]
fn every_address_that_cant_be_given_says_why() {
    for (fixed, kind, text) in [
        (
            "10.0.0.1",
            "address-outside",
            "10.0.0.1 is in no prefix of network default: choose one in 172.31.0.0/16, fd00:1::/64",
        ),
        (
            "172.31.0.0",
            "address-of-network",
            "172.31.0.0 is the address of the network 172.31.0.0/16 itself: choose another in it",
        ),
        (
            "fd00:1::",
            "address-of-network",
            "fd00:1:: is the address of the network fd00:1::/64 itself: choose another in it",
        ),
        (
            "172.31.0.1",
            "address-of-gateway",
            "172.31.0.1 is the gateway of 172.31.0.0/16, which the managers answer for: choose another in it",
        ),
        (
            "172.31.255.255",
            "address-of-broadcast",
            "172.31.255.255 is the broadcast address of 172.31.0.0/16: choose another in it",
        ),
    ] {
        assert_eq!(refusal(&[client_at("a", 1, &[fixed])]), (kind, text.to_owned()));
        assert_eq!(refusal(&[token_for(1, &[fixed])]), (kind, text.to_owned()));
    }
    let (kind, text) = refusal(&[client("a", 1), client_at("b", 2, &["172.31.0.2"])]);
    assert_eq!(kind, "address-taken");
    assert_eq!(text, "172.31.0.2 belongs to endpoint a (e1): choose another, or remove that endpoint first");
}

#[test]
fn a_token_keeps_the_address_it_promises_until_it_expires() {
    let promised = token_for(1, &["172.31.0.2"]);
    assert_eq!(refusal(&[promised.clone(), client_at("a", 1, &["172.31.0.2"])]).0, "address-promised");
    assert_eq!(refusal(&[promised.clone(), token_for(2, &["172.31.0.2"])]).0, "address-promised");
    assert_eq!(v4_after(&[promised.clone(), client("a", 1), join_as(1, 2, 5)]), ["172.31.0.3", "172.31.0.2"]);
    let (state, last) = last_of(&[promised, Command::Expire(UnixMs(HOUR)), client_at("a", 1, &["172.31.0.2"])]);
    assert_eq!((last, of(&state, 1)[0].as_str()), (Ok(Outcome::Endpoint(EndpointId(1))), "172.31.0.2"));
}

#[test]
fn a_token_for_a_manager_promises_no_address() {
    let Command::CreateToken(token) = manager_token(1) else { unreachable!() };
    let promised = Command::CreateToken(CreateToken { addresses: addresses(&["172.31.0.2"]), ..token });
    assert_eq!(refusal(&[promised]).0, "token-network");
}

#[test]
fn reserved_addresses_are_given_by_name_only() {
    let reserved = reserve(&["172.31.0.2-172.31.0.9", "172.31.0.11"]);
    let log = [reserved.clone(), client("a", 1), client("b", 2), client_at("c", 3, &["172.31.0.5"])];
    assert_eq!(v4_after(&log), ["172.31.0.10", "172.31.0.12", "172.31.0.5"]);
    let freed =
        [reserved, client_at("a", 1, &["172.31.0.5"]), remove(1), Command::Expire(UnixMs(40 * DAY)), client("b", 2)];
    assert_eq!(v4_after(&freed), ["172.31.0.10"]);
    let later = [client("a", 1), reserve(&["172.31.0.0/24"]), client("b", 2), reserve(&[]), client("c", 3)];
    assert_eq!(v4_after(&later), ["172.31.0.2", "172.31.1.0", "172.31.1.1"]);
}

#[test]
fn an_endpoint_that_comes_back_has_its_addresses_again() {
    let back = [client("a", 1), client("b", 2), remove(1), client("c", 3)];
    assert_eq!(v4_after(&back), ["172.31.0.3", "172.31.0.4"]);
    let by_name = [&back[..], &[client("a", 9)]].concat();
    assert_eq!(v4_after(&by_name), ["172.31.0.3", "172.31.0.4", "172.31.0.2"]);
    let by_key = [&back[..], &[client("other", 1)]].concat();
    assert_eq!(v4_after(&by_key), ["172.31.0.3", "172.31.0.4", "172.31.0.2"]);
    let as_agent = [&back[..], &[token(1, 1), join_as(1, 1, 5)]].concat();
    assert_eq!(v4_after(&as_agent), ["172.31.0.3", "172.31.0.4", "172.31.0.2"]);
    let too_late = [&back[..], &[Command::Expire(UnixMs(1 + KEEP_ADDRESSES_MS)), client("a", 1)]].concat();
    assert_eq!(v4_after(&too_late), ["172.31.0.3", "172.31.0.4", "172.31.0.5"]);
}

#[test]
fn a_key_says_more_than_a_name() {
    let log = [client("a", 1), client("b", 2), remove(1), remove(2), client("a", 2), client("b", 3)];
    assert_eq!(v4_after(&log), ["172.31.0.3", "172.31.0.4"]);
}

#[test]
fn an_admin_may_name_an_address_that_waits_for_somebody() {
    let log = [client("a", 1), remove(1), client_at("b", 2, &["172.31.0.2"]), client("a", 1)];
    let (state, _) = last_of(&log);
    assert_eq!(of(&state, 2), ["172.31.0.2", "fd00:1::3"]);
    assert_eq!(of(&state, 3), ["172.31.0.3", "fd00:1::2"], "what is left of its own");
}

#[test]
fn rather_than_none_the_address_that_waited_longest_is_given() {
    let small = Command::UpdateNetwork(UpdateNetwork {
        add_prefixes: vec!["10.0.0.0/29".parse().unwrap()],
        remove_prefixes: vec!["172.31.0.0/16".parse().unwrap()],
        ..update_network()
    });
    let names = ["a", "b", "c", "d", "e"];
    let mut log = vec![small];
    log.extend((1..).zip(names).map(|(number, name)| client(name, number)));
    assert_eq!(refusal(&[&log[..], &[client("f", 6)]].concat()).0, "no-free-address");
    log.extend([remove(2), remove(4), client("f", 6)]);
    assert_eq!(v4_after(&log), ["10.0.0.2", "10.0.0.4", "10.0.0.6", "10.0.0.3"]);
    log.push(client("d", 4));
    assert_eq!(v4_after(&log).last().unwrap(), "10.0.0.5", "that one still waited for d");
}

#[test]
fn a_reserved_address_that_waits_is_given_to_nobody_else() {
    let reserved = reserve(&["172.31.0.0/16"]);
    let log = [reserved, client_at("a", 1, &["172.31.0.2"]), remove(1)];
    assert_eq!(refusal(&[&log[..], &[client("b", 2)]].concat()).0, "no-free-address");
    assert_eq!(v4_after(&[&log[..], &[client("a", 1)]].concat()), ["172.31.0.2"]);
}

#[test]
fn the_last_that_left_with_a_key_or_name_is_the_one_that_is_waited_for() {
    let rotate = Command::RotateEndpointKey(RotateEndpointKey {
        endpoint: EndpointId(2),
        shown: None,
        new_key: key(1),
        credential: None,
        now: UnixMs(1),
        overlap_until: UnixMs(1),
    });
    let by_key = [client("a", 1), client("b", 2), remove(1), rotate, remove(2), client("c", 1)];
    assert_eq!(v4_after(&by_key), ["172.31.0.3"]);
    let two = [client("a", 1), client("b", 2), remove(1), remove(2)];
    let by_name = [&two[..], &[client("a", 2), remove(3), client("a", 3)]].concat();
    assert_eq!(v4_after(&by_name), ["172.31.0.3"]);
}

#[test]
fn a_network_grows_without_anybody_being_renumbered() {
    let change = |add: &[&str], remove: &[&str]| {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let (add_prefixes, remove_prefixes) = (nets(add), nets(remove));
        Command::UpdateNetwork(UpdateNetwork { add_prefixes, remove_prefixes, ..update_network() })
    };
    let old = client("a", 1);
    let log = [old.clone(), change(&["10.0.0.0/24"], &[]), client_at("b", 2, &["10.0.0.7"])];
    assert_eq!(v4_after(&log), ["172.31.0.2", "10.0.0.7"]);
    for (add, kind) in
        [("172.31.5.0/24", "prefix-overlap"), ("172.0.0.0/8", "prefix-overlap"), ("10.0.0.1/24", "bad-prefix")]
    {
        assert_eq!(refusal(&[change(&[add], &[])]).0, kind);
    }
    let (kind, text) = refusal(&[old.clone(), change(&[], &["172.31.0.0/16"])]);
    assert_eq!(kind, "prefix-in-use");
    assert_eq!(text, "172.31.0.2 in 172.31.0.0/16 belongs to endpoint a (e1): move or remove that first");
    assert_eq!(refusal(&[token_for(1, &["172.31.0.2"]), change(&[], &["172.31.0.0/16"])]).0, "prefix-in-use");
    assert_eq!(refusal(&[change(&[], &["10.0.0.0/24"])]).0, "prefix-unknown");
    assert_eq!(refusal(&[change(&[], &["172.31.0.0/16", "fd00:1::/64"])]).0, "bad-prefix");
    let (state, last) = last_of(&[old, remove(1), change(&[], &["172.31.0.0/16"]), client("a", 1)]);
    assert_eq!((last, of(&state, 2)), (Ok(Outcome::Endpoint(EndpointId(2))), vec!["fd00:1::2".to_owned()]));
}

#[test]
fn reserved_ranges_are_checked() {
    for ranges in [&["172.30.0.0/24"][..], &["172.31.255.0-172.32.0.1"], &["172.31.0.0/16", "10.0.0.1"]] {
        assert_eq!(refusal(&[reserve(ranges)]).0, "bad-range", "{ranges:?}");
    }
    let turned = AddressRange { first: "172.31.0.9".parse().unwrap(), last: "172.31.0.1".parse().unwrap() };
    let turned = Command::UpdateNetwork(UpdateNetwork { reserved: Some(vec![turned]), ..update_network() });
    assert_eq!(refusal(&[turned]).0, "bad-range");
    assert_eq!(refusal(&[reserve(&["172.31.0.0/16"]), client("a", 1)]).0, "no-free-address");
}
