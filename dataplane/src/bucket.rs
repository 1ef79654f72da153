//! Token buckets: how often something may happen. Pure: the time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many times at once.
    pub burst: u32,
    /// After that, once in this time.
    pub every: Duration,
}

impl Rate {
    /// So many times a second, and at most `burst` times at once. `count` is at least 1.
    pub const fn per_second(count: u32, burst: u32) -> Self {
        Self { burst, every: Duration::from_nanos(1_000_000_000 / count as u64) }
    }
}

/// What was used of a [`Rate`] (generic cell rate algorithm).
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    /// When nothing of what was used counts any more.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Uses the rate once, unless it is used up.
    ///
    /// # Errors
    /// How long to wait until it is possible again.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let slack = rate.every * rate.burst.saturating_sub(1);
        let wait = full_at.saturating_duration_since(now).saturating_sub(slack);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.full_at = Some(full_at + rate.every);
        Ok(())
    }

    /// What was used once at this rate counts no more.
    pub fn give_back(&mut self, rate: Rate) {
        self.full_at = self.full_at.and_then(|at| at.checked_sub(rate.every));
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}

/// A bucket for each of many. Those that are full are forgotten, because they are as good as new.
#[derive(Debug)]
pub struct Buckets<K> {
    buckets: HashMap<K, Bucket>,
    /// The number of buckets at which to look for full ones.
    sweep_at: usize,
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self { buckets: HashMap::new(), sweep_at: Self::SWEEP }
    }
}

impl<K> Buckets<K> {
    const SWEEP: usize = 1024;
}

impl<K: Hash + Eq> Buckets<K> {
    /// Uses the rate of `key` once, unless it is used up.
    ///
    /// # Errors
    /// As [`Bucket::take`].
    pub fn take(&mut self, key: K, rate: Rate, now: Instant) -> Result<(), Duration> {
        if self.buckets.len() >= self.sweep_at {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
            // Twice what is left, so that a sweep costs each newcomer a constant.
            self.sweep_at = (self.buckets.len() * 2).max(Self::SWEEP);
        }
        self.buckets.entry(key).or_default().take(rate, now)
    }

    /// Forgets what was used by `key`.
    pub fn forget(&mut self, key: &K) {
        self.buckets.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { burst: 5, every: Duration::from_millis(100) };

    #[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_one_at_a_time() {
        let (mut bucket, now) = (Bucket::default(), start());
        assert_eq!((0..9).filter(|_| bucket.take(RATE, now).is_ok()).count(), 5);
        assert_eq!(bucket.take(RATE, now), Err(RATE.every));
        assert_eq!(bucket.take(RATE, now + RATE.every), Ok(()));
        let later = now + Duration::from_secs(60);
        assert_eq!((0..9).filter(|_| bucket.take(RATE, later).is_ok()).count(), 5, "never more at once");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (rate, mut bucket, start) = (Rate::per_second(10, 3), Bucket::default(), start());
        for _ in 0..100 {
            assert_eq!(bucket.take(rate, start), Ok(()));
            bucket.give_back(rate);
        }
        assert_eq!((0..9).filter(|_| bucket.take(rate, start).is_ok()).count(), 3);
        assert_eq!(bucket.take(rate, start + Duration::from_millis(99)), Err(Duration::from_millis(1)));
    }

    #[test]
    fn each_key_has_its_own_and_full_ones_are_forgotten() {
        let (mut buckets, now) = (Buckets::default(), start());
        for key in 0..10_000_u32 {
            let at = now + RATE.every * key;
            assert_eq!((0..9).filter(|_| buckets.take(key, RATE, at).is_ok()).count(), 5);
        }
        assert!(buckets.buckets.len() <= Buckets::<u32>::SWEEP, "{}", buckets.buckets.len());
    }

    proptest! {
        #[test]
        fn no_more_than_the_rate_in_any_time(steps in proptest::collection::vec(0_u64..300, 1..200)) {
            let (mut bucket, start) = (Bucket::default(), start());
            let (mut now, mut taken) = (start, Vec::new());
            for step in steps {
                now += Duration::from_millis(step);
                match bucket.take(RATE, now) {
                    Ok(()) => taken.push(now),
                    Err(wait) => {
                        let mut later = bucket;
                        prop_assert!(later.take(RATE, now + wait).is_ok(), "who waits as told gets through");
                    }
                }
            }
            for (at, first) in taken.iter().enumerate() {
                for (count, last) in (1..).zip(&taken[at..]) {
                    let allowed = u128::from(RATE.burst) + (*last - *first).as_millis() / RATE.every.as_millis();
                    prop_assert!(count <= allowed, "{count} in {:?}", *last - *first);
                }
            }
        }
    }
}
