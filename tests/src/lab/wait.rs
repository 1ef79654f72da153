//! Waiting on a condition, with a deadline.

use std::thread::park_timeout;
use std::time::Duration;

use anyhow::bail;

use crate::clock::now;

/// How often a condition is looked at. `park_timeout` may return early; then it is looked at sooner.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until `condition` gives something, and gives that.
///
/// # Errors
/// After `within`, naming `what` was waited for.
pub fn wait_for<T>(within: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let deadline = now() + within;
    loop {
        if let Some(found) = condition() {
            return Ok(found);
        }
        if now() >= deadline {
            bail!("not within {within:?}: {what}");
        }
        park_timeout(LOOK);
    }
}

/// Waits until `condition` holds, and says how long that took.
///
/// # Errors
/// As [`wait_for`].
pub fn wait_until(within: Duration, what: &str, mut condition: impl FnMut() -> bool) -> anyhow::Result<Duration> {
    let start = now();
    wait_for(within, what, || condition().then(|| start.elapsed()))
}
