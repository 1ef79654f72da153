//! The log as managers carried it out: the one order of all that happened.
//!
//! Every entry that counts is carried out by some manager, one after the other: what comes in a snapshot was carried out
//! by whoever made it. So nothing is missing here, whatever becomes of the managers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use festoon_cluster::Proposal;
use festoon_proto::ManagerId;

/// A change in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where it stands.
    pub(super) place: u64,
    pub(super) proposal: Proposal,
    /// When some manager carried it out first, in moments of the history.
    pub(super) moment: usize,
}

/// What stands in the log.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    /// By place, with the moment of the first time. Without a proposal it is the consensus' own.
    entries: BTreeMap<u64, (usize, Option<Proposal>)>,
    wrong: Vec<String>,
}

impl Log {
    /// At this moment `manager` carries out what stands at this place.
    pub(super) fn carry_out(&self, manager: ManagerId, place: u64, proposal: Option<&Proposal>, moment: usize) {
        let mut record = self.record();
        match record.entries.get(&place) {
            Some((_, known)) if known.as_ref() == proposal => {}
            Some((_, known)) => {
                let wrong = format!("{manager} carries out {proposal:?} at {place}, where others have {known:?}");
                record.wrong.push(wrong);
            }
            None => drop(record.entries.insert(place, (moment, proposal.cloned()))),
        }
    }

    /// All changes in order. One that was sent again may stand there again, and counts once.
    pub(super) fn changes(&self) -> Vec<Entry> {
        let mut known = BTreeSet::new();
        let mut changes = Vec::new();
        for (&place, (moment, proposal)) in &self.record().entries {
            if let Some(proposal) = proposal.as_ref().filter(|proposal| known.insert(proposal.id)) {
                changes.push(Entry { place, proposal: proposal.clone(), moment: *moment });
            }
        }
        changes
    }

    /// What was wrong.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.record().wrong.clone()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
