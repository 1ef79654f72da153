//! Sets of addresses, as ranges. Pure.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

/// A set of IPv4 and IPv6 addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Spans {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

impl<'a> FromIterator<&'a IpNet> for Spans {
    fn from_iter<I: IntoIterator<Item = &'a IpNet>>(prefixes: I) -> Self {
        let mut all = Self::default();
        prefixes.into_iter().for_each(|prefix| all.insert(prefix.network(), prefix.broadcast()));
        all
    }
}

impl Spans {
    /// The addresses of one prefix.
    pub(super) fn of(prefix: IpNet) -> Self {
        std::iter::once(&prefix).collect()
    }

    /// Adds the addresses from `first` to `last`. Nothing if they are of two families, or in the wrong order.
    pub(super) fn insert(&mut self, first: IpAddr, last: IpAddr) {
        let (from, to) = (number(first), number(last));
        if first.is_ipv4() != last.is_ipv4() || from > to {
            return;
        }
        let side = if first.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        side.push((from, to));
        *side = joined(std::mem::take(side));
    }

    /// Adds all of `other`.
    pub(super) fn add(&mut self, other: &Self) {
        self.v4 = joined([&*self.v4, &*other.v4].concat());
        self.v6 = joined([&*self.v6, &*other.v6].concat());
    }

    /// Takes all of `other` away.
    pub(super) fn remove(&mut self, other: &Self) {
        self.v4 = without(&self.v4, &other.v4);
        self.v6 = without(&self.v6, &other.v6);
    }

    /// What is in both.
    #[must_use]
    pub(super) fn common(&self, other: &Self) -> Self {
        Self {
            v4: without(&self.v4, &without(&self.v4, &other.v4)),
            v6: without(&self.v6, &without(&self.v6, &other.v6)),
        }
    }

    /// Whether there is no address in it.
    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether `address` is in it.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let side = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        side.iter().any(|(first, last)| (*first..=*last).contains(&number(address)))
    }

    /// Whether they share an address.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        !self.common(other).is_empty()
    }

    /// Whether all of `other` is in it.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let mut rest = other.clone();
        rest.remove(self);
        rest.is_empty()
    }

    /// The same addresses as the fewest prefixes, in order, IPv4 first.
    pub(super) fn prefixes(&self) -> Vec<IpNet> {
        let v4 = self.v4.iter().flat_map(|(first, last)| Ipv4Subnets::new(v4(*first), v4(*last), 0)).map(IpNet::V4);
        let v6 = self.v6.iter().flat_map(|(first, last)| Ipv6Subnets::new((*first).into(), (*last).into(), 0));
        v4.chain(v6.map(IpNet::V6)).collect()
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// The IPv4 address of this number, which came from one.
fn v4(number: u128) -> std::net::Ipv4Addr {
    u32::try_from(number).unwrap_or(u32::MAX).into()
}

/// The same addresses in as few ranges as possible, in order.
fn joined(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut all: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match all.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => all.push((first, last)),
        }
    }
    all
}

/// What of `ranges` is in none of `others`. Both are in order and joined.
fn without(ranges: &[(u128, u128)], others: &[(u128, u128)]) -> Vec<(u128, u128)> {
    let mut left = Vec::new();
    for &(first, last) in ranges {
        let mut from = Some(first);
        for &(start, end) in others.iter().filter(|(start, end)| *start <= last && *end >= first) {
            let Some(at) = from else { break };
            if start > at {
                left.push((at, start - 1));
            }
            from = end.checked_add(1).map(|next| next.max(at)).filter(|next| *next <= last);
        }
        left.extend(from.map(|at| (at, last)));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(prefixes: &[&str]) -> Spans {
        prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect::<Vec<IpNet>>().iter().collect()
    }

    fn text(spans: &Spans) -> Vec<String> {
        spans.prefixes().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_hole_leaves_the_prefixes_around_it() {
        let mut overlay = spans(&["172.31.0.0/16", "fd00::/64"]);
        overlay.remove(&spans(&["172.31.128.0/17", "172.31.0.0/18", "fd00::/65"]));
        assert_eq!(text(&overlay), ["172.31.64.0/18", "fd00::8000:0:0:0/65"]);
        let mut all = spans(&["0.0.0.0/0", "::/0"]);
        all.remove(&spans(&["0.0.0.0/0", "::/0"]));
        assert!(all.is_empty());
        assert_eq!(text(&spans(&["0.0.0.0/0", "::/0"])), ["0.0.0.0/0", "::/0"]);
    }

    #[test]
    fn what_touches_is_one() {
        assert_eq!(text(&spans(&["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16"])), ["10.0.0.0/8"]);
        assert!(spans(&["10.0.0.0/8"]).covers(&spans(&["10.1.0.0/16"])));
        assert!(!spans(&["10.1.0.0/16"]).covers(&spans(&["10.0.0.0/8"])));
    }

    proptest! {
        #[test]
        fn they_are_the_sets_they_stand_for(one: [bool; 32], other: [bool; 32]) {
            let address = |at: usize| IpAddr::from([0, 0, 0, at as u8]);
            let make = |set: &[bool; 32]| {
                let mut spans = Spans::default();
                set.iter().enumerate().filter(|(_, is_in)| **is_in).for_each(|(at, _)| spans.insert(address(at), address(at)));
                spans
            };
            let (a, b) = (make(&one), make(&other));
            let (mut less, mut more) = (a.clone(), a.clone());
            less.remove(&b);
            more.add(&b);
            for at in 0..32 {
                prop_assert_eq!(less.contains(address(at)), one[at] && !other[at]);
                prop_assert_eq!(more.contains(address(at)), one[at] || other[at]);
                prop_assert_eq!(a.common(&b).contains(address(at)), one[at] && other[at]);
            }
            prop_assert_eq!(&a.prefixes().iter().collect::<Spans>(), &a);
        }
    }
}
