//! Which endpoint is where, as far as this manager knows.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use festoon_proto::{Attachment, EndpointId, Generation, ManagerId};

/// How long a departure is remembered. A manager cut off for longer may bring the endpoint's last attachment back; the
/// endpoint's next one corrects it.
pub(super) const DEPARTURE_KEPT: Duration = Duration::from_secs(600);

/// What is known of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// A manager carries it.
    Attached(Attachment),
    /// It left. Kept so that a neighbour who missed it cannot bring the older attachment back.
    Left(EndpointId, Generation),
}

impl Presence {
    pub(super) fn endpoint(&self) -> EndpointId {
        match self {
            Self::Attached(attachment) => attachment.endpoint,
            Self::Left(endpoint, _) => *endpoint,
        }
    }

    pub(super) fn generation(&self) -> Generation {
        self.rank().0
    }

    /// The order in which one statement wins over another: as [`Attachment::supersedes`], and a departure wins over every
    /// attachment of its own generation.
    fn rank(&self) -> (Generation, bool, ManagerId) {
        match self {
            Self::Attached(attachment) => (attachment.generation, false, attachment.manager),
            Self::Left(_, generation) => (*generation, true, ManagerId(0)),
        }
    }
}

#[derive(Debug)]
struct Entry {
    presence: Presence,
    /// When to forget it. Only a departure has an end.
    expires: Option<Instant>,
}

/// The highest statement about each endpoint.
#[derive(Debug, Default)]
pub(super) struct PresenceTable {
    entries: BTreeMap<EndpointId, Entry>,
    /// The same from the other side: the endpoints each manager carries. None is empty.
    carried: BTreeMap<ManagerId, BTreeSet<EndpointId>>,
    expiries: BTreeSet<(Instant, EndpointId)>,
}

impl PresenceTable {
    /// Holds `presence` if it wins, and says how it compares with what was known: `Greater` is news.
    pub(super) fn merge(&mut self, now: Instant, presence: Presence) -> Ordering {
        let endpoint = presence.endpoint();
        let known = self.entries.get(&endpoint);
        let order = known.map_or(Ordering::Greater, |entry| presence.rank().cmp(&entry.presence.rank()));
        if order == Ordering::Greater {
            self.remove(endpoint);
            let expires = matches!(presence, Presence::Left(..)).then(|| now + DEPARTURE_KEPT);
            self.expiries.extend(expires.map(|at| (at, endpoint)));
            if let Presence::Attached(attachment) = presence {
                self.carried.entry(attachment.manager).or_default().insert(endpoint);
            }
            self.entries.insert(endpoint, Entry { presence, expires });
        }
        order
    }

    /// Whether `presence` would win over what is known.
    pub(super) fn is_news(&self, presence: Presence) -> bool {
        self.get(presence.endpoint()).is_none_or(|known| presence.rank() > known.rank())
    }

    pub(super) fn get(&self, endpoint: EndpointId) -> Option<Presence> {
        self.entries.get(&endpoint).map(|entry| entry.presence)
    }

    pub(super) fn attachment(&self, endpoint: EndpointId) -> Option<Attachment> {
        match self.get(endpoint) {
            Some(Presence::Attached(attachment)) => Some(attachment),
            _ => None,
        }
    }

