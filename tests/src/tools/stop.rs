//! When a tool ends: its duration, SIGTERM, or the end of standard input.

use std::io::{Read, stdin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::clock::now;

/// How long a tool may take to notice that it should stop.
pub const POLL: Duration = Duration::from_millis(50);

/// Asked again and again by every tool's loop.
#[derive(Debug, Clone)]
pub struct Stop {
    raised: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Stop {
    /// Stops `duration_s` seconds from now, on SIGTERM and SIGINT, and if `until_eof` when standard input ends.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed or the duration is not a positive number.
    pub fn new(duration_s: Option<f64>, until_eof: bool) -> anyhow::Result<Self> {
        let raised = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register(signal, Arc::clone(&raised)).context("cannot handle signals")?;
        }
        if until_eof {
            let raised = Arc::clone(&raised);
            thread::spawn(move || {
                let mut sink = [0; 64];
                while matches!(stdin().read(&mut sink), Ok(1..)) {}
                raised.store(true, Ordering::Relaxed);
            });
        }
        let duration =
            duration_s.map(Duration::try_from_secs_f64).transpose().context("--duration-s is no duration")?;
        Ok(Self { raised, deadline: duration.map(|duration| now() + duration) })
    }

    /// Whether it is time to stop.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.raised.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| now() >= deadline)
    }

    /// Waits until `at`, or until it is time to stop. Says whether `at` was reached.
    #[must_use]
    pub fn pause_until(&self, at: Instant) -> bool {
        loop {
            if self.is_due() {
                return false;
            }
            let left = at.saturating_duration_since(now());
            if left.is_zero() {
                return true;
            }
            pause(left.min(POLL));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a tool that sends on a schedule has nothing else to wait for")]
fn pause(time: Duration) {
    thread::sleep(time);
}

/// A duration as milliseconds with a fraction.
#[must_use]
pub fn as_ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
