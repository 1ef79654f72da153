//! Which bridges have only guests of this host behind them, and what comes through them. Pure.
//!
//! That all ports of a bridge are virtual does not say so: a veth may lead to the network of the host around a container, or to
//! another bridge. So a bridge counts only where this host is the router of a network of its own: it has a lasting address
//! there, it has no way to anywhere else over it, and no port leads on. And even then only the bridge's own subnets may send.

use ipnet::IpNet;

use super::facts::{Bridge, Facts};

/// A bridge with guests of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inner {
    /// Its name, of plain characters.
    pub name: String,
    /// The subnets of its guests.
    pub subnets: Vec<IpNet>,
}

/// The bridges of `facts` that have only guests of this host behind them.
pub(super) fn inner(facts: &Facts) -> Vec<Inner> {
    let mut all: Vec<Inner> = facts.bridges.iter().filter_map(|bridge| as_inner(bridge, facts)).collect();
    all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    all
}

/// The other bridges, as far as packets pass the packet filter there that are only bridged.
pub(super) fn bridged(facts: &Facts) -> Vec<String> {
    let is_inner = |bridge: &Bridge| as_inner(bridge, facts).is_some();
    let wanted = facts.bridges.iter().filter(|it| it.is_filtered && is_plain(&it.name) && !is_inner(it));
    let mut names: Vec<String> = wanted.map(|bridge| bridge.name.clone()).collect();
    names.sort_unstable();
    names
}

/// Bridges that look as if they had only guests behind them, but for a route or an address of this host; each with a subnet. Not
/// those that this host itself gets to the world by.
pub(super) fn doubtful(facts: &Facts) -> Vec<(&str, IpNet)> {
    let is_uplink = |bridge: &Bridge| {
        facts.routes.iter().any(|route| route.prefix.prefix_len() == 0 && route.interface == bridge.name)
    };
    let subnet =
        |bridge: &Bridge| facts.subnets.iter().find(|it| it.interface == bridge.name).map(|it| it.prefix.trunc());
    let wanted = facts.bridges.iter().filter(|it| !it.has_outer_port && is_plain(&it.name));
    let wanted = wanted.filter(|bridge| as_inner(bridge, facts).is_none() && !is_uplink(bridge));
    wanted.filter_map(|bridge| Some((&*bridge.name, subnet(bridge)?))).collect()
}

fn as_inner(bridge: &Bridge, facts: &Facts) -> Option<Inner> {
    let here = facts.subnets.iter().filter(|subnet| subnet.interface == bridge.name);
    // An address with an end came from DHCP or a router advertisement: somebody else is the router.
    let is_router = here.clone().all(|subnet| subnet.is_lasting) && !bridge.has_way_out;
    if bridge.has_outer_port || !is_router || !is_plain(&bridge.name) {
        return None;
    }
    let mut subnets: Vec<IpNet> = here.map(|subnet| subnet.prefix.trunc()).collect();
    subnets.sort_unstable();
    subnets.dedup();
    if subnets.is_empty() { None } else { Some(Inner { name: bridge.name.clone(), subnets }) }
}

/// Names of other characters could say more in a script for `nft` than a name.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::facts::{Subnet, UnderlayRoute};

    fn bridge(name: &str) -> Bridge {
        Bridge { name: name.into(), has_outer_port: false, has_way_out: false, is_filtered: false }
    }

    fn subnet(text: &str, interface: &str) -> Subnet {
        let net: IpNet = text.parse().unwrap();
        Subnet { prefix: net.trunc(), address: net.addr(), interface: interface.into(), is_lasting: true }
    }

    fn names(bridges: Vec<Bridge>, subnets: Vec<Subnet>) -> Vec<String> {
        let facts = Facts { subnets, bridges, ..Facts::default() };
        inner(&facts).into_iter().map(|inner| inner.name).collect()
    }

    #[test]
    fn a_bridge_has_only_guests_if_this_host_is_its_only_router() {
        let docker = || subnet("172.17.0.1/16", "docker0");
        assert_eq!(names(vec![bridge("docker0")], vec![docker()]), ["docker0"]);
        let nobody: [&str; 0] = [];
        // A physical port, or a veth to another bridge.
        assert_eq!(names(vec![Bridge { has_outer_port: true, ..bridge("docker0") }], vec![docker()]), nobody);
        // The host itself gets out over it.
        assert_eq!(names(vec![Bridge { has_way_out: true, ..bridge("docker0") }], vec![docker()]), nobody);
        // DHCP or a router advertisement gave the address.
        let leased = Subnet { is_lasting: false, ..subnet("fd99::7/64", "docker0") };
        assert_eq!(names(vec![bridge("docker0")], vec![docker(), leased]), nobody);
        // The host is not in its network.
        assert_eq!(names(vec![bridge("docker0")], vec![subnet("172.17.0.1/16", "eth0")]), nobody);
        assert_eq!(names(vec![bridge("a\"b")], vec![subnet("172.17.0.1/16", "a\"b")]), nobody);
    }

    #[test]
    fn guests_are_known_by_the_subnets_of_the_bridge() {
        let subnets =
            vec![subnet("fd17::1/64", "docker0"), subnet("172.17.0.1/16", "docker0"), subnet("10.0.0.1/8", "eth0")];
        let facts = Facts { subnets, bridges: vec![bridge("docker0")], ..Facts::default() };
        let expected: Vec<IpNet> = vec!["172.17.0.0/16".parse().unwrap(), "fd17::/64".parse().unwrap()];
        assert_eq!(inner(&facts)[0].subnets, expected);
    }

    #[test]
    fn a_bridge_that_is_closed_for_one_route_is_named_but_no_uplink() {
        let way_out = |name| Bridge { has_way_out: true, ..bridge(name) };
        let default = UnderlayRoute { prefix: "0.0.0.0/0".parse().unwrap(), interface: "br0".into(), gateway: None };
        let facts = Facts {
            bridges: vec![way_out("docker0"), way_out("br0"), bridge("br1"), bridge("br2")],
            subnets: vec![
                subnet("172.17.0.1/16", "docker0"),
                subnet("192.168.1.7/24", "br0"),
                subnet("10.0.3.1/24", "br1"),
            ],
            routes: vec![default],
        };
        assert_eq!(doubtful(&facts), [("docker0", "172.17.0.0/16".parse().unwrap())]);
    }

    #[test]
    fn packets_of_filtered_bridges_may_only_be_bridged() {
        let filtered = |name| Bridge { is_filtered: true, ..bridge(name) };
        let bridges = vec![filtered("br1"), bridge("br0"), filtered("docker0")];
        let subnets = vec![subnet("172.17.0.1/16", "docker0")];
        assert_eq!(bridged(&Facts { bridges, subnets, ..Facts::default() }), ["br1"]);
    }
}
