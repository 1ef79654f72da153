//! How often members wanted to lead, for those who watch a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counts since this member was started. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    /// The last term for which this member asked for votes.
    candidacy: AtomicU64,
    elections: AtomicU64,
    votes_granted: AtomicU64,
    leader_changes: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Elections that this member began.
    pub elections: u64,
    /// Votes that it gave to others.
    pub votes_granted: u64,
    /// How often it found another leader, or none.
    pub leader_changes: u64,
}

impl Tally {
    /// This member asks another for its vote. It asks each of them, more than once if need be, and that is one election.
    pub(crate) fn asks_for_vote(&self, term: u64) {
        if self.0.candidacy.fetch_max(term, Ordering::Relaxed) < term {
            self.0.elections.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn grants_vote(&self) {
        self.0.votes_granted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn finds_leader(&self) {
        self.0.leader_changes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { elections, votes_granted, leader_changes, .. } = &*self.0;
        Counts { elections: read(elections), votes_granted: read(votes_granted), leader_changes: read(leader_changes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_is_one_however_many_are_asked() {
        let tally = Tally::default();
        for term in [3, 3, 3, 4, 3, 4, 9] {
            tally.asks_for_vote(term);
        }
        assert_eq!(tally.counts(), Counts { elections: 3, ..Counts::default() });
    }
}
