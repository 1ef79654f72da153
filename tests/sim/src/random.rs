//! Randomness that follows from a seed.

use std::ops::Range;
use std::time::Duration;

/// A SplitMix64 generator (Steele, Lea, Flood, 2014): small, fast, and any seed is a good one.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator of its own, so that what is drawn from one does not shift what is drawn from the other.
    pub fn fork(&mut self) -> Self {
        Self(self.bits())
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `range`, which must not be empty. The bias of the remainder does not matter here.
    pub fn in_range(&mut self, range: Range<u64>) -> u64 {
        range.start + self.bits() % (range.end - range.start)
    }

    /// True in `permille` of a thousand cases.
    pub fn chance(&mut self, permille: u32) -> bool {
        self.in_range(0..1000) < u64::from(permille)
    }

    /// A time in `range`, to the microsecond. An empty range gives its start.
    pub fn duration(&mut self, range: Range<Duration>) -> Duration {
        let width = range.end.saturating_sub(range.start).as_micros();
        let extra = if width == 0 { 0 } else { self.bits() % u64::try_from(width).unwrap_or(u64::MAX) };
        range.start + Duration::from_micros(extra)
    }

    /// One of `items`; none of none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let count = items.len() as u64;
        (count > 0).then(|| self.in_range(0..count)).and_then(|at| items.get(at as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again_and_a_chance_is_met() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        assert!((0..100).all(|_| a.bits() == b.bits()));
        let hits = (0..100_000).filter(|_| a.chance(50)).count();
        assert!((4_700..5_300).contains(&hits), "{hits}");
        let range = Duration::from_millis(2)..Duration::from_millis(3);
        assert!((0..1000).all(|_| range.contains(&a.duration(range.clone()))));
    }
}
