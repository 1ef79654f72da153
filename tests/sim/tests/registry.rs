//! The registry of a cluster while everything goes wrong, from many seeds.
//!
//! `FESTOON_SEEDS` says how many, `FESTOON_SEED` runs one alone.

use festoon_sim::registry::Scenario;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn sweep(make: fn(u64) -> Scenario) {
    let seeds = match number("FESTOON_SEED") { Some(seed) => seed..seed+1, None => 0..number("FESTOON_SEEDS").unwrap_or(20) };
    let mut bad = 0;
    for seed in seeds {
        let t = std::time::Instant::now();
        let outcome = make(seed).run();
        eprintln!("seed {seed} good {} {:?} in {:?}", outcome.is_good(), outcome.figures, t.elapsed());
        if !outcome.is_good() { bad += 1; eprintln!("{outcome}"); }
        if number("FESTOON_SEED").is_some() { eprintln!("{outcome}"); }
    }
    assert_eq!(bad, 0);
}

#[test]
fn random() { sweep(Scenario::random) }
#[test]
fn cuts() { sweep(Scenario::power_cuts) }
