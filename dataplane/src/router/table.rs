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

    /// Removes the route of exactly `prefix`, if it leads to what it should.
    pub fn remove_if(&mut self, prefix: IpNet, is_meant: impl Fn(&T) -> bool) {
        match prefix {
            IpNet::V4(prefix) if self.v4.get(&prefix).is_some_and(&is_meant) => drop(self.v4.remove(&prefix)),
            IpNet::V6(prefix) if self.v6.get(&prefix).is_some_and(&is_meant) => drop(self.v6.remove(&prefix)),
            _ => {}
        }
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
            routes in proptest::collection::vec((any::<u32>(), 0_u8..=32, any::<bool>()), 0..60),
            address: u32,
        ) {
            let mut table = RouteTable::default();
            let mut list: Vec<Ipv4Net> = Vec::new();
            for (network, len, is_kept) in routes {
                let prefix = Ipv4Net::new(network.into(), len).unwrap().trunc();
                table.insert(prefix.into(), prefix);
                list.push(prefix);
                if !is_kept {
                    table.remove_if(prefix.into(), |_| true);
                    list.retain(|listed| *listed != prefix);
                }
            }
            let address = std::net::Ipv4Addr::from(address);
            let expected = list.iter().filter(|prefix| prefix.contains(&address)).max_by_key(|prefix| prefix.prefix_len());
            prop_assert_eq!(table.lookup(address.into()), expected);
        }
    }

    #[test]
    fn only_the_route_that_is_meant_is_removed() {
        let (wide, narrow) = ("10.0.0.0/8".parse().unwrap(), "10.1.0.0/16".parse().unwrap());
        let mut table = RouteTable::default();
        table.insert(wide, 1);
        table.remove_if(narrow, |_| true);
        table.remove_if(wide, |&target| target == 2);
        assert_eq!(table.lookup("10.1.2.3".parse().unwrap()), Some(&1));
        table.remove_if(wide, |&target| target == 1);
        assert_eq!(table.lookup("10.1.2.3".parse().unwrap()), None);
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
