//! What a host looks like beside the overlay: its networks, routes and resolvers, now and when it joined. Pure but for
//! [`resolvers`].

use std::fs;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Where resolvers are listed, the best first: the one of systemd-resolved names the resolvers behind its own.
const RESOLVERS: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];

/// A network that the host is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// The prefix of its address there.
    pub prefix: IpNet,
    /// The address.
    pub address: IpAddr,
    /// Through which interface.
    pub interface: String,
    /// Whether the address was given to it for good, and not by DHCP or a router advertisement.
    pub is_lasting: bool,
}

/// A route of the host that does not lead into the overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderlayRoute {
    /// Where to.
    pub prefix: IpNet,
    /// Through which interface.
    pub interface: String,
    /// Over which gateway, if not directly.
    pub gateway: Option<IpAddr>,
}

/// The host, now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Its networks, without the overlay and loopback.
    pub subnets: Vec<Subnet>,
    /// Its main routes, without those to the overlay's device.
    pub routes: Vec<UnderlayRoute>,
    /// Its bridges.
    pub bridges: Vec<Bridge>,
}

/// A bridge of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// The interface.
    pub name: String,
    /// Whether a port is, or may be, connected to more than one guest: a physical one, or a pair of veth to another bridge.
    pub has_outer_port: bool,
    /// Whether the host has a route over it to more than the neighbours there.
    pub has_way_out: bool,
    /// Whether packets pass the packet filter that are only bridged (br_netfilter).
    pub is_filtered: bool,
}

/// What the host had when it joined. It keeps these, whatever the overlay's prefixes are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Home {
    /// Its networks.
    pub subnets: Vec<IpNet>,
    /// Where its other routes led, without default routes.
    #[serde(default)]
    pub routes: Vec<IpNet>,
    /// Its default gateways.
    pub gateways: Vec<IpAddr>,
    /// Its resolvers.
    pub resolvers: Vec<IpAddr>,
}

/// What stands for a default route, also with VPNs that leave the real one in its place: the whole, its halves, and all that IPv6
/// has given out (RFC 4291 section 2.4).
const DEFAULTS: [&str; 7] = ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "::/1", "8000::/1", "2000::/3"];

fn is_default(prefix: IpNet) -> bool {
    DEFAULTS.iter().any(|default| default.parse() == Ok(prefix))
}

impl Home {
    /// What a host has now.
    pub fn of(facts: &Facts, mut resolvers: Vec<IpAddr>) -> Self {
        let mut subnets: Vec<IpNet> = facts.subnets.iter().map(|subnet| subnet.prefix).collect();
        let others = facts.routes.iter().map(|route| route.prefix.trunc()).filter(|prefix| !is_default(*prefix));
        let mut routes: Vec<IpNet> =
            others.filter(|prefix| !subnets.iter().any(|subnet| subnet.contains(prefix))).collect();
        let defaults = facts.routes.iter().filter(|route| route.prefix.prefix_len() == 0);
        let mut gateways: Vec<IpAddr> = defaults.filter_map(|route| route.gateway).collect();
        resolvers.retain(|resolver| !resolver.is_loopback());
        for prefixes in [&mut subnets, &mut routes] {
            prefixes.sort_unstable();
            prefixes.dedup();
        }
        for addresses in [&mut gateways, &mut resolvers] {
            addresses.sort_unstable();
            addresses.dedup();
        }
        Self { subnets, routes, gateways, resolvers }
    }
}

/// The resolvers that the host uses now. Whatever cannot be read has none.
pub fn resolvers() -> Vec<IpAddr> {
    RESOLVERS.iter().filter_map(|path| fs::read_to_string(path).ok()).flat_map(|text| name_servers(&text)).collect()
}

/// The name servers of a `resolv.conf` (resolv.conf(5)).
fn name_servers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let (keyword, address) = (words.next()?, words.next()?);
        // An IPv6 address may have an interface behind it.
        let address = address.split('%').next().unwrap_or_default();
        if keyword == "nameserver" { address.parse().ok() } else { None }
    };
    text.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_the_resolver_does() {
        let text =
            "# nameserver 9.9.9.9\nsearch example.com\nnameserver 172.31.0.2\nnameserver\tfe80::1%eth0\nnameserver x\n";
        let expected: Vec<IpAddr> = vec!["172.31.0.2".parse().unwrap(), "fe80::1".parse().unwrap()];
        assert_eq!(name_servers(text), expected);
    }

    fn route(prefix: &str, gateway: Option<&str>) -> UnderlayRoute {
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        UnderlayRoute { prefix: prefix.parse().unwrap(), interface: "eth0".into(), gateway }
    }

    #[test]
    fn home_is_networks_routes_default_gateways_and_resolvers() {
        let facts = Facts {
            subnets: vec![Subnet {
                prefix: "172.31.16.0/20".parse().unwrap(),
                address: "172.31.16.5".parse().unwrap(),
                interface: "eth0".into(),
                is_lasting: false,
            }],
            routes: vec![
                route("0.0.0.0/0", Some("172.31.16.1")),
                route("172.31.16.0/20", None),
                route("172.31.64.0/20", Some("172.31.16.9")),
                // A VPN for everything.
                route("0.0.0.0/1", None),
                route("128.0.0.0/1", None),
            ],
            bridges: Vec::new(),
        };
        let home = Home::of(&facts, vec!["127.0.0.53".parse().unwrap(), "172.31.0.2".parse().unwrap()]);
        assert_eq!(home.subnets, ["172.31.16.0/20".parse().unwrap()]);
        assert_eq!(home.routes, ["172.31.64.0/20".parse().unwrap()]);
        assert_eq!(home.gateways, ["172.31.16.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(home.resolvers, ["172.31.0.2".parse::<IpAddr>().unwrap()]);
    }
}
