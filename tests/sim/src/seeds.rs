//! Many seeds, on all cores.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The seeds that a person asked for, or else the first `count`: `FESTOON_SEEDS` says how many, `FESTOON_SEED` which one
/// alone, or with which one they begin if both are given.
///
/// # Errors
/// When one of them is no number: a mistyped one must not pass for none.
pub fn asked_for(count: u64) -> Result<Range<u64>, String> {
    let number = |name: &str| match std::env::var(name) {
        Ok(text) => text.parse::<u64>().map(Some).map_err(|_| format!("{name} is a number, not {text:?}")),
        Err(_) => Ok(None),
    };
    let (first, asked) = (number("FESTOON_SEED")?, number("FESTOON_SEEDS")?);
    let (first, count) = first.map_or((0, asked.unwrap_or(count)), |first| (first, asked.unwrap_or(1)));
    Ok(first..first.saturating_add(count))
}

/// Runs the seeds and gives what came of each, in no order. Worlds do not disturb each other: the clock of the tunnels is
/// one a thread, and so is that of tokio.
pub fn run_all<T: Send>(seeds: Range<u64>, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let (next, results) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| seeds.contains(seed)) {
                    let result = run(seed);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}
