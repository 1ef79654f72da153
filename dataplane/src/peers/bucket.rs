//! Token buckets: how often something may happen.

use std::time::{Duration, Instant};

/// How many tokens a bucket holds, and how soon one comes back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    interval: Duration,
    burst: u32,
}

impl Pace {
    /// So many tokens a second, and at most `burst` at once. Both are at least 1.
    pub(super) const fn new(per_second: u32, burst: u32) -> Self {
        Self { interval: Duration::from_nanos(1_000_000_000 / per_second as u64), burst }
    }
}

/// A bucket, full at first. It remembers only when it will be full again, so one that is not in use needs no timer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes a token if there is one.
    pub(super) fn take(&mut self, now: Instant, pace: Pace) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        if full_at.duration_since(now) > pace.interval * (pace.burst - 1) {
            return false;
        }
        self.full_at = Some(full_at + pace.interval);
        true
    }

    /// Puts back a token that was taken.
    pub(super) fn give_back(&mut self, pace: Pace) {
        self.full_at = self.full_at.and_then(|at| at.checked_sub(pace.interval));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace::new(10, 3);

    #[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (mut bucket, start) = (Bucket::default(), now());
        let mut taken = |ms| (0..10).filter(|_| bucket.take(start + Duration::from_millis(ms), PACE)).count();
        assert_eq!([0, 50, 100, 199, 200, 10_000].map(&mut taken), [3, 0, 1, 0, 1, 3]);
    }

    #[test]
    fn a_token_that_was_put_back_can_be_taken_again() {
        let (mut bucket, start) = (Bucket::default(), now());
        for _ in 0..100 {
            assert!(bucket.take(start, PACE));
            bucket.give_back(PACE);
        }
        assert!((0..3).all(|_| bucket.take(start, PACE)) && !bucket.take(start, PACE));
    }
}
