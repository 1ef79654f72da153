//! What is judged when a world is over: whether clients were told the truth.

mod linear;
mod promises;
#[cfg(test)]
mod tests;

use festoon_control::registry::State;

use super::history::History;
use super::log::Log;
use super::sightings::Sightings;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Changes that were acknowledged and are not there, or are there again though they were taken back.
    pub lost: Vec<String>,
    /// Addresses that two endpoints had at the same time.
    pub twice: Vec<String>,
    /// Changes that were made though a client was told for certain that nothing was changed, or that nobody had asked for.
    pub untrue: Vec<String>,
    /// Why the history can't have happened in the order of the log, one call after the other.
    pub unordered: Vec<String>,
}

impl Verdict {
    /// Whether nothing was found.
    pub fn is_good(&self) -> bool {
        *self == Self::default()
    }
}

/// Judges a history by the log and by the state that all managers have at the end.
pub(super) fn judge(history: &History, log: &Log, sightings: &Sightings, last: &State) -> Verdict {
    let calls = history.all();
    let mut verdict = Verdict { twice: promises::twice(&calls), ..Verdict::default() };
    if sightings.twice() > 0 {
        verdict.twice.push(format!("{} in states that managers published", sightings.twice()));
    }
    promises::lost(&calls, last, &mut verdict);
    promises::untrue(&calls, sightings, last, &mut verdict);
    verdict.unordered = linear::check(&calls, &log.changes(), sightings);
    verdict
}
