//! How often what happened. Counted where it is seen, also what nobody takes in time.

use std::collections::BTreeMap;

use festoon_metrics::Histogram;
use festoon_proto::ManagerId;
use festoon_proto::signal::MoveReason;

use super::sightings::{Ending, Seen, Step, word_of_move};

/// Seconds that a manager was silent when its endpoints moved. The bars of a failover are at 0.15, 0.3 and 0.6.
const GAPS: &[f64] = &[0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 1.0, 2.0, 5.0, 15.0];

/// The counts since the node started.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// Endpoints that came, which nobody was known to carry.
    pub ups: u64,
    /// Endpoints that came from another manager, by the word for the reason.
    pub moves: BTreeMap<&'static str, u64>,
    /// How long a manager had been silent that an endpoint took for dead. Those that leave one for another reason have no gap.
    pub gaps: Histogram,
    /// Endpoints that went, by the word for how.
    pub downs: BTreeMap<&'static str, u64>,
    /// Events of endpoints that do odd things.
    pub suspicions: u64,
    /// Links that came up and went down, by the manager at the other end.
    pub links: BTreeMap<ManagerId, (u64, u64)>,
    /// Managers that were lost, as far as this one tells of it.
    pub lost: u64,
    /// Managers that returned, as far as this one tells of it.
    pub returned: u64,
    /// What found no place on its way to the record of events.
    pub missed: u64,
}

impl Default for Tally {
    /// All that may happen is there, and has not happened: a count that appears only with the first is no count of that first.
    fn default() -> Self {
        let reasons = MoveReason::ALL.iter().map(|reason| Some(*reason)).chain([None]);
        Self {
            ups: 0,
            moves: reasons.map(|why| (word_of_move(why), 0)).collect(),
            gaps: Histogram::new(GAPS),
            downs: Ending::ALL.iter().map(|ending| (ending.word(), 0)).collect(),
            suspicions: 0,
            links: BTreeMap::new(),
            lost: 0,
            returned: 0,
            missed: 0,
        }
    }
}

impl Tally {
    pub(super) fn count(&mut self, seen: &Seen) {
        match seen {
            Seen::Endpoint { what: Step::Up, .. } => self.ups += 1,
            Seen::Endpoint { what: Step::Moved { why, gap, .. }, .. } => {
                *self.moves.entry(word_of_move(*why)).or_default() += 1;
                if let (Some(MoveReason::ManagerDead), Some(gap)) = (why, gap) {
                    self.gaps.observe(*gap);
                }
            }
            Seen::Endpoint { what: Step::Down(ending), .. } => *self.downs.entry(ending.word()).or_default() += 1,
            Seen::Suspicious { .. } => self.suspicions += 1,
            Seen::ManagerLost(_) => self.lost += 1,
            Seen::ManagerReturned(_) => self.returned += 1,
            Seen::LinkUp(to, _) => self.links.entry(*to).or_default().0 += 1,
            Seen::LinkDown(to) => self.links.entry(*to).or_default().1 += 1,
            // Counted when it happened.
            Seen::Missed(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use festoon_proto::{EndpointId, Generation};

    use super::*;

    #[test]
    fn all_that_may_happen_is_counted_from_zero() {
        let mut tally = Tally::default();
        assert!(tally.moves.values().chain(tally.downs.values()).all(|count| *count == 0));
        let happened =
            |what| Seen::Endpoint { endpoint: EndpointId(1), network: None, generation: Generation(2), what };
        let from = (ManagerId(2), Generation(1));
        let (why, gap) = (Some(MoveReason::ManagerDead), Some(Duration::from_millis(120)));
        for seen in [
            happened(Step::Up),
            happened(Step::Moved { from, why, gap }),
            happened(Step::Moved { from, why: None, gap: None }),
            happened(Step::Moved { from, why: Some(MoveReason::Priority), gap }),
            happened(Step::Down(Ending::Silent)),
            Seen::LinkUp(ManagerId(2), Duration::ZERO),
            Seen::LinkDown(ManagerId(2)),
            Seen::ManagerLost(ManagerId(2)),
        ] {
            tally.count(&seen);
        }
        assert_eq!((tally.ups, tally.moves["manager_dead"], tally.moves["heard_here"]), (1, 1, 1));
        assert_eq!((tally.gaps.count(), tally.downs["silent"], tally.downs["left"]), (1, 1, 0));
        assert_eq!((tally.links[&ManagerId(2)], tally.lost, tally.returned), ((1, 1), 1, 0));
    }
}
