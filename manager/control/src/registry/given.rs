//! Which ranges of a network's prefixes were given out to endpoints. Pure.
//!
//! Every agent of the network is told, so the ranges are rounded up to blocks: a network of thousands changes what it tells
//! some dozens of times, not once an endpoint. A range only grows; it ends with its prefix. There are never more than
//! [`MAX_RANGES`]: beyond that, the two that are closest become one.

use std::net::IpAddr;

use ipnet::IpNet;

use super::address::{self, AddressRange};

/// Ranges of a network.
const MAX_RANGES: usize = 64;
/// The addresses of the smallest block.
const BLOCK: u128 = 16;
/// A range that grows at its end does so by this part of its length.
const GROWTH: u128 = 8;

/// Adds `address`, which is in `prefix`, to the ranges, which are in order. Whether that changed them.
pub(super) fn give(given: &mut Vec<AddressRange>, prefix: IpNet, address: IpAddr) -> bool {
    if given.iter().any(|range| range.contains(address)) {
        return false;
    }
    let mut inside: Vec<(u128, u128)> = given
        .iter()
        .filter(|range| prefix.contains(&range.first))
        .map(|range| (address::offset(prefix, range.first), address::offset(prefix, range.last)))
        .collect();
    inside.push(block(prefix, address, &inside));
    given.retain(|range| !prefix.contains(&range.first));
    let joined = joined(inside);
    given.extend(joined.into_iter().map(|(first, last)| range(prefix, first, last)));
    given.sort_unstable();
    while given.len() > MAX_RANGES && join_closest(given) {}
    true
}

/// The block around `address`, as offsets: larger where a long range ends just before it.
fn block(prefix: IpNet, address: IpAddr, inside: &[(u128, u128)]) -> (u128, u128) {
    let at = address::offset(prefix, address);
    let last = address::offset(prefix, prefix.broadcast());
    let before = inside.iter().find(|(_, last)| at.checked_sub(1) == Some(*last));
    let length = before.map_or(0, |(first, last)| last - first + 1);
    let first = at - at % BLOCK;
    (first, first.saturating_add(BLOCK.max(length / GROWTH) - 1).min(last))
}

/// The same addresses in as few ranges as possible, in order.
fn joined(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut all: Vec<(u128, u128)> = Vec::new();
    for (first, last) in ranges {
        match all.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => all.push((first, last)),
        }
    }
    all
}

fn range(prefix: IpNet, first: u128, last: u128) -> AddressRange {
    AddressRange { first: address::at(prefix, first), last: address::at(prefix, last) }
}

/// Makes one range of the two neighbours of a family with the smallest gap. Whether there were any.
fn join_closest(given: &mut Vec<AddressRange>) -> bool {
    let gap = |pair: &[AddressRange]| match pair {
        [before, after] => address::gap(before.last, after.first),
        _ => None,
    };
    let gaps = given.windows(2).enumerate().filter_map(|(at, pair)| Some((gap(pair)?, at)));
    let Some((_, at)) = gaps.min() else { return false };
    let after = given.remove(at + 1);
    if let Some(before) = given.get_mut(at) {
        before.last = after.last;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(given: &[AddressRange]) -> Vec<String> {
        given.iter().map(ToString::to_string).collect()
    }

    fn give_all(prefix: &str, offsets: impl Iterator<Item = u128>) -> (Vec<AddressRange>, usize) {
        let prefix = prefix.parse().unwrap();
        let mut given = Vec::new();
        let changes = offsets.filter(|offset| give(&mut given, prefix, address::at(prefix, *offset))).count();
        (given, changes)
    }

    #[test]
    fn addresses_that_follow_one_another_change_it_seldom() {
        let (given, changes) = give_all("172.31.0.0/16", 2..10_000);
        assert_eq!(given.len(), 1);
        assert!(address::offset("172.31.0.0/16".parse().unwrap(), given[0].last) < 11_300, "{:?}", text(&given));
        assert!(changes < 60, "{changes}");
        assert_eq!(text(&give_all("fd00::/64", 2..20).0), ["fd00::-fd00::1f"]);
    }

    #[test]
    fn single_addresses_are_blocks_of_their_own_and_do_not_leave_the_prefix() {
        assert_eq!(
            text(&give_all("172.31.0.0/16", [5, 0x100, 0x111].into_iter()).0),
            ["172.31.0.0-172.31.0.15", "172.31.1.0-172.31.1.31"]
        );
        assert_eq!(text(&give_all("192.0.2.8/29", [2].into_iter()).0), ["192.0.2.8-192.0.2.15"]);
    }

    #[test]
    fn there_are_never_too_many_and_none_is_lost() {
        let offsets = || (0..200).map(|number| number * number * 40);
        let (given, _) = give_all("10.0.0.0/8", offsets());
        assert!(given.len() <= MAX_RANGES);
        let prefix = "10.0.0.0/8".parse().unwrap();
        for offset in offsets() {
            let address = address::at(prefix, offset);
            assert!(given.iter().any(|range| range.contains(address)), "{address}");
        }
        assert!(given.windows(2).all(|pair| pair[0].last < pair[1].first));
    }
}
