//! The one place of this package that reads the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "what is measured here is real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock in milliseconds since 1970, to line up the reports of several programs.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "what is measured here is real time")]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
