//! Cuts the power of managers at random moments while changes come in, and prints what was broken by it, as JSON: for
//! `make acceptance`.

use std::process::ExitCode;

use festoon_sim::registry::{Outcome, Scenario};
use festoon_sim::seeds::{asked_for, run_all};

/// Each makes some dozens of power cuts.
const SEEDS: u64 = 24;

fn main() -> ExitCode {
    let seeds = match asked_for(SEEDS) {
        Ok(seeds) => seeds,
        Err(error) => {
            eprintln!("festoon-registry-kills: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcomes = run_all(seeds, |seed| Scenario::power_cuts(seed).run());
    outcomes.iter().filter(|outcome| !outcome.is_good()).for_each(|outcome| eprintln!("{outcome}"));
    println!("{}", json(&outcomes));
    ExitCode::SUCCESS
}

fn json(outcomes: &[Outcome]) -> String {
    let sum = |count: fn(&Outcome) -> u64| outcomes.iter().map(count).sum::<u64>();
    let figures = [
        ("kills", sum(|it| it.figures.power_cuts)),
        ("acknowledged", sum(|it| it.figures.acknowledged)),
        ("unknown", sum(|it| it.figures.unknown)),
        ("lost", sum(|it| it.verdict.lost.len() as u64)),
        ("twice", sum(|it| it.verdict.twice.len() as u64)),
        ("not_linearizable", sum(|it| u64::from(!it.verdict.unordered.is_empty()))),
        ("otherwise_wrong", sum(|it| (it.verdict.untrue.len() + it.wrong.len()) as u64)),
    ];
    let rows: Vec<String> = figures.iter().map(|(name, figure)| format!("\"{name}\": {figure}")).collect();
    format!("{{{}}}", rows.join(", "))
}
