use super::*;
use crate::host::facts::{Bridge, Subnet, UnderlayRoute};
use crate::sample;
use festoon_proto::map::{GivenRange, OwnRoute};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| net(text)).collect()
}

fn overlay(prefixes: &[&str], routes: &[&str]) -> EndpointMap {
    let mut map = sample::map();
    map.network.prefixes = nets(prefixes);
    map.network.gateways = Vec::new();
    map.addresses = vec!["172.31.0.5".parse().unwrap()];
    map.routes = nets(routes);
    map
}

fn given(mut map: EndpointMap, ranges: &[(&str, &str)]) -> EndpointMap {
    let range =
        |(first, last): &(&str, &str)| GivenRange { first: first.parse().unwrap(), last: last.parse().unwrap() };
    map.given = ranges.iter().map(range).collect();
    map
}

fn home(subnets: &[&str], gateways: &[&str], resolvers: &[&str]) -> Home {
    let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Home { subnets: nets(subnets), routes: Vec::new(), gateways: all(gateways), resolvers: all(resolvers) }
}

fn choice(local: &[&str], consents: &[&str]) -> Choice {
    let consents = consents.iter().map(|text| text.parse().unwrap()).collect();
    Choice { local: nets(local), forward_from: Vec::new(), consents }
}

fn subnet(text: &str, interface: &str) -> Subnet {
    Subnet { prefix: net(text).trunc(), address: net(text).addr(), interface: interface.into(), is_lasting: true }
}

fn on(subnets: &[&str], routes: &[(&str, Option<&str>)]) -> Facts {
    let subnet = |text: &&str| subnet(text, "eth0");
    let route = |(prefix, gateway): &(&str, Option<&str>)| UnderlayRoute {
        prefix: net(prefix),
        interface: "eth0".into(),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
    };
    Facts {
        subnets: subnets.iter().map(subnet).collect(),
        routes: routes.iter().map(route).collect(),
        bridges: Vec::new(),
    }
}

fn codes(plan: &Plan) -> Vec<(Code, String)> {
    plan.notes.iter().map(|note| (note.code, note.prefix.to_string())).collect()
}

#[test]
fn a_prefix_apart_from_the_host_goes_into_the_tunnel_whole() {
    let map = overlay(&["172.31.0.0/16", "fd31::/64"], &["192.168.77.0/24"]);
    let facts = on(&["192.168.1.7/24"], &[("0.0.0.0/0", Some("192.168.1.1")), ("192.168.1.0/24", None)]);
    let plan = plan(&map, &Home::of(&facts, Vec::new()), &choice(&[], &["private"]), &facts);
    assert_eq!(plan.desired.tunnel, nets(&["172.31.0.0/16", "192.168.77.0/24", "fd31::/64"]));
    assert!(plan.desired.closed.is_empty());
    assert_eq!(plan.desired.guarded, map.addresses);
    assert!(plan.notes.is_empty());
}

#[test]
fn in_a_vpc_only_what_was_given_out_goes_into_the_tunnel() {
    let map =
        given(overlay(&["172.31.0.0/16"], &[]), &[("172.31.0.0", "172.31.0.15"), ("172.31.17.0", "172.31.17.15")]);
    let facts = on(&["172.31.16.5/20"], &[("0.0.0.0/0", Some("172.31.16.1")), ("172.31.16.0/20", None)]);
    let home = home(&["172.31.16.0/20"], &["172.31.16.1"], &["172.31.0.2"]);
    let plan = plan(&map, &home, &choice(&[], &["private"]), &facts);
    let tunnel: Spans = plan.desired.tunnel.iter().collect();
    for (address, is_in) in [
        ("172.31.0.1", true),
        ("172.31.0.2", false),
        ("172.31.0.3", true),
        ("172.31.0.15", true),
        // Another subnet of the VPC, which the default route leads to; and the host's own.
        ("172.31.40.9", false),
        ("172.31.17.3", false),
        ("172.31.16.1", false),
    ] {
        assert_eq!(tunnel.contains(address.parse().unwrap()), is_in, "{address}");
    }
    let expected = [(Code::Shadowed, "172.31.16.0/20".into()), (Code::Shadowed, "172.31.0.2/32".into())];
    assert_eq!(codes(&plan), expected);
}

