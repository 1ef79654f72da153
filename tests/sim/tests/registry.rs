//! The registry of a cluster while everything goes wrong, from many seeds.
//!
//! `FESTOON_SEEDS` says how many, `FESTOON_SEED` runs one alone, or begins with that one. `make seeds` runs thousands.

#![expect(clippy::unwrap_used, reason = "clippy takes the helpers of an integration test for a program")]

use festoon_sim::registry::{Outcome, Scenario};
use festoon_sim::seeds::{asked_for, run_all};

const SEEDS: u64 = if cfg!(debug_assertions) { 10 } else { 120 };

/// Runs the seeds, names those that failed, and shows the first.
fn all_are_good(make: fn(u64) -> Scenario) -> Vec<Outcome> {
    let outcomes = run_all(asked_for(SEEDS).unwrap(), |seed| make(seed).run());
    let failed: Vec<&Outcome> = outcomes.iter().filter(|it| !it.is_good()).collect();
    let seeds: Vec<u64> = failed.iter().map(|it| it.seed()).collect();
    assert!(failed.is_empty(), "of {} seeds these failed: {seeds:?}\n{}", outcomes.len(), failed[0]);
    outcomes
}

#[test]
fn every_promise_is_kept_whatever_goes_wrong() {
    let outcomes = all_are_good(Scenario::random);
    let sum = |figure: fn(&Outcome) -> u64| outcomes.iter().map(figure).sum::<u64>();
    println!("{} worlds, {} changes acknowledged", outcomes.len(), sum(|it| it.figures.acknowledged));
    // A world in which nothing goes wrong proves nothing.
    assert!(sum(|it| it.figures.power_cuts) >= 2 * outcomes.len() as u64);
    assert!(sum(|it| it.figures.unknown) >= 2 * outcomes.len() as u64);
    assert!(sum(|it| it.figures.acknowledged) >= 20 * outcomes.len() as u64);
}

#[test]
fn every_promise_is_kept_while_machines_lose_their_power() {
    let outcomes = all_are_good(Scenario::power_cuts);
    assert!(outcomes.iter().all(|it| it.figures.power_cuts >= 10 && it.figures.acknowledged >= 20));
}

/// The judge is worth nothing if it never finds anything.
#[test]
fn disks_that_lie_are_found_out() {
    let outcomes = run_all(0..12, |seed| Scenario::lying_disks(seed).run());
    let lost = outcomes.iter().filter(|it| !it.verdict.lost.is_empty()).count();
    let unordered = outcomes.iter().filter(|it| !it.verdict.unordered.is_empty()).count();
    assert!(lost >= 6 && unordered >= 6, "of {}: {lost} lost something, {unordered} have no order", outcomes.len());
}

/// Only if tokio draws from the seed too; otherwise calls that end at the same moment may do so in another order.
#[cfg(tokio_unstable)]
#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..4 {
        let digests = [Scenario::random(seed).run().digest, Scenario::random(seed).run().digest];
        assert_eq!(digests[0], digests[1], "seed {seed}");
    }
}
