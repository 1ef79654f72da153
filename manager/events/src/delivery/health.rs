//! How a destination is doing.

/// After so many failures in a row, with nothing taken between them, a destination is said to fail.
const TELL_AFTER: u32 = 5;

/// How a destination is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Failures since it took something, without those that were on their way together.
    pub failures: u32,
    /// The first of them.
    pub failing_since: Option<u64>,
    /// When it took something.
    pub last_success: Option<u64>,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// Nothing is sent before this, because of the failures.
    pub(super) paused_until: u64,
    /// Nor before this, because the receiver said so.
    pub(super) asked_until: u64,
    last_failure: Option<u64>,
    /// When that was sent which failed, if nothing was taken since: the latest.
    pub(super) last_refused: Option<u64>,
    /// When that was sent which it took: the latest.
    pub(super) last_taken: Option<u64>,
    is_told: bool,
}

/// What others want to know of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It takes nothing.
    Failing,
    /// It takes events again.
    Recovered {
        /// Since when it had not.
        failing_since: u64,
    },
}

impl Health {
    /// As another manager left it, which has told that it fails.
    pub fn resume(failing_since: Option<u64>) -> Self {
        Self { failing_since, is_told: failing_since.is_some(), ..Self::default() }
    }

    /// Since when it fails, once that was told.
    pub fn told_failing_since(&self) -> Option<u64> {
        self.failing_since.filter(|_| self.is_told)
    }

    /// Nothing is sent before this; 0 if something may be.
    pub(super) fn next_try(&self) -> u64 {
        self.paused_until.max(self.asked_until)
    }

    /// Something that was sent at `sent` was taken.
    pub(super) fn succeeded(&mut self, sent: u64, now: u64) -> Option<News> {
        let recovered = self.told_failing_since().map(|failing_since| News::Recovered { failing_since });
        let (last_error, asked_until) = (self.last_error.take(), self.asked_until);
        let last_taken = self.last_taken.max(Some(sent));
        *self = Self { last_success: Some(now), last_error, asked_until, last_taken, ..Self::default() };
        recovered
    }

    /// Something that was sent at `sent` failed. What was sent before the last failure tells nothing new: it only was on its way
    /// with it. Returns whether it did.
    pub(super) fn failed(&mut self, sent: u64, now: u64, why: &str) -> bool {
        self.last_error = Some(why.to_owned());
        self.last_refused = self.last_refused.max(Some(sent));
        if self.last_failure.is_some_and(|last| sent <= last) {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        self.failing_since.get_or_insert(now);
        self.last_failure = Some(now);
        true
    }

    pub(super) fn poll_failing(&mut self) -> Option<News> {
        let is_news = !self.is_told && self.failures >= TELL_AFTER;
        self.is_told |= is_news;
        is_news.then_some(News::Failing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_together_counts_once_and_is_told_once() {
        let mut health = Health::default();
        for (round, sent) in (0..6).map(|round| (round, round * 1_000)) {
            assert!(health.failed(sent, sent + 10, "503"));
            assert!(!health.failed(sent, sent + 11, "503"));
            assert_eq!(health.poll_failing(), (round == 4).then_some(News::Failing));
        }
        assert_eq!((health.failures, health.failing_since), (6, Some(10)));
        assert_eq!(health.succeeded(8_990, 9_000), Some(News::Recovered { failing_since: 10 }));
        assert_eq!((health.failures, health.failing_since, health.last_success), (0, None, Some(9_000)));
        assert!(health.failed(9_000, 9_001, "reset"));
        assert_eq!(health.succeeded(9_001, 9_002), None);
    }

    #[test]
    fn another_manager_tells_that_it_recovered() {
        let mut health = Health::resume(Some(5));
        assert_eq!(health.told_failing_since(), Some(5));
        health.failed(10, 11, "503");
        assert_eq!(health.poll_failing(), None);
        assert_eq!(health.succeeded(11, 12), Some(News::Recovered { failing_since: 5 }));
    }
}
