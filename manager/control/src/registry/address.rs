//! Which address comes next.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::record::Prefix;

/// The offset of the gateway: the first host of a prefix.
const GATEWAY: u128 = 1;

/// A network is full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("network {network} has no free {family} address left: remove endpoints that are gone")]
pub struct NoFreeAddressError {
    /// Its name.
    pub network: String,
    /// `IPv4` or `IPv6`.
    pub family: String,
}

/// The first host of `net`.
pub(super) fn gateway(net: IpNet) -> IpAddr {
    at(net, GATEWAY)
}

/// The offsets in `net` that endpoints may have: all but the network's own (which is the subnet-router anycast address
/// in IPv6, RFC 4291 section 2.6.1), the gateway and, in IPv4, the broadcast address (RFC 919). Empty if it is too small.
fn hosts(net: IpNet) -> RangeInclusive<u128> {
    let last = match net {
        IpNet::V4(net) => {
            (u128::from(u32::from(net.broadcast())) - u128::from(u32::from(net.network()))).saturating_sub(1)
        }
        IpNet::V6(net) => u128::from(net.broadcast()) - u128::from(net.network()),
    };
    GATEWAY + 1..=last
}

fn at(net: IpNet, offset: u128) -> IpAddr {
    match net {
        // An offset inside an IPv4 prefix fits 32 bits.
        IpNet::V4(net) => IpAddr::V4((u32::from(net.network()) | offset as u32).into()),
        IpNet::V6(net) => IpAddr::V6((u128::from(net.network()) | offset).into()),
    }
}

impl Prefix {
    /// The address in it that every manager answers for.
    pub fn gateway(&self) -> IpAddr {
        gateway(self.net)
    }

    /// `net`, with nothing given away.
    pub(super) fn new(net: IpNet) -> Self {
        Self { net, next: *hosts(net).start() }
    }

    /// Whether there is room for any endpoint at all.
    pub(super) fn is_usable(net: IpNet) -> bool {
        !hosts(net).is_empty()
    }

    /// The next address that is not taken. Goes round, so that the address of an endpoint that left is used again as
    /// late as possible: others may still have it in their caches.
    pub(super) fn allocate(&mut self, taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let (first, last) = hosts(self.net).into_inner();
        let offset = (self.next..=last).chain(first..=last.min(self.next)).find(|&at_| !taken(at(self.net, at_)))?;
        self.next = if offset == last { first } else { offset + 1 };
        Some(at(self.net, offset))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all(net: &str) -> Vec<String> {
        let mut prefix = Prefix::new(net.parse().unwrap());
        let mut taken = BTreeSet::new();
        while let Some(address) = prefix.allocate(|address| taken.contains(&address)) {
            assert!(taken.insert(address), "{address} twice");
        }
        taken.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn network_gateway_and_broadcast_are_left_out() {
        assert_eq!(all("192.0.2.8/29"), ["192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14"]);
        assert_eq!(all("192.0.2.0/30"), ["192.0.2.2"]);
        assert_eq!(all("2001:db8::/126"), ["2001:db8::2", "2001:db8::3"]);
        assert_eq!(gateway("192.0.2.8/29".parse().unwrap()).to_string(), "192.0.2.9");
    }

    #[test]
    fn prefixes_without_room_are_known() {
        for (net, usable) in [
            ("192.0.2.0/30", true),
            ("192.0.2.0/31", false),
            ("192.0.2.0/32", false),
            ("2001:db8::/126", true),
            ("2001:db8::/127", false),
            ("2001:db8::/128", false),
            ("::/0", true),
            ("0.0.0.0/0", true),
        ] {
            assert_eq!(Prefix::is_usable(net.parse().unwrap()), usable, "{net}");
        }
    }

    #[test]
    fn a_freed_address_is_used_again_only_after_the_others() {
        let mut prefix = Prefix::new("192.0.2.0/29".parse().unwrap());
        let given: Vec<_> = (0..3).filter_map(|_| prefix.allocate(|_| false)).collect();
        assert_eq!(given.last().unwrap().to_string(), "192.0.2.4");
        let held = &given[1..];
        assert_eq!(prefix.allocate(|address| held.contains(&address)).unwrap().to_string(), "192.0.2.5");
        assert_eq!(prefix.allocate(|address| held.contains(&address)).unwrap().to_string(), "192.0.2.6");
        assert_eq!(prefix.allocate(|address| held.contains(&address)).unwrap().to_string(), "192.0.2.2");
    }
}