#[test]
fn what_comes_later_gets_nothing_until_it_is_allowed() {
    let map = overlay(&["172.31.0.0/16"], &["192.168.77.0/24"]);
    let before = on(&["192.168.1.7/24"], &[("0.0.0.0/0", Some("192.168.1.1"))]);
    let home_before = Home::of(&before, Vec::new());
    let later = on(
        &["192.168.1.7/24", "172.31.9.7/24"],
        &[
            ("0.0.0.0/0", Some("192.168.1.1")),
            ("172.31.0.5/32", Some("192.168.1.66")),
            ("172.31.0.0/17", None),
            ("192.168.77.0/25", Some("192.168.1.66")),
            // Wider than the overlay's prefix: that wins anyway.
            ("172.0.0.0/8", Some("192.168.1.66")),
        ],
    );
    let attacked = plan(&map, &home_before, &choice(&[], &["private"]), &later);
    assert_eq!(attacked.desired.tunnel, nets(&["172.31.0.0/16", "192.168.77.0/24"]));
    let foreign: Vec<_> = ["172.31.9.0/24", "172.31.0.5/32", "172.31.0.0/17", "192.168.77.0/25"]
        .map(|prefix| (Code::ForeignRoute, prefix.to_owned()))
        .into();
    assert_eq!(codes(&attacked), foreign);
    assert!(
        attacked.notes[1].text.contains("over 192.168.1.66")
            && attacked.notes[1].text.contains("--local 172.31.0.5/32")
    );

    let allowed = plan(&map, &home_before, &choice(&["172.31.9.0/24"], &["private"]), &later);
    assert!(!codes(&allowed).contains(&(Code::ForeignRoute, "172.31.9.0/24".into())));
    let tunnel: Spans = allowed.desired.tunnel.iter().chain(&allowed.desired.closed).collect();
    assert!(!tunnel.contains("172.31.9.7".parse().unwrap()));
}

#[test]
fn in_a_vpc_a_later_route_to_what_nobody_was_given_is_closed() {
    let map = given(overlay(&["172.31.0.0/16"], &[]), &[("172.31.0.0", "172.31.0.15")]);
    let facts = on(&["172.31.16.5/20"], &[("172.31.64.0/20", Some("172.31.16.66"))]);
    let plan = plan(&map, &home(&["172.31.16.0/20"], &[], &[]), &choice(&[], &["private"]), &facts);
    assert_eq!(plan.desired.tunnel, nets(&["172.31.0.0/28"]));
    assert_eq!(plan.desired.closed, nets(&["172.31.64.0/20"]));
    assert!(codes(&plan).contains(&(Code::ForeignRoute, "172.31.64.0/20".into())));
}

#[test]
fn a_route_over_the_hosts_own_network_or_gateway_needs_its_consent() {
    let map = overlay(&["172.31.0.0/16"], &["192.168.50.8/29", "192.168.50.1/32", "203.0.113.0/24", "10.9.0.0/16"]);
    let facts = on(&["192.168.50.3/24"], &[("0.0.0.0/0", Some("192.168.50.1"))]);
    let home = Home::of(&facts, Vec::new());
    let refused = plan(&map, &home, &choice(&[], &["private"]), &facts);
    assert_eq!(refused.desired.tunnel, nets(&["10.9.0.0/16", "172.31.0.0/16"]));
    let all = ["192.168.50.8/29", "192.168.50.1/32", "203.0.113.0/24"];
    assert_eq!(codes(&refused), all.map(|prefix| (Code::RefusedRoute, prefix.to_owned())));

    let consents = ["private", "192.168.50.8/29", "203.0.113.0/24"];
    let agreed = plan(&map, &home, &choice(&[], &consents), &facts);
    assert_eq!(agreed.desired.tunnel, nets(&["10.9.0.0/16", "172.31.0.0/16", "192.168.50.8/29", "203.0.113.0/24"]));
    assert_eq!(codes(&agreed), [(Code::RefusedRoute, "192.168.50.1/32".to_owned())]);
}

