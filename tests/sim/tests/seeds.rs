//! Random faults in random worlds, from many seeds.
//!
//! `FESTOON_SEEDS` says how many, `FESTOON_SEED` runs one alone.

use festoon_sim::scenario::Scenario;
use festoon_sim::seeds::{asked_for, run_all};

const SEEDS: u64 = if cfg!(debug_assertions) { 20 } else { 200 };

#[test]
fn every_invariant_holds_whatever_goes_wrong() {
    let outcomes = run_all(asked_for(SEEDS).unwrap(), |seed| Scenario::random(seed).run().err());
    let failures: Vec<String> = outcomes.into_iter().flatten().map(|failure| failure.to_string()).collect();
    let count = failures.len();
    let first: Vec<_> = failures.into_iter().take(3).collect();
    assert!(first.is_empty(), "{count} seeds failed\n{}", first.join("\n\n"));
}

#[test]
fn a_seed_gives_the_same_world_again() {
    let seed = asked_for(2).unwrap().next_back().unwrap();
    let scenario = Scenario::random(seed);
    let digests = [scenario.run(), scenario.run()].map(|outcome| outcome.map_err(|failure| failure.violation));
    assert_eq!(digests[0], digests[1]);
}
