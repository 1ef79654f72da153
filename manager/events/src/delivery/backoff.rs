//! How long to wait after a failure.

/// Grows with every failure in a row, to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first, in milliseconds.
    pub first_ms: u64,
    /// At most.
    pub most_ms: u64,
}

impl Backoff {
    /// How long after this many failures in a row: between half of it and all, so that those who failed together do not come
    /// again together.
    pub fn delay(self, failures: u32, jitter: &mut Jitter) -> u64 {
        let doubled = self.first_ms.saturating_mul(1 << failures.saturating_sub(1).min(32));
        let whole = doubled.clamp(1, self.most_ms.max(1));
        let half = whole / 2;
        whole - half + jitter.below(half + 1)
    }
}

/// Numbers that look random and follow from a seed (SplitMix64). Not for secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jitter(u64);

impl Jitter {
    /// From this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next, less than `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_doubles_to_its_limit_and_is_never_less_than_half(failures in 1_u32..200, seed: u64) {
            let backoff = Backoff { first_ms: 1_000, most_ms: 600_000 };
            let whole = 1_000_u64.saturating_mul(2_u64.saturating_pow(failures - 1)).min(600_000);
            let delay = backoff.delay(failures, &mut Jitter::new(seed));
            prop_assert!((whole / 2..=whole).contains(&delay), "{} of {}", delay, whole);
        }

        #[test]
        fn any_backoff_waits_for_some_time(first_ms: u64, most_ms: u64, failures: u32, seed: u64) {
            let delay = Backoff { first_ms, most_ms }.delay(failures, &mut Jitter::new(seed));
            prop_assert!(delay >= 1 && delay <= most_ms.max(1));
        }
    }

    #[test]
    fn those_that_fail_together_come_again_apart() {
        let backoff = Backoff { first_ms: 1_000, most_ms: 600_000 };
        let delays: std::collections::BTreeSet<_> =
            (0..100).map(|seed| backoff.delay(8, &mut Jitter::new(seed))).collect();
        assert!(delays.len() > 90, "{}", delays.len());
    }
}