#[test]
fn managers_inside_the_overlay_are_reached_beside_the_tunnel() {
    let mut map = overlay(&["192.0.2.0/24", "127.0.0.0/8"], &[]);
    map.managers[0].https = vec!["192.0.2.1:8443".parse().unwrap(), "198.51.100.1:8443".parse().unwrap()];
    let plan = plan(&map, &Home::default(), &choice(&[], &["private"]), &Facts::default());
    let direct = |protocol, port| Direct { address: "192.0.2.1".parse().unwrap(), protocol, port };
    assert_eq!(plan.desired.direct, [direct(Protocol::Tcp, 8443), direct(Protocol::Udp, 51820)]);
}

#[test]
fn a_site_lets_the_hosts_behind_it_through_once_an_admin_agrees() {
    let mut map = overlay(&["172.31.0.0/16"], &[]);
    let route = |prefix, is_approved| OwnRoute { prefix: net(prefix), is_approved };
    map.own_routes = vec![route("192.168.77.0/24", true), route("192.168.78.0/24", false)];
    let choice = Choice { forward_from: nets(&["10.88.0.0/16"]), ..choice(&[], &["private"]) };
    let plan = plan(&map, &Home::default(), &choice, &Facts::default());
    assert_eq!(plan.desired.behind, nets(&["10.88.0.0/16", "192.168.77.0/24"]));
}

#[test]
fn an_overlay_address_that_is_an_underlay_address_too_does_not_cut_the_host_off() {
    let map = overlay(&["172.31.0.0/16"], &[]);
    let facts = on(&["172.31.0.5/20"], &[]);
    let plan = plan(&map, &Home::of(&facts, Vec::new()), &choice(&[], &["private"]), &facts);
    assert_eq!(plan.desired.guarded, Vec::<IpAddr>::new());
}

/// A laptop that is carried to a network with the overlay's numbers.
#[test]
fn a_host_whose_own_address_the_overlay_has_is_still_reached_by_the_rest_of_the_world() {
    let map = overlay(&["172.31.0.0/16"], &[]);
    let facts = on(&["172.31.9.7/24"], &[("0.0.0.0/0", Some("172.31.9.1"))]);
    for (home, underlay) in [(Home::default(), vec!["172.31.9.7"]), (Home::of(&facts, Vec::new()), Vec::new())] {
        let plan = plan(&map, &home, &choice(&[], &["private"]), &facts);
        let underlay: Vec<IpAddr> = underlay.into_iter().map(|address| address.parse().unwrap()).collect();
        assert_eq!(plan.desired.underlay, underlay);
    }
}

#[test]
fn routes_that_the_host_had_are_its_own_if_they_are_not_wider_than_the_overlay() {
    let map = given(overlay(&["172.31.0.0/16"], &["10.8.1.0/24"]), &[("172.31.0.0", "172.31.0.15")]);
    let facts = on(
        &["192.168.1.7/24"],
        &[
            ("0.0.0.0/0", Some("192.168.1.1")),
            ("172.16.0.0/12", Some("192.168.1.2")),
            // A site behind a VPN.
            ("172.31.0.8/29", None),
            ("10.8.0.0/16", None),
        ],
    );
    let home = Home::of(&facts, Vec::new());
    let plan = plan(&map, &home, &choice(&[], &["private"]), &facts);
    assert_eq!(plan.desired.tunnel, nets(&["172.31.0.0/29"]));
    assert!(plan.desired.closed.is_empty());
    let expected = [(Code::Shadowed, "172.31.0.8/29".into()), (Code::RefusedRoute, "10.8.1.0/24".into())];
    assert_eq!(codes(&plan), expected);
    assert!(plan.notes[1].text.contains("10.8.0.0/16"), "{}", plan.notes[1].text);
}

