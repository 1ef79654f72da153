//! Copies of what a manager told that does not answer for itself. No single copy is believed: what more than half of the other
//! full managers have alike is taken.

use std::collections::{BTreeMap, BTreeSet};

use festoon_proto::ManagerId;

use crate::{Event, Place};

/// What each manager has of what others told.
#[derive(Debug, Default)]
pub struct Copies {
    /// By the source, and by who has it: the next of its events behind what was taken.
    claims: BTreeMap<ManagerId, BTreeMap<ManagerId, BTreeMap<Place, Event>>>,
}

impl Copies {
    /// `holder` has these next events of `source`, in the place of what it had before.
    pub fn claim(&mut self, source: ManagerId, holder: ManagerId, events: BTreeMap<Place, Event>) {
        self.claims.entry(source).or_default().insert(holder, events);
    }

    /// The source answers for itself.
    pub fn forget(&mut self, source: ManagerId) {
        self.claims.remove(&source);
    }

    /// What more than half of the `voters`, without the source, have alike, in order.
    pub fn agreed(&self, source: ManagerId, voters: &BTreeSet<ManagerId>) -> Vec<(Place, Event)> {
        let (claims, need) = (self.of_voters(source, voters), need(source, voters));
        let places: BTreeSet<Place> = claims.iter().flat_map(|claim| claim.keys().copied()).collect();
        places.into_iter().filter_map(|place| Some((place, agreed_at(&claims, place, need)?.clone()))).collect()
    }

    /// Behind which place there may be something that enough of them have, if there is nothing yet: some keep less than others.
    pub fn skip(&self, source: ManagerId, voters: &BTreeSet<ManagerId>) -> Option<Place> {
        let claims = self.of_voters(source, voters);
        let mut firsts: Vec<Place> = claims.iter().filter_map(|claim| claim.keys().next().copied()).collect();
        firsts.sort_unstable();
        let first = firsts.get(need(source, voters) - 1)?;
        Some(Place { number: first.number.saturating_sub(1), ..*first })
    }

    fn of_voters(&self, source: ManagerId, voters: &BTreeSet<ManagerId>) -> Vec<&BTreeMap<Place, Event>> {
        let all = self.claims.get(&source).into_iter().flatten();
        all.filter(|(holder, _)| **holder != source && voters.contains(holder)).map(|(_, claim)| claim).collect()
    }
}

/// How many must have the same.
fn need(source: ManagerId, voters: &BTreeSet<ManagerId>) -> usize {
    voters.iter().filter(|voter| **voter != source).count() / 2 + 1
}

fn agreed_at<'a>(claims: &[&'a BTreeMap<Place, Event>], place: Place, need: usize) -> Option<&'a Event> {
    let said: Vec<&Event> = claims.iter().filter_map(|claim| claim.get(&place)).collect();
    said.iter().copied().find(|event| said.iter().filter(|other| *other == event).count() >= need)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    const SOURCE: ManagerId = ManagerId(9);

    fn events(numbers: std::ops::RangeInclusive<u64>) -> BTreeMap<Place, Event> {
        numbers.map(|number| (Place { life: 1, number }, Event::new(number, Kind::LinkUp))).collect()
    }

    fn voters(ids: &[u16]) -> BTreeSet<ManagerId> {
        ids.iter().copied().map(ManagerId).collect()
    }

    fn numbers(agreed: &[(Place, Event)]) -> Vec<u64> {
        agreed.iter().map(|(place, _)| place.number).collect()
    }

    #[test]
    fn what_one_manager_says_of_another_is_not_believed_where_others_could_say_it_too() {
        let (mut copies, voters) = (Copies::default(), voters(&[1, 2, 3, 9]));
        copies.claim(SOURCE, ManagerId(1), events(1..=5));
        assert!(copies.agreed(SOURCE, &voters).is_empty());
        // One of them lies about the third.
        let mut lie = events(1..=5);
        lie.insert(Place { life: 1, number: 3 }, Event::new(99, Kind::EventsLost));
        copies.claim(SOURCE, ManagerId(2), lie);
        assert_eq!(numbers(&copies.agreed(SOURCE, &voters)), [1, 2, 4, 5]);
        copies.claim(SOURCE, ManagerId(3), events(1..=3));
        let agreed = copies.agreed(SOURCE, &voters);
        assert_eq!(numbers(&agreed), [1, 2, 3, 4, 5]);
        assert_eq!(agreed[2].1, Event::new(3, Kind::LinkUp));
        copies.forget(SOURCE);
        assert!(copies.agreed(SOURCE, &voters).is_empty());
    }

    #[test]
    fn the_source_and_who_has_no_vote_are_not_counted() {
        let (mut copies, voters) = (Copies::default(), voters(&[1, 2, 9]));
        copies.claim(SOURCE, SOURCE, events(1..=1));
        copies.claim(SOURCE, ManagerId(7), events(1..=1));
        copies.claim(SOURCE, ManagerId(1), events(1..=1));
        assert!(copies.agreed(SOURCE, &voters).is_empty());
    }

    #[test]
    fn who_keeps_less_does_not_keep_the_rest_from_being_taken() {
        let (mut copies, voters) = (Copies::default(), voters(&[1, 2]));
        assert_eq!(copies.skip(SOURCE, &voters), None);
        copies.claim(SOURCE, ManagerId(1), events(1..=10));
        copies.claim(SOURCE, ManagerId(2), events(50..=60));
        assert!(copies.agreed(SOURCE, &voters).is_empty());
        assert_eq!(copies.skip(SOURCE, &voters), Some(Place { life: 1, number: 49 }));
    }
}
