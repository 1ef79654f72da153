//! What a node saw happen to endpoints, managers and links, for whoever keeps a record of it. Each is told by one manager
//! only: what happens to an attachment by the one that accepts or ends it, of a link by its own end, of a manager by the
//! lowest of those that are left.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use festoon_proto::signal::MoveReason;
use festoon_proto::{Attachment, EndpointId, Generation, ManagerId, NetworkId};

use super::tally::Tally;

/// Sightings that wait to be taken. The packet loop waits for nobody: what finds no place is counted, and that is told.
const MAX_WAITING: usize = 65_536;
/// A manager that is heard of so soon after the start was there before it.
const GRACE: Duration = Duration::from_secs(10);

/// Something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// When.
    pub at: Instant,
    /// What.
    pub what: Seen,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// To an endpoint.
    Endpoint {
        /// Which.
        endpoint: EndpointId,
        /// Its network.
        network: Option<NetworkId>,
        /// The generation of its attachment.
        generation: Generation,
        /// What.
        what: Step,
    },
    /// An endpoint does what only a broken, cloned or hostile one does.
    Suspicious {
        /// Which.
        endpoint: EndpointId,
        /// Its network.
        network: Option<NetworkId>,
        /// What it does.
        why: Suspicion,
    },
    /// A manager can't be reached any more.
    ManagerLost(ManagerId),
    /// It can be again.
    ManagerReturned(ManagerId),
    /// The link to a manager is up, with this round-trip time.
    LinkUp(ManagerId, Duration),
    /// The link to a manager is down.
    LinkDown(ManagerId),
    /// So many sightings found no place.
    Missed(u64),
}

/// What happens to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is carried here, and nobody was known to carry it.
    Up,
    /// It is carried here from now on.
    Moved {
        /// Who carried it, and since which generation.
        from: (ManagerId, Generation),
        /// Why, if it said so: stock clients don't.
        why: Option<MoveReason>,
        /// How long the manager before was silent.
        gap: Option<Duration>,
    },
    /// It is carried no more, or can't be.
    Down(Ending),
}

/// What an endpoint does that a sound one does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// It attaches or leaves with a generation that it can't have.
    Generation(Generation),
    /// It attaches and leaves too often.
    Changes,
}

impl Suspicion {
    /// A stable word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Generation(_) => "generation",
            Self::Changes => "changes",
        }
    }
}

/// How an attachment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The endpoint said that it goes.
    Left,
    /// It is not heard any more.
    Silent,
    /// It was removed, or may not take part any more.
    Removed,
    /// An admin cut it off. It may come back.
    Disconnected,
}

impl Ending {
    /// All there are.
    pub const ALL: &[Self] = &[Self::Left, Self::Silent, Self::Removed, Self::Disconnected];

    /// A stable word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Silent => "silent",
            Self::Removed => "removed",
            Self::Disconnected => "disconnected",
        }
    }
}

/// A stable word for why an endpoint moved. A stock client does not say; it was heard here.
pub fn word_of_move(why: Option<MoveReason>) -> &'static str {
    why.map_or("heard_here", MoveReason::word)
}

impl Step {
    /// What an endpoint's being carried here means, if `before` was known of it.
    pub(super) fn arrived(
        to: Attachment,
        before: Option<Attachment>,
        why: Option<MoveReason>,
        gap: Option<Duration>,
    ) -> Self {
        match before {
            Some(before) if before.manager != to.manager => {
                Self::Moved { from: (before.manager, before.generation), why, gap }
            }
            _ => Self::Up,
        }
    }
}

/// Sightings that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    waiting: VecDeque<Sighting>,
    missed: u64,
    tally: Tally,
}

impl Sightings {
    pub(super) fn add(&mut self, at: Instant, what: Seen) {
        self.tally.count(&what);
        if self.missed > 0 || self.waiting.len() >= MAX_WAITING {
            self.missed += 1;
            self.tally.missed += 1;
        } else {
            self.waiting.push_back(Sighting { at, what });
        }
    }

    /// How often what happened.
    pub(super) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The next. What was missed is told behind all that was not.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Sighting> {
        self.waiting.pop_front().or_else(|| {
            let missed = std::mem::take(&mut self.missed);
            (missed > 0).then_some(Sighting { at: now, what: Seen::Missed(missed) })
        })
    }
}

/// Which managers are away.
#[derive(Debug)]
pub(super) struct Absent {
    began: Instant,
    /// Those that were heard of and lost, and those that were members at the start and not heard of yet.
    away: BTreeSet<ManagerId>,
}

impl Absent {
    pub(super) fn new(began: Instant, managers: impl IntoIterator<Item = ManagerId>) -> Self {
        Self { began, away: managers.into_iter().collect() }
    }

    pub(super) fn lost(&mut self, manager: ManagerId) {
        self.away.insert(manager);
    }

    /// Whether that is news to those that were here.
    pub(super) fn returned(&mut self, now: Instant, manager: ManagerId) -> bool {
        self.away.remove(&manager) && now >= self.began + GRACE
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
mod tests {
    use super::*;

    const M2: ManagerId = ManagerId(2);

    #[test]
    fn what_finds_no_place_is_counted_and_told_behind_the_rest() {
        let (mut sightings, now) = (Sightings::default(), Instant::now());
        for _ in 0..MAX_WAITING + 5 {
            sightings.add(now, Seen::LinkDown(M2));
        }
        let taken: Vec<Seen> = std::iter::from_fn(|| sightings.pop(now)).map(|sighting| sighting.what).collect();
        assert_eq!((taken.len(), taken.last()), (MAX_WAITING + 1, Some(&Seen::Missed(5))));
        assert_eq!((sightings.tally().missed, sightings.tally().links[&M2]), (5, (0, MAX_WAITING as u64 + 5)));
        sightings.add(now, Seen::LinkDown(M2));
        assert_eq!(sightings.pop(now).map(|sighting| sighting.what), Some(Seen::LinkDown(M2)));
        assert_eq!(sightings.pop(now), None);
    }

    #[test]
    fn who_was_there_before_the_start_has_not_returned() {
        let now = Instant::now();
        let absent = || Absent::new(now, [M2]);
        assert!(!absent().returned(now + Duration::from_secs(1), M2));
        assert!(absent().returned(now + GRACE, M2));
        assert!(!absent().returned(now + GRACE, ManagerId(3)), "a new one");
        let mut lost = absent();
        lost.returned(now, M2);
        lost.lost(M2);
        assert!(lost.returned(now + GRACE, M2) && !lost.returned(now + GRACE, M2));
    }
}