#[test]
fn a_record_of_before_routes_were_kept_is_read() {
    let home: Home = serde_json::from_str(r#"{"subnets":["10.0.0.0/8"],"gateways":[],"resolvers":[]}"#).unwrap();
    assert_eq!(home.routes, Vec::<IpNet>::new());
}

#[test]
fn containers_with_overlay_addresses_are_named_with_the_option_that_allows_them() {
    let map = overlay(&["172.31.0.0/16"], &[]);
    let before = on(&["192.168.1.7/24"], &[]);
    let mut facts = on(&["192.168.1.7/24"], &[("172.31.200.0/24", None)]);
    facts.subnets.push(subnet("172.31.200.1/24", "br-app"));
    facts.bridges =
        vec![Bridge { name: "br-app".into(), has_outer_port: false, has_way_out: false, is_filtered: false }];
    let home = Home::of(&before, Vec::new());
    let closed = plan(&map, &home, &choice(&[], &["private"]), &facts);
    assert_eq!(codes(&closed), [(Code::ForeignRoute, "172.31.200.0/24".into())]);
    let text = &closed.notes[0].text;
    assert!(text.contains("bridge br-app") && text.contains("--local 172.31.200.0/24"), "{text}");
    // Its addresses stay the overlay's: it is let through only for what is not.
    assert!(closed.desired.tunnel.iter().collect::<Spans>().contains("172.31.200.9".parse().unwrap()));
    let allowed = plan(&map, &home, &choice(&["172.31.200.0/24"], &["private"]), &facts);
    assert_eq!(codes(&allowed), [(Code::Shadowed, "172.31.200.0/24".into())]);
    assert!(!allowed.desired.tunnel.iter().collect::<Spans>().contains("172.31.200.9".parse().unwrap()));
    assert_eq!(allowed.desired.inner_bridges[0].subnets, nets(&["172.31.200.0/24"]));
}

#[test]
fn containers_on_a_bridge_with_other_ways_are_named_with_the_option_that_allows_them() {
    let map = overlay(&["10.9.0.0/16"], &[]);
    let mut facts = on(&["192.168.1.7/24"], &[]);
    facts.subnets.push(subnet("172.17.0.1/16", "docker0"));
    facts.bridges =
        vec![Bridge { name: "docker0".into(), has_outer_port: false, has_way_out: true, is_filtered: false }];
    let plan = plan(&map, &Home::of(&facts, Vec::new()), &choice(&[], &["private"]), &facts);
    assert_eq!(codes(&plan), [(Code::ClosedBridge, "172.17.0.0/16".into())]);
    assert!(plan.notes[0].text.contains("--forward-from 172.17.0.0/16"));
    assert!(plan.desired.inner_bridges.is_empty());
}

#[test]
fn a_network_around_the_overlay_that_comes_later_is_named() {
    let map = overlay(&["10.9.0.0/16"], &[]);
    let facts = on(&["10.1.2.3/8"], &[("10.0.0.0/8", None)]);
    let later = plan(&map, &Home::default(), &choice(&[], &["private"]), &facts);
    assert_eq!(later.desired.tunnel, nets(&["10.9.0.0/16"]));
    assert_eq!(codes(&later), [(Code::ForeignRoute, "10.0.0.0/8".into())]);
    assert!(later.notes[0].text.contains("--local 10.0.0.0/8"));
    let known = plan(&map, &Home::of(&facts, Vec::new()), &choice(&[], &["private"]), &facts);
    assert!(!codes(&known).iter().any(|(code, _)| *code == Code::ForeignRoute));
}

#[test]
fn while_it_is_shut_nothing_goes_into_the_tunnel() {
    let desired = Desired { tunnel: nets(&["172.31.0.0/16"]), closed: nets(&["10.9.0.0/24"]), ..Desired::default() };
    let shut = desired.shut();
    assert!(shut.tunnel.is_empty());
    assert_eq!(shut.closed, nets(&["172.31.0.0/16", "10.9.0.0/24"]));
}