    pub(super) fn attachments(&self) -> impl Iterator<Item = Attachment> + '_ {
        self.entries.values().filter_map(|entry| match entry.presence {
            Presence::Attached(attachment) => Some(attachment),
            Presence::Left(..) => None,
        })
    }

    pub(super) fn endpoints(&self) -> impl Iterator<Item = EndpointId> + '_ {
        self.entries.keys().copied()
    }

    /// The endpoints that `manager` carries.
    pub(super) fn carried_by(&self, manager: ManagerId) -> &BTreeSet<EndpointId> {
        static NONE: BTreeSet<EndpointId> = BTreeSet::new();
        self.carried.get(&manager).unwrap_or(&NONE)
    }

    /// Forgets all of an endpoint, and says whether there was anything.
    pub(super) fn forget(&mut self, endpoint: EndpointId) -> bool {
        let is_known = self.entries.contains_key(&endpoint);
        self.remove(endpoint);
        is_known
    }

    /// Forgets departures whose time is over. Nobody's route changes by it.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(&(at, endpoint)) = self.expiries.first()
            && at <= now
        {
            self.remove(endpoint);
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|&(at, _)| at)
    }

    fn remove(&mut self, endpoint: EndpointId) {
        let Some(entry) = self.entries.remove(&endpoint) else { return };
        if let Some(at) = entry.expires {
            self.expiries.remove(&(at, endpoint));
        }
        if let Presence::Attached(Attachment { manager, .. }) = entry.presence
            && let Some(carried) = self.carried.get_mut(&manager)
        {
            carried.remove(&endpoint);
            if carried.is_empty() {
                self.carried.remove(&manager);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
mod tests {
    use super::*;

    const E: EndpointId = EndpointId(1);

    fn attached(manager: u16, generation: u64) -> Presence {
        let (manager, generation) = (ManagerId(manager), Generation(generation));
        Presence::Attached(Attachment { endpoint: E, manager, generation })
    }

    fn left(generation: u64) -> Presence {
        Presence::Left(E, Generation(generation))
    }

    #[test]
    fn every_statement_is_compared_with_the_highest_so_far() {
        let cases = [
            (attached(1, 5), attached(1, 5), Ordering::Equal),
            (attached(1, 5), attached(2, 5), Ordering::Greater),
            (attached(2, 5), attached(1, 6), Ordering::Greater),
            (attached(1, 6), attached(9, 5), Ordering::Less),
            (attached(9, 5), left(5), Ordering::Greater),
            (attached(1, 6), left(5), Ordering::Less),
            (left(5), attached(9, 5), Ordering::Less),
            (left(5), attached(1, 6), Ordering::Greater),
            (left(5), left(5), Ordering::Equal),
            (left(5), left(6), Ordering::Greater),
        ];
        for (known, received, expected) in cases {
            let (mut table, now) = (PresenceTable::default(), Instant::now());
            table.merge(now, known);
            assert_eq!(table.merge(now, received), expected, "{received:?} after {known:?}");
            let winner = if expected == Ordering::Greater { received } else { known };
            assert_eq!(table.get(E), Some(winner));
        }
    }

    #[test]
    fn a_departure_ends_and_a_later_attachment_does_not_inherit_the_end() {
        let (mut table, now) = (PresenceTable::default(), Instant::now());
        table.merge(now, left(5));
        assert_eq!(table.next_expiry(), Some(now + DEPARTURE_KEPT));
        table.expire(now + DEPARTURE_KEPT - Duration::from_millis(1));
        assert_eq!(table.get(E), Some(left(5)));
        table.merge(now, attached(1, 6));
        assert_eq!(table.next_expiry(), None);
        table.merge(now, left(6));
        table.expire(now + DEPARTURE_KEPT);
        assert_eq!((table.get(E), table.next_expiry()), (None, None));
    }

    #[test]
    fn an_endpoint_is_carried_by_one_manager_at_most() {
        let (mut table, now) = (PresenceTable::default(), Instant::now());
        let carried = |table: &PresenceTable| [1, 2].map(|manager| table.carried_by(ManagerId(manager)).contains(&E));
        for (statement, expected) in [
            (attached(1, 5), [true, false]),
            (attached(2, 6), [false, true]),
            (attached(1, 5), [false, true]),
            (left(6), [false, false]),
            (attached(1, 7), [true, false]),
        ] {
            table.merge(now, statement);
            assert_eq!(carried(&table), expected, "after {statement:?}");
        }
        assert!(table.forget(E) && !table.forget(E));
        assert_eq!(carried(&table), [false, false]);
        assert!(table.carried.is_empty());
    }
}
