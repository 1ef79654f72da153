//! Longest-prefix match over IPv4 and IPv6.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

/// Routes of one network. The longest prefix that holds an address wins.
#[derive(Debug, Clone)]
pub struct RouteTable<T> {
    v4: PrefixMap<Ipv4Net, T>,
    v6: PrefixMap<Ipv6Net, T>,
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self { v4: PrefixMap::new(), v6: PrefixMap::new() }
    }
}

impl<T> RouteTable<T> {
    /// Adds or replaces the route of `prefix`.
    pub fn insert(&mut self, prefix: IpNet, target: T) {
        match prefix {
            IpNet::V4(prefix) => self.v4.insert(prefix, target),
            IpNet::V6(prefix) => self.v6.insert(prefix, target),
        };
    }

    /// The route of an address.
    pub fn lookup(&self, address: IpAddr) -> Option<&T> {
        match address {
            IpAddr::V4(address) => self.v4.get_lpm(&Ipv4Net::from(address)).map(|(_, target)| target),
            IpAddr::V6(address) => self.v6.get_lpm(&Ipv6Net::from(address)).map(|(_, target)| target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_table_agrees_with_a_linear_search(
            routes in proptest::collection::vec((any::<u32>(), 0_u8..=32), 0..60),
            address: u32,
        ) {
            let mut table = RouteTable::default();
            let mut list: Vec<Ipv4Net> = Vec::new();
            for (network, len) in routes {
                let prefix = Ipv4Net::new(network.into(), len).unwrap().trunc();
                table.insert(prefix.into(), prefix);
                list.push(prefix);
            }
            let address = std::net::Ipv4Addr::from(address);
            let expected = list.iter().filter(|prefix| prefix.contains(&address)).max_by_key(|prefix| prefix.prefix_len());
            prop_assert_eq!(table.lookup(address.into()), expected);
        }
    }

    #[test]
    fn families_are_apart() {
        let mut table = RouteTable::default();
        table.insert("0.0.0.0/0".parse().unwrap(), 4);
        table.insert("fd00::/8".parse().unwrap(), 6);
        assert_eq!(table.lookup("203.0.113.1".parse().unwrap()), Some(&4));
        assert_eq!(table.lookup("fd00::1".parse().unwrap()), Some(&6));
        assert_eq!(table.lookup("2001:db8::1".parse().unwrap()), None);
    }
}
