//! Overlay prefixes that the host must not route into the overlay. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::NetlinkError;

/// A route of the host that does not lead into the overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderlayRoute {
    /// Where to.
    pub prefix: IpNet,
    /// Through which interface.
    pub interface: String,
}

/// A part of the desired state that cannot be had on this host.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The way to a manager would lead through the overlay, which needs that manager.
    #[error(
        "overlay prefix {prefix} is not routed: it contains manager {manager}, which could not be reached any more; give \
         the network narrower prefixes, or this host a more specific route to the manager"
    )]
    CoversManager {
        /// The network's prefix.
        prefix: IpNet,
        /// The manager's underlay or HTTPS address.
        manager: IpAddr,
    },
    /// The host has other plans for the same prefix.
    #[error("overlay prefix {prefix} is not routed: this host routes it to {interface} already")]
    AlreadyRouted {
        /// The prefix of both.
        prefix: IpNet,
        /// Where the host routes it to.
        interface: String,
    },
    /// The kernel did not do as it was told.
    #[error(transparent)]
    Refused(NetlinkError),
}

/// The prefixes that may be routed into the overlay, and why the others may not.
pub(super) fn split(prefixes: &[IpNet], managers: &[IpAddr], underlay: &[UnderlayRoute]) -> (Vec<IpNet>, Vec<Problem>) {
    let mut routes = Vec::new();
    let mut problems = Vec::new();
    for &prefix in prefixes {
        match conflict(prefix, managers, underlay) {
            Some(problem) => problems.push(problem),
            None => routes.push(prefix),
        }
    }
    (routes, problems)
}

fn conflict(prefix: IpNet, managers: &[IpAddr], underlay: &[UnderlayRoute]) -> Option<Problem> {
    // The kernel takes the longest matching prefix, so a more specific underlay route keeps a manager reachable.
    let stays_reachable = |manager: &IpAddr| {
        underlay.iter().any(|route| route.prefix.contains(manager) && route.prefix.prefix_len() > prefix.prefix_len())
    };
    let covered = managers.iter().find(|manager| prefix.contains(*manager) && !stays_reachable(manager));
    if let Some(&manager) = covered {
        return Some(Problem::CoversManager { prefix, manager });
    }
    let same = underlay.iter().find(|route| route.prefix == prefix)?;
    Some(Problem::AlreadyRouted { prefix, interface: same.interface.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn underlay(routes: &[&str]) -> Vec<UnderlayRoute> {
        let route = |prefix: &&str| UnderlayRoute { prefix: prefix.parse().unwrap(), interface: "eth0".into() };
        routes.iter().map(route).collect()
    }

    fn verdict(prefix: &str, manager: &str, routes: &[&str]) -> Option<String> {
        let managers = [manager.parse().unwrap()];
        let (_, problems) = split(&[prefix.parse().unwrap()], &managers, &underlay(routes));
        problems.first().map(ToString::to_string)
    }

    #[test]
    fn prefixes_away_from_the_managers_are_routed() {
        assert_eq!(verdict("172.31.0.0/16", "192.0.2.1", &["0.0.0.0/0", "10.0.0.0/24"]), None);
        assert_eq!(verdict("fd00::/8", "2001:db8::1", &["::/0"]), None);
    }

    #[test]
    fn a_prefix_that_covers_the_way_to_a_manager_is_refused_by_name() {
        for (prefix, manager, route) in [
            ("0.0.0.0/0", "192.0.2.1", "0.0.0.0/0"),
            ("192.0.2.0/24", "192.0.2.1", "0.0.0.0/0"),
            ("192.0.2.0/24", "192.0.2.1", "192.0.2.0/24"),
            ("::/0", "2001:db8::1", "::/0"),
        ] {
            let problem = verdict(prefix, manager, &[route]).unwrap();
            assert!(problem.contains(prefix) && problem.contains(manager), "{problem}");
        }
    }

    #[test]
    fn a_more_specific_underlay_route_keeps_the_manager_reachable() {
        assert_eq!(verdict("10.0.0.0/8", "10.1.2.3", &["0.0.0.0/0", "10.1.2.0/24"]), None);
        assert_eq!(verdict("0.0.0.0/0", "192.0.2.1", &["192.0.2.0/24"]), None);
    }

    #[test]
    fn the_hosts_own_network_is_not_taken_away() {
        let problem = verdict("192.168.1.0/24", "192.0.2.1", &["192.168.1.0/24"]).unwrap();
        assert_eq!(problem, "overlay prefix 192.168.1.0/24 is not routed: this host routes it to eth0 already");
    }
}
