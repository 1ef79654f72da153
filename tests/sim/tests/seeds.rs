//! Random faults in random worlds, from many seeds.
//!
//! `FESTOON_SEEDS` says how many, `FESTOON_SEED` runs one alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use festoon_sim::scenario::Scenario;

const SEEDS: u64 = if cfg!(debug_assertions) { 20 } else { 200 };

#[expect(clippy::expect_used, reason = "a mistyped number must not pass for none")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("FESTOON_SEED and FESTOON_SEEDS are numbers"))
}

/// Runs the seeds on all cores: the clock of the tunnels is one a thread, so worlds do not disturb each other.
fn failures(seeds: std::ops::Range<u64>) -> Vec<String> {
    let (next, failures) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| seeds.contains(seed)) {
                    if let Err(failure) = Scenario::random(seed).run() {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure.to_string());
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn every_invariant_holds_whatever_goes_wrong() {
    let seeds = match number("FESTOON_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FESTOON_SEEDS").unwrap_or(SEEDS),
    };
    let failures = failures(seeds);
    let count = failures.len();
    let first: Vec<_> = failures.into_iter().take(3).collect();
    assert!(first.is_empty(), "{count} seeds failed\n{}", first.join("\n\n"));
}

#[test]
fn a_seed_gives_the_same_world_again() {
    let scenario = Scenario::random(number("FESTOON_SEED").unwrap_or(1));
    let digests = [scenario.run(), scenario.run()].map(|outcome| outcome.map_err(|failure| failure.violation));
    assert_eq!(digests[0], digests[1]);
}
