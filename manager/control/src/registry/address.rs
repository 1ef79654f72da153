//! Addresses of a network, and which of them endpoints may have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The offset of the gateway: the first host of a prefix.
const GATEWAY: u128 = 1;

/// The first host of `net`.
pub(super) fn gateway(net: IpNet) -> IpAddr {
    at(net, GATEWAY)
}

/// The offsets in `net` that endpoints may have: all but the network's own (which is the subnet-router anycast address
/// in IPv6, RFC 4291 section 2.6.1), the gateway and, in IPv4, the broadcast address (RFC 919). Empty if it is too small.
pub(super) fn hosts(net: IpNet) -> RangeInclusive<u128> {
    let last = match net {
        IpNet::V4(_) => offset(net, net.broadcast()).saturating_sub(1),
        IpNet::V6(_) => offset(net, net.broadcast()),
    };
    GATEWAY + 1..=last
}

/// The address at `offset` in `net`.
pub(super) fn at(net: IpNet, offset: u128) -> IpAddr {
    match net {
        // An offset inside an IPv4 prefix fits 32 bits.
        IpNet::V4(net) => IpAddr::V4((u32::from(net.network()) | offset as u32).into()),
        IpNet::V6(net) => IpAddr::V6((u128::from(net.network()) | offset).into()),
    }
}

/// How far into `net` an address of it is.
pub(super) fn offset(net: IpNet, address: IpAddr) -> u128 {
    number(address) - number(net.network())
}

/// How many addresses lie from `first` to `second`, if both are of one family and in this order.
pub(super) fn gap(first: IpAddr, second: IpAddr) -> Option<u128> {
    (Family::of(first) == Family::of(second)).then(|| number(second).checked_sub(number(first)))?
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, the elder first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of `address`.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// At most one address of each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Addresses {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl From<IpAddr> for Addresses {
    fn from(address: IpAddr) -> Self {
        let mut one = Self::NONE;
        one.set(address);
        one
    }
}

/// Two addresses where one is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} and {1} are two {family} addresses: an endpoint has one of each family", family = Family::of(*.0))]
pub struct TwoOfAFamilyError(IpAddr, IpAddr);

impl Addresses {
    /// No address.
    pub const NONE: Self = Self { v4: None, v6: None };

    /// These addresses; an error if two are of the same family.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Result<Self, TwoOfAFamilyError> {
        let mut all = Self::NONE;
        for address in addresses {
            match all.get(Family::of(address)) {
                Some(other) => return Err(TwoOfAFamilyError(other, address)),
                None => all.set(address),
            }
        }
        Ok(all)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// The address of this family.
    pub fn get(self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4.map(IpAddr::V4),
            Family::V6 => self.v6.map(IpAddr::V6),
        }
    }

    /// All of them, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> {
        Family::ALL.into_iter().filter_map(move |family| self.get(family))
    }

    /// All of them, IPv4 first.
    pub fn to_vec(self) -> Vec<IpAddr> {
        self.iter().collect()
    }

    /// Puts `address` in the place of its family.
    pub(super) const fn set(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.v4 = Some(address),
            IpAddr::V6(address) => self.v6 = Some(address),
        }
    }

    /// Leaves `address` out.
    pub(super) fn strike(&mut self, address: IpAddr) {
        self.v4 = self.v4.filter(|v4| IpAddr::V4(*v4) != address);
        self.v6 = self.v6.filter(|v6| IpAddr::V6(*v6) != address);
    }
}

/// The addresses from one to another, both included. Written `172.31.0.10-172.31.0.20`; read as a prefix or as a single
/// address, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AddressRange {
    /// The first.
    pub first: IpAddr,
    /// The last. Whoever takes a range in checks that it is of the same family, and not below the first.
    pub last: IpAddr,
}

/// A text is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range of addresses: write one as in 172.31.0.10-172.31.0.20 or 172.31.1.0/24")]
pub struct ParseRangeError(String);

impl AddressRange {
    /// Whether `address` is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == Family::of(self.first) && (self.first..=self.last).contains(&address)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for AddressRange {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, ParseRangeError> {
        let bad = || ParseRangeError(text.chars().take(100).collect());
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self { first: net.network(), last: net.broadcast() });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range =
            Self { first: first.trim().parse().map_err(|_| bad())?, last: last.trim().parse().map_err(|_| bad())? };
        if range.contains(range.last) { Ok(range) } else { Err(bad()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_gateway_and_broadcast_are_left_out() {
        for (net, first, last) in [
            ("192.0.2.8/29", "192.0.2.10", "192.0.2.14"),
            ("192.0.2.0/30", "192.0.2.2", "192.0.2.2"),
            ("2001:db8::/126", "2001:db8::2", "2001:db8::3"),
        ] {
            let net = net.parse().unwrap();
            assert_eq!(at(net, *hosts(net).start()).to_string(), first);
            assert_eq!(at(net, *hosts(net).end()).to_string(), last);
            assert_eq!(offset(net, last.parse().unwrap()), *hosts(net).end());
        }
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
            assert_eq!(!hosts(net.parse().unwrap()).is_empty(), usable, "{net}");
        }
    }

    #[test]
    fn an_endpoint_has_one_address_of_each_family() {
        let all = |texts: &[&str]| Addresses::new(texts.iter().map(|text| text.parse::<IpAddr>().unwrap()));
        let both = all(&["fd00::2", "10.0.0.2"]).unwrap();
        assert_eq!(both.to_vec().iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.2", "fd00::2"]);
        assert_eq!(
            all(&["10.0.0.2", "10.0.0.3"]).unwrap_err().to_string(),
            "10.0.0.2 and 10.0.0.3 are two IPv4 addresses: an endpoint has one of each family"
        );
        let mut one = both;
        one.strike("10.0.0.2".parse().unwrap());
        assert_eq!(Ok(one), all(&["fd00::2"]));
    }

    #[test]
    fn ranges_are_read_as_people_write_them() {
        let range = |text: &str| text.parse::<AddressRange>().map(|range| range.to_string());
        assert_eq!(range("10.0.0.5-10.0.0.9"), Ok("10.0.0.5-10.0.0.9".to_owned()));
        assert_eq!(range("10.0.1.0/24"), Ok("10.0.1.0-10.0.1.255".to_owned()));
        assert_eq!(range("fd00::5"), Ok("fd00::5-fd00::5".to_owned()));
        for bad in ["", "10.0.0.9-10.0.0.5", "10.0.0.1-fd00::1", "a-b", "10.0.0.1-10.0.0.2-10.0.0.3"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
