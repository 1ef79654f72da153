//! How large a packet may be to pass a path in one piece: a search by packets that nobody may cut.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::node::measure::headers;

/// What is tried first. Most paths let it pass, and larger ones are of no use to an overlay that needs less.
const USUAL: u16 = 1500;
/// What every host must take (RFC 791 section 3.1, RFC 8200 section 5).
const SMALLEST_V4: u16 = 576;
const SMALLEST_V6: u16 = 1280;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathMtu {
    /// The largest packet that passed, in bytes with its IP header.
    pub bytes: u16,
    /// Larger ones were not tried.
    pub or_more: bool,
}

impl fmt::Display for PathMtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes{}", self.bytes, if self.or_more { " or more" } else { "" })
    }
}

/// The bytes that the largest overlay packet has on its way to `to`.
pub fn needed(overlay_mtu: u16, to: SocketAddr) -> u16 {
    u16::try_from(usize::from(overlay_mtu) + headers(to)).unwrap_or(u16::MAX)
}

/// The largest overlay packet whose way to `to` takes no more than `path_mtu`.
pub fn overlay_mtu(path_mtu: u16, to: SocketAddr) -> u16 {
    u16::try_from(usize::from(path_mtu).saturating_sub(headers(to))).unwrap_or(0)
}

/// The search. [`Search::next_size`] says what to try, [`Search::handle`] takes what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// What is worth trying before halves: the usual, what is needed, the least.
    marks: [u16; 3],
    largest: u16,
    fits: Option<u16>,
    too_big: u16,
}

impl Search {
    /// The search on the way to `to`, where packets of `needed` bytes are to pass.
    pub fn new(needed: u16, to: SocketAddr) -> Self {
        let smallest = if to.is_ipv4() { SMALLEST_V4 } else { SMALLEST_V6 };
        let largest = needed.max(USUAL);
        Self { marks: [largest, needed, smallest], largest, fits: None, too_big: largest + 1 }
    }

    /// What to try next; `None` at the end.
    pub fn next_size(&self) -> Option<u16> {
        let is_open = |size: &u16| *size < self.too_big && self.fits.is_none_or(|fits| *size > fits);
        let mark = self.marks.into_iter().find(is_open);
        mark.or_else(|| self.fits.map(|fits| fits.midpoint(self.too_big)).filter(is_open))
    }

    /// Whether a packet of `size` bytes passed.
    pub fn handle(&mut self, size: u16, passed: bool) {
        if passed {
            self.fits = self.fits.max(Some(size));
        } else {
            self.too_big = self.too_big.min(size);
        }
    }

    /// What is known; `None` if nothing passed.
    pub fn result(&self) -> Option<PathMtu> {
        self.fits.map(|bytes| PathMtu { bytes, or_more: bytes == self.largest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V4: &str = "192.0.2.1:51820";
    const V6: &str = "[2001:db8::1]:51820";

    /// The result on a path that lets packets of `mtu` bytes pass, and what was tried.
    fn search(overlay_mtu: u16, to: &str, mtu: u16) -> (Option<PathMtu>, Vec<u16>) {
        let to = to.parse().unwrap();
        let mut search = Search::new(needed(overlay_mtu, to), to);
        let mut tried = Vec::new();
        while let Some(size) = search.next_size() {
            assert!(!tried.contains(&size), "{size} again: {tried:?}");
            tried.push(size);
            search.handle(size, size <= mtu);
        }
        (search.result(), tried)
    }

    #[test]
    fn the_usual_path_takes_one_try() {
        let usual = PathMtu { bytes: 1500, or_more: true };
        assert_eq!(search(1380, V4, 1500), (Some(usual), vec![1500]));
        assert_eq!(search(1380, V4, 9000).0, Some(usual));
        assert_eq!(search(8900, V4, 9000), (Some(PathMtu { bytes: 8960, or_more: true }), vec![8960]));
    }

    #[test]
    fn what_is_needed_is_tried_before_the_rest() {
        let (found, tried) = search(1380, V4, 1450);
        assert_eq!((found, &tried[..3]), (Some(PathMtu { bytes: 1450, or_more: false }), &[1500, 1440, 1470][..]));
        let (found, tried) = search(1380, V6, 1400);
        assert_eq!((found, &tried[..3]), (Some(PathMtu { bytes: 1400, or_more: false }), &[1500, 1460, 1280][..]));
    }

    #[test]
    fn a_path_that_lets_nothing_pass_has_no_mtu() {
        assert_eq!(search(1380, V4, 500), (None, vec![1500, 1440, 576]));
    }

    #[test]
    fn headers_are_counted_both_ways() {
        for (to, mtu, bytes) in [(V4, 1380, 1440), (V6, 1380, 1460), (V4, 1280, 1340), (V6, 9000, 9080)] {
            let to = to.parse().unwrap();
            assert_eq!((needed(mtu, to), overlay_mtu(bytes, to)), (bytes, mtu));
        }
        assert_eq!(overlay_mtu(10, V4.parse().unwrap()), 0);
    }

    proptest! {
        #[test]
        fn it_ends_at_the_true_value(overlay in 1280u16..=9000, mtu in 576u16..=9200, v6: bool) {
            let (found, tried) = search(overlay, if v6 { V6 } else { V4 }, mtu);
            let largest = *tried.first().unwrap();
            prop_assert!(tried.len() <= 17, "{:?}", tried);
            if v6 && mtu < SMALLEST_V6 {
                prop_assert_eq!(found, None);
            } else {
                prop_assert_eq!(found, Some(PathMtu { bytes: mtu.min(largest), or_more: mtu >= largest }));
            }
        }
    }
}
