//! The reconciler against a real kernel, in a network namespace that ends with the test.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod namespace;

use std::net::IpAddr;
use std::time::Duration;

use festoon_endpoint::host::{Desired, Host, Watch};
use ipnet::IpNet;
use namespace::{in_fresh_namespace, ip};
use tokio::sync::mpsc;
use tokio::time::timeout;

fn desired(addresses: &[&str], routes: &[&str], managers: &[&str]) -> Desired {
    Desired {
        mtu: 1400,
        addresses: addresses.iter().map(|address| address.parse::<IpAddr>().unwrap()).collect(),
        routes: routes.iter().map(|route| route.parse::<IpNet>().unwrap()).collect(),
        managers: managers.iter().map(|manager| manager.parse::<IpAddr>().unwrap()).collect(),
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

async fn set(host: &Host, desired: &Desired) -> Vec<String> {
    host.set(desired).await.unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn the_device_gets_what_it_should_have_and_nothing_stays() {
    if !in_fresh_namespace("the_device_gets_what_it_should_have_and_nothing_stays") {
        return;
    }
    make_host();
    run(async {
        let before = (ip("-4 route"), ip("-6 route"));
        let host = Host::open("festoon0").await.unwrap();
        let first = desired(&["172.31.0.5", "fd00::5"], &["172.31.0.0/16", "fd00::/64"], &["192.0.2.1"]);
        assert_eq!(set(&host, &first).await, Vec::<String>::new());
        assert!(ip("link show festoon0").contains("mtu 1400"));
        assert!(ip("route get 172.31.9.9").contains("dev festoon0 src 172.31.0.5"));
        assert!(ip("-6 route get fd00::9").contains("dev festoon0"));
        let addresses = ip("address show dev festoon0");
        assert!(addresses.contains("inet 172.31.0.5/32"), "{addresses}");
        assert!(addresses.contains("inet6 fd00::5/128"), "{addresses}");
        assert!(!addresses.contains("tentative") && !addresses.contains("fe80"), "{addresses}");

        // Again: nothing to do. Then another map: only the difference.
        assert_eq!(set(&host, &first).await, Vec::<String>::new());
        let second = desired(&["172.31.0.6"], &["172.31.0.0/16", "10.9.0.0/24"], &["192.0.2.1"]);
        assert_eq!(set(&host, &second).await, Vec::<String>::new());
        let addresses = ip("address show dev festoon0");
        assert!(addresses.contains("172.31.0.6/32") && !addresses.contains("172.31.0.5"), "{addresses}");
        assert!(ip("-4 route").contains("10.9.0.0/24 dev festoon0") && !ip("-6 route").contains("fd00::/64"));

        // What somebody took away comes back.
        ip("route del 10.9.0.0/24");
        assert_eq!(set(&host, &second).await, Vec::<String>::new());
        assert!(ip("-4 route").contains("10.9.0.0/24 dev festoon0"));

        host.restore().await.unwrap();
        assert_eq!((ip("-4 route"), ip("-6 route")), before);
        assert!(!ip("address show dev festoon0").contains("inet"));
    });
}

#[test]
fn the_way_to_the_managers_is_never_taken() {
    if !in_fresh_namespace("the_way_to_the_managers_is_never_taken") {
        return;
    }
    make_host();
    run(async {
        let host = Host::open("festoon0").await.unwrap();
        let before = ip("-4 route");
        for (prefix, manager) in
            [("0.0.0.0/0", "198.51.100.1"), ("192.0.2.0/24", "192.0.2.1"), ("198.51.100.0/24", "198.51.100.1")]
        {
            let problems = set(&host, &desired(&[], &[prefix], &[manager])).await;
            assert_eq!(problems.len(), 1);
            assert!(problems[0].contains(prefix) && problems[0].contains(manager), "{problems:?}");
            assert_eq!(ip("-4 route"), before);
        }
        let problems = set(&host, &desired(&[], &["192.0.2.0/24", "10.0.0.0/8"], &["198.51.100.1"])).await;
        assert_eq!(problems, ["overlay prefix 192.0.2.0/24 is not routed: this host routes it to under0 already"]);
        assert!(ip("-4 route").contains("10.0.0.0/8 dev festoon0"));
    });
}

#[test]
fn a_change_of_the_underlay_is_seen_and_told_from_one_of_the_device() {
    if !in_fresh_namespace("a_change_of_the_underlay_is_seen_and_told_from_one_of_the_device") {
        return;
    }
    make_host();
    run(async {
        let host = Host::open("festoon0").await.unwrap();
        let (changes, mut seen) = mpsc::channel(16);
        let watching = tokio::spawn(Watch::open(host.index()).unwrap().run(changes));
        let mut next = async || timeout(Duration::from_secs(10), seen.recv()).await.unwrap().unwrap();

        ip("address add 172.31.0.5/32 dev festoon0");
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
