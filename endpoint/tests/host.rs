//! The reconciler against a real kernel, in a network namespace that ends with the test.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod namespace;
mod sample;

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use festoon_endpoint::host::{
    Choice, Consent, Desired, Direct, Host, Protection, Protocol, Slot, Watch, clean, home, plan,
};
use festoon_proto::map::GivenRange;
use ipnet::IpNet;
use namespace::{in_fresh_namespace, ip};
use tokio::sync::mpsc;
use tokio::time::timeout;

fn desired(addresses: &[&str], tunnel: &[&str]) -> Desired {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Desired {
        mtu: 1400,
        guarded: addresses.clone(),
        addresses,
        tunnel: tunnel.iter().map(|route| route.parse::<IpNet>().unwrap()).collect(),
        ..Desired::default()
    }
}

/// A host with an underlay 192.0.2.0/24 and a device for the overlay.
fn make_host() {
    ip("tuntap add dev under0 mode tun");
    ip("address add 192.0.2.2/24 dev under0");
    ip("link set under0 up");
    ip("route add default via 192.0.2.254");
    ip("tuntap add dev festoon0 mode tun");
}

async fn set(host: &mut Host, desired: &Desired) -> Vec<String> {
    let sight = host.look().await.unwrap();
    host.set(desired, &sight, true).await.unwrap().iter().map(ToString::to_string).collect()
}

