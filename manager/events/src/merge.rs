//! What comes from all sources, put into one order.
//!
//! Each source's own order is kept. What happens to one endpoint is told by one manager after another, and the news of the
//! later may come first: an event that says which generation it follows waits until that was told, but not for long, for
//! who should tell it may be gone for good.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use festoon_proto::{EndpointId, Generation};

use crate::{Cursor, Event, Position, Source};

/// How long an event waits for the one that it follows.
pub const HOLD: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Held {
    since: Instant,
    position: Position,
    event: Event,
}

/// Puts events into one order.
#[derive(Debug, Default)]
pub struct Merge {
    /// How far each source was taken in.
    taken: Cursor,
    queues: BTreeMap<Source, VecDeque<Held>>,
    /// The highest generation told of each endpoint.
    told: HashMap<EndpointId, Generation>,
}

impl Merge {
    /// Goes on behind what was told so far.
    pub fn new(told: Cursor) -> Self {
        Self { taken: told, ..Self::default() }
    }

    /// How far each source was taken in: what may wait here is counted.
    pub const fn taken(&self) -> &Cursor {
        &self.taken
    }

    /// Something that was told before.
    pub fn remember(&mut self, event: &Event) {
        if let (Some(endpoint), Some(generation)) = (event.endpoint, event.generation) {
            let told = self.told.entry(endpoint).or_default();
            *told = generation.max(*told);
        }
    }

    /// Takes in the next event of a source. One that was taken in before, from there or by another way, is left out.
    pub fn handle(&mut self, now: Instant, position: Position, event: Event) {
        if self.taken.pass(position) {
            self.queues.entry(position.source).or_default().push_back(Held { since: now, position, event });
        }
    }

    /// The next event that may be told.
    pub fn poll(&mut self, now: Instant) -> Option<(Position, Event)> {
        let source = self.queues.iter().find_map(|(&source, queue)| {
            let first = queue.front()?;
            (now >= first.since + HOLD || self.may_be_told(&first.event)).then_some(source)
        })?;
        let queue = self.queues.get_mut(&source)?;
        let Held { position, event, .. } = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(&source);
        }
        self.remember(&event);
        Some((position, event))
    }

    /// When to poll again, if nothing comes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.queues.values().filter_map(|queue| queue.front()).map(|first| first.since + HOLD).min()
    }

    fn may_be_told(&self, event: &Event) -> bool {
        match (event.endpoint, event.follows) {
            (Some(endpoint), Some(follows)) => self.told.get(&endpoint).is_some_and(|&told| told >= follows),
            _ => true,
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
mod tests {
    use festoon_proto::ManagerId;
    use proptest::prelude::*;

    use super::*;
    use crate::{Kind, Place};

    const E: EndpointId = EndpointId(1);

    fn at(manager: u16, number: u64) -> Position {
        Position { source: Source::Manager(ManagerId(manager)), place: Place { life: 1, number } }
    }

    fn carried(endpoint: EndpointId, generation: u64, follows: Option<u64>) -> Event {
        Event {
            endpoint: Some(endpoint),
            generation: Some(Generation(generation)),
            follows: follows.map(Generation),
            ..Event::new(0, if follows.is_some() { Kind::EndpointMoved } else { Kind::EndpointUp })
        }
    }

    fn told(merge: &mut Merge, now: Instant) -> Vec<Position> {
        std::iter::from_fn(|| merge.poll(now)).map(|(position, _)| position).collect()
    }

    #[test]
    fn an_event_waits_for_the_one_it_follows_but_not_for_ever() {
        let (mut merge, now) = (Merge::default(), Instant::now());
        merge.handle(now, at(2, 1), carried(E, 2, Some(1)));
        merge.handle(now, at(2, 2), Event::new(0, Kind::LinkUp));
        assert_eq!(told(&mut merge, now), []);
        assert_eq!(merge.poll_timeout(), Some(now + HOLD));
        merge.handle(now, at(1, 1), carried(E, 1, None));
        assert_eq!(told(&mut merge, now), [at(1, 1), at(2, 1), at(2, 2)]);
        merge.handle(now, at(2, 3), carried(E, 9, Some(8)));
        assert_eq!(told(&mut merge, now + HOLD), [at(2, 3)]);
        assert_eq!(merge.poll_timeout(), None);
    }

    #[test]
    fn what_was_told_before_a_restart_is_remembered() {
        let now = Instant::now();
        let mut merge = Merge::new([at(1, 5)].into_iter().collect());
        merge.remember(&carried(E, 1, None));
        merge.handle(now, at(1, 5), Event::new(0, Kind::LinkUp));
        merge.handle(now, at(2, 1), carried(E, 2, Some(1)));
        assert_eq!(told(&mut merge, now), [at(2, 1)]);
    }

    /// Endpoints move between managers; each move follows the one before. The logs of the managers arrive in any mixture,
    /// parts of them twice.
    fn any_arrivals() -> impl Strategy<Value = (Vec<Vec<Event>>, Vec<(usize, usize)>)> {
        let moves = proptest::collection::vec((1_u64..4, 0_usize..3), 0..60);
        let turns = proptest::collection::vec((0_usize..3, 0_usize..4), 0..200);
        (moves, turns).prop_map(|(moves, turns)| {
            let (mut logs, mut generations) = (vec![Vec::new(); 3], HashMap::<u64, u64>::new());
            for (endpoint, manager) in moves {
                let generation = generations.entry(endpoint).or_default();
                let follows = (*generation > 0).then_some(*generation);
                *generation += 1;
                logs[manager].push(carried(EndpointId(endpoint), *generation, follows));
            }
            (logs, turns)
        })
    }

    proptest! {
        #[test]
        fn every_source_and_every_endpoint_keeps_its_order_and_nothing_is_lost_or_told_twice(
            (logs, turns) in any_arrivals(),
        ) {
            let (mut merge, now) = (Merge::default(), Instant::now());
            let mut arrived = [0_usize; 3];
            let mut out = Vec::new();
            let rest = (0..3).flat_map(|manager| std::iter::repeat_n((manager, 0), 60));
            for (manager, again) in turns.into_iter().chain(rest) {
                let from = arrived[manager].saturating_sub(again);
                let to = (arrived[manager] + 1).min(logs[manager].len());
                for (number, event) in logs[manager][from..to].iter().enumerate() {
                    merge.handle(now, at(manager as u16 + 1, (from + number) as u64 + 1), event.clone());
                }
                arrived[manager] = to;
                out.extend(std::iter::from_fn(|| merge.poll(now)));
            }
            prop_assert_eq!(out.len(), logs.iter().map(Vec::len).sum::<usize>());
            let mut cursor = Cursor::default();
            let mut told = HashMap::new();
            for (position, event) in out {
                prop_assert_eq!(position.place.number, cursor.get(position.source).map_or(1, |place| place.number + 1));
                cursor.pass(position);
                prop_assert_eq!(told.insert(event.endpoint, event.generation).flatten(), event.follows);
            }
        }
    }
}