/// The routes of a table. The kernel has none that it calls by this number until there is a route.
fn routes(family: &str, table: &str) -> String {
    let output = Command::new("ip").args([family, "route", "show", "table", table]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What the agent may change, without the device's own addresses.
fn around() -> [String; 4] {
    let table = Slot::of("festoon0").table().to_string();
    [ip("rule"), ip("-6 rule"), routes("-4", &table), routes("-6", &table)]
}

#[test]
fn the_device_gets_what_it_should_have_and_nothing_stays() {
    if !in_fresh_namespace("the_device_gets_what_it_should_have_and_nothing_stays") {
        return;
    }
    make_host();
    run(async {
        let before = (ip("-4 route"), ip("-6 route"), around());
        let mut host = Host::open("festoon0", Protection::Require).await.unwrap();
        let first = desired(&["172.31.0.5", "fd00::5"], &["172.31.0.0/16", "fd00::/64"]);
        assert_eq!(set(&mut host, &first).await, Vec::<String>::new());
        assert!(ip("link show festoon0").contains("mtu 1400"));
        assert!(ip("route get 172.31.9.9").contains("dev festoon0"));
        assert!(ip("route get 172.31.9.9").contains("src 172.31.0.5"));
        assert!(ip("-6 route get fd00::9").contains("dev festoon0"));
        // The main table is left alone, and the agent's own packets do not see the other.
        assert_eq!(ip("-4 route"), before.0);
        assert!(ip("route get 172.31.9.9 mark 0x46000000").contains("via 192.0.2.254 dev under0"));
        let addresses = ip("address show dev festoon0");
        assert!(addresses.contains("inet 172.31.0.5/32"), "{addresses}");
        assert!(addresses.contains("inet6 fd00::5/128"), "{addresses}");
        assert!(!addresses.contains("tentative") && !addresses.contains("fe80"), "{addresses}");

        // Again: nothing to do. Then another map: only the difference.
        let once = around();
        assert_eq!(set(&mut host, &first).await, Vec::<String>::new());
        assert_eq!(around(), once);
        let mut second = desired(&["172.31.0.6"], &["172.31.0.0/16", "10.9.0.0/24"]);
        second.direct = vec![Direct { address: "10.9.0.9".parse().unwrap(), protocol: Protocol::Tcp, port: 8443 }];
        assert_eq!(set(&mut host, &second).await, Vec::<String>::new());
        let addresses = ip("address show dev festoon0");
        assert!(addresses.contains("172.31.0.6/32") && !addresses.contains("172.31.0.5"), "{addresses}");
        let [rules, _, v4, v6] = around();
        assert!(v4.contains("10.9.0.0/24 dev festoon0") && v4.contains("unreachable 10.9.0.0/24"), "{v4}");
        assert!(v4.contains("172.31.0.0/16 dev festoon0 proto 70 scope link src 172.31.0.6"), "{v4}");
        assert!(!v6.contains("fd00::/64"), "{v6}");
        assert!(rules.contains("to 10.9.0.9 ipproto tcp dport 8443 lookup main"), "{rules}");
        assert!(ip("route get 10.9.0.9 ipproto tcp dport 8443").contains("dev under0"));
        assert!(ip("route get 10.9.0.9 ipproto tcp dport 22").contains("dev festoon0"));

        // A more specific route of the main table, as a neighbour may have it made, changes nothing.
        ip("route add 172.31.0.0/24 via 192.0.2.66");
        assert!(ip("route get 172.31.0.9").contains("dev festoon0"));
        ip("route del 172.31.0.0/24");

        host.restore().await.unwrap();
        assert_eq!((ip("-4 route"), ip("-6 route"), around()), before);
        assert!(!ip("address show dev festoon0").contains("inet"));
    });
}

#[test]
fn without_the_device_the_overlay_is_nowhere_until_it_is_cleaned_up() {
    if !in_fresh_namespace("without_the_device_the_overlay_is_nowhere_until_it_is_cleaned_up") {
        return;
    }
    make_host();
    run(async {
        let before = around();
        let mut host = Host::open("festoon0", Protection::Require).await.unwrap();
        set(&mut host, &desired(&["172.31.0.5", "fd00::5"], &["172.31.0.0/16", "fd00::/64"])).await;
        drop(host);
        // As after a crash.
        ip("link del festoon0");
        for to in ["172.31.9.9", "fd00::9"] {
            let way = Command::new("ip").args(["route", "get", to]).output().unwrap();
            assert!(!way.status.success(), "{to} is reached: {}", String::from_utf8_lossy(&way.stdout));
        }
        assert!(clean("festoon0").await.unwrap());
        assert_eq!(around(), before);
        assert!(!clean("festoon0").await.unwrap());
    });
}

#[test]
fn home_is_what_the_host_has_beside_the_overlay() {
    if !in_fresh_namespace("home_is_what_the_host_has_beside_the_overlay") {
        return;
    }
    make_host();
    ip("address add 172.31.0.5/32 dev festoon0");
    run(async {
        let home = home("festoon0").await.unwrap();
        assert_eq!(home.subnets, ["192.0.2.0/24".parse::<IpNet>().unwrap()]);
        assert_eq!(home.gateways, ["192.0.2.254".parse::<IpAddr>().unwrap()]);
    });
}

#[test]
fn routes_that_the_host_had_when_it_joined_stay_its_own() {
    if !in_fresh_namespace("routes_that_the_host_had_when_it_joined_stay_its_own") {
        return;
    }
    make_host();
    ip("route add 172.31.64.0/20 via 192.0.2.9");
    ip("route add 0.0.0.0/1 via 192.0.2.254");
    run(async {
        let home = home("festoon0").await.unwrap();
        assert_eq!(home.routes, ["172.31.64.0/20".parse::<IpNet>().unwrap()]);
        let mut host = Host::open("festoon0", Protection::Require).await.unwrap();
        let sight = host.look().await.unwrap();
        let mut map = sample::map();
        map.network.prefixes = vec!["172.31.0.0/16".parse().unwrap()];
        map.given = vec![GivenRange { first: "172.31.0.0".parse().unwrap(), last: "172.31.0.255".parse().unwrap() }];
        let choice = Choice { consents: vec![Consent::Private], ..Choice::default() };
        let desired = plan(&map, &home, &choice, &sight.facts).desired;
        host.set(&desired, &sight, true).await.unwrap();
        assert!(ip("route get 172.31.64.9").contains("via 192.0.2.9 dev under0"));
        assert!(ip("route get 172.31.0.9").contains("dev festoon0"));
    });
}

/// As `wg-quick` and exit nodes do.
#[test]
fn another_program_that_takes_overlay_packets_is_named() {
    if !in_fresh_namespace("another_program_that_takes_overlay_packets_is_named") {
        return;
    }
    make_host();
    run(async {
        let mut host = Host::open("festoon0", Protection::Require).await.unwrap();
        let desired = desired(&["172.31.0.5", "fd00::5"], &["172.31.0.0/16", "10.9.0.0/16", "fd00::/64"]);
        assert_eq!(set(&mut host, &desired).await, Vec::<String>::new());
        ip("route add default dev under0 table 51820");
        ip("rule add not fwmark 51820 table 51820");
        let problems = set(&mut host, &desired).await;
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        for part in ["packets to 10.9.0.0/16 and another prefix", "through under0", "for table 51820"] {
            assert!(problem.contains(part), "no {part:?} in {problem}");
        }
        ip("rule del table 51820");
        assert_eq!(set(&mut host, &desired).await, Vec::<String>::new());

        // Only a part of a prefix, and the other family.
        ip("rule add to 172.31.77.0/24 table 51820 priority 5000");
        ip("-6 rule add to fd00::/64 unreachable priority 5000");
        let problems = set(&mut host, &desired).await;
        let expected = ["packets to 172.31.77.0/24 do not", "packets to fd00::/64 do not"];
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(expected.iter().all(|part| problems.iter().any(|problem| problem.contains(part))), "{problems:?}");
        assert!(
            problems.iter().any(|problem| problem.contains("by routing rule 5000 for table 51820")),
            "{problems:?}"
        );
        // One for what does not concern the overlay is nobody's business, nor is one that comes later.
        ip("rule del priority 5000");
        ip("-6 rule del priority 5000");
        ip("rule add to 203.0.113.0/24 table 51820 priority 5000");
        ip("rule add table 51820 priority 32000");
        assert_eq!(set(&mut host, &desired).await, Vec::<String>::new());
    });
}

#[test]
fn a_change_of_the_underlay_is_seen_and_told_from_one_of_the_device() {
    if !in_fresh_namespace("a_change_of_the_underlay_is_seen_and_told_from_one_of_the_device") {
        return;
    }
    make_host();
    run(async {
        let host = Host::open("festoon0", Protection::Require).await.unwrap();
        let (changes, mut seen) = mpsc::channel(16);
        let watching = tokio::spawn(Watch::open(host.index(), "festoon0").unwrap().run(changes));
        let mut next = async || timeout(Duration::from_secs(10), seen.recv()).await.unwrap().unwrap();

        ip("address add 172.31.0.5/32 dev festoon0");
        assert!(!next().await.underlay);
        let table = Slot::of("festoon0").table();
        ip(&format!("route add unreachable 172.31.0.0/16 table {table}"));
        assert!(!next().await.underlay);
        ip(&format!("rule add lookup {table} priority 9"));
        assert!(!next().await.underlay);
        ip("address add 192.0.2.3/24 dev under0");
        while !next().await.underlay {}
        ip("route add 203.0.113.0/24 via 192.0.2.254");
        while !next().await.underlay {}
        watching.abort();
    });
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(test);
}
