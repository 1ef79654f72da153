//! Reliable news for one neighbour over a link that loses, delays and reorders.
//!
//! ```text
//!   queue ──> news ─────┐ (first)       ┌── acknowledged ──> done
//!                       ├──> in flight ─┤
//!   resync ─> backlog ──┘ (fills up)    └── not in time ───> sent again, same sequence
//! ```
//! A topic is in at most one of the three places. When something newer is known about it, it leaves its flight and
//! queues again. So a flight always carries what it carried at first, or less, an acknowledgement is right however late
//! it comes, and what is sent is always the latest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use festoon_proto::signal::{Flood, FloodAck, Message};

use super::flood::{Draft, News, Topic};

/// The shortest wait for an acknowledgement.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Floods in flight that carry news.
const NEWS_WINDOW: usize = 64;
/// Floods in flight above which the backlog waits, so that news never queues behind a full resync.
const BACKLOG_WINDOW: usize = 32;

/// A flood that is not acknowledged yet.
#[derive(Debug)]
struct Flight {
    /// What it carried. Those that `carriers` no longer assigns to it have left.
    topics: Vec<Topic>,
    wants_all: bool,
    due: Instant,
    wait: Duration,
}

/// What one neighbour has not acknowledged yet.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Ask for everything in the next new flood.
    wants_all: bool,
    acks: BTreeSet<u64>,
    news: BTreeSet<Topic>,
    backlog: BTreeSet<Topic>,
    flights: BTreeMap<u64, Flight>,
    carriers: BTreeMap<Topic, u64>,
    timers: BTreeSet<(Instant, u64)>,
    overdue: BTreeSet<u64>,
    first_wait: Duration,
    backlog_end: End,
}

/// Where to begin with the backlog. The two ends of a link begin at different ends of it: what one has told, the other
/// need not, so two that know the same tell each other half of it each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    First,
    Last,
}

impl Outbox {
    /// For a link that has just come up.
    pub(super) fn new(rtt: Duration, backlog_end: End) -> Self {
        let mut outbox = Self {
            wants_all: true,
            acks: BTreeSet::new(),
            news: BTreeSet::new(),
            backlog: BTreeSet::new(),
            flights: BTreeMap::new(),
            carriers: BTreeMap::new(),
            timers: BTreeSet::new(),
            overdue: BTreeSet::new(),
            first_wait: FIRST_WAIT,
            backlog_end,
        };
        outbox.set_rtt(rtt);
        outbox
    }

    /// An acknowledgement takes about this long.
    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        self.first_wait = (rtt * 2).clamp(FIRST_WAIT, LAST_WAIT);
    }

    /// Something newer is known about `topic` than the neighbour can know.
    pub(super) fn queue(&mut self, topic: Topic) {
        self.forget(topic);
        self.news.insert(topic);
    }

    /// The neighbour knows less about `topic`: makes sure that it is told, once.
    pub(super) fn answer(&mut self, topic: Topic) {
        if !self.carriers.contains_key(&topic) && !self.backlog.contains(&topic) {
            self.news.insert(topic);
        }
    }

    /// The neighbour knows as much about `topic`, or more.
    pub(super) fn forget(&mut self, topic: Topic) {
        self.news.remove(&topic);
        self.backlog.remove(&topic);
        self.carriers.remove(&topic);
    }

    /// The neighbour starts from nothing: tells it everything, whatever it acknowledged before.
    ///
    /// Our own question stays in flight under its old sequence. Asked anew it would look like another one, and two
    /// neighbours would start each other over without end.
    pub(super) fn resync(&mut self, everything: impl Iterator<Item = Topic>) {
        self.carriers.clear();
        self.flights.retain(|_, flight| flight.wants_all);
        self.timers.retain(|(_, sequence)| self.flights.contains_key(sequence));
        self.overdue.retain(|sequence| self.flights.contains_key(sequence));
        let (links, endpoints) = everything.partition(|topic| matches!(topic, Topic::Links(_)));
        (self.news, self.backlog) = (links, endpoints);
    }

    /// The neighbour sent a flood and must be told that it arrived.
    pub(super) fn acknowledge(&mut self, sequence: u64) {
        self.acks.insert(sequence);
    }

    pub(super) fn handle_ack(&mut self, sequence: u64) {
        self.overdue.remove(&sequence);
        if let Some(flight) = self.flights.remove(&sequence) {
            self.timers.remove(&(flight.due, sequence));
            for topic in flight.topics {
                if self.carriers.get(&topic) == Some(&sequence) {
                    self.carriers.remove(&topic);
                }
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(due, sequence)) = self.timers.first()
            && due <= now
        {
            self.timers.pop_first();
            self.overdue.insert(sequence);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|&(due, _)| due)
    }

    /// The next message. `next_sequence` must never give the same number twice, `news_of` gives what is known now.
    pub(super) fn poll_transmit<'a>(
        &mut self,
        now: Instant,
        next_sequence: &mut u64,
        news_of: impl Fn(Topic) -> Option<News<'a>>,
    ) -> Option<Message> {
        if let Some(sequence) = self.acks.pop_first() {
            return Some(Message::FloodAck(FloodAck { sequence }));
        }
        while let Some(sequence) = self.overdue.pop_first() {
            if let Some(flood) = self.send_again(now, sequence, &news_of) {
                return Some(Message::Flood(flood));
            }
        }
        self.send_new(now, next_sequence, &news_of).map(Message::Flood)
    }

    fn send_again<'a>(
        &mut self,
        now: Instant,
        sequence: u64,
        news_of: &impl Fn(Topic) -> Option<News<'a>>,
    ) -> Option<Flood> {
        let mut flight = self.flights.remove(&sequence)?;
        flight.topics.retain(|topic| self.carriers.get(topic) == Some(&sequence));
        let mut draft = Draft::new(sequence, flight.wants_all);
        for news in flight.topics.iter().filter_map(|&topic| news_of(topic)) {
            draft.push(&news);
        }
        let Some(flood) = draft.finish() else {
            for topic in flight.topics {
                self.carriers.remove(&topic);
            }
            return None;
        };
        flight.wait = (flight.wait * 2).min(LAST_WAIT);
        flight.due = now + flight.wait;
        self.timers.insert((flight.due, sequence));
        self.flights.insert(sequence, flight);
        Some(flood)
    }

    fn send_new<'a>(
        &mut self,
        now: Instant,
        next_sequence: &mut u64,
        news_of: &impl Fn(Topic) -> Option<News<'a>>,
    ) -> Option<Flood> {
        let in_flight = self.flights.len();
        if in_flight >= NEWS_WINDOW {
            return None;
        }
        let (sequence, wants_all) = (*next_sequence, self.wants_all);
        let mut draft = Draft::new(sequence, wants_all);
        let mut topics = take(&mut self.news, End::First, &mut draft, news_of);
        if in_flight < BACKLOG_WINDOW {
            topics.extend(take(&mut self.backlog, self.backlog_end, &mut draft, news_of));
        }
        let flood = draft.finish()?;
        *next_sequence += 1;
        self.wants_all = false;
        self.carriers.extend(topics.iter().map(|&topic| (topic, sequence)));
        let (due, wait) = (now + self.first_wait, self.first_wait);
        self.timers.insert((due, sequence));
        self.flights.insert(sequence, Flight { topics, wants_all, due, wait });
        Some(flood)
    }
}

/// Moves topics from the `end` of `queue` to `draft` while there is room, and names them. Those that nothing is known about any more
/// are dropped.
fn take<'a>(
    queue: &mut BTreeSet<Topic>,
    end: End,
    draft: &mut Draft,
    news_of: &impl Fn(Topic) -> Option<News<'a>>,
) -> Vec<Topic> {
    let mut taken = Vec::new();
    let next = |queue: &BTreeSet<Topic>| if end == End::First { queue.first() } else { queue.last() }.copied();
    while let Some(topic) = next(queue) {
        match news_of(topic) {
            Some(news) if !draft.push(&news) => break,
            Some(_) => taken.push(topic),
            None => {}
        }
        queue.remove(&topic);
    }
    taken
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
mod tests {
    use super::*;
    use crate::mesh::presence::Presence;
    use festoon_proto::{EndpointId, Generation};

    const RTT: Duration = Duration::from_millis(1);

    struct Setup {
        outbox: Outbox,
        now: Instant,
        next_sequence: u64,
        generation: u64,
    }

    impl Setup {
        /// A link that came up, with the first flood acknowledged.
        fn new() -> Self {
            let mut setup =
                Self { outbox: Outbox::new(RTT, End::First), now: Instant::now(), next_sequence: 1, generation: 1 };
            let first = setup.flood().unwrap();
            assert!(first.wants_all);
            setup.outbox.handle_ack(first.sequence);
            setup
        }

        fn flood(&mut self) -> Option<Flood> {
            let generation = Generation(self.generation);
            let news_of = |topic| match topic {
                Topic::Endpoint(endpoint) => Some(News::Endpoint(Presence::Left(endpoint, generation))),
                Topic::Links(_) => None,
            };
            match self.outbox.poll_transmit(self.now, &mut self.next_sequence, news_of)? {
                Message::Flood(flood) => Some(flood),
                other => panic!("{other:?} instead of a flood"),
            }
        }

        fn wait(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
            self.outbox.handle_timeout(self.now);
        }
    }

    fn topic(endpoint: u64) -> Topic {
        Topic::Endpoint(EndpointId(endpoint))
    }

    #[test]
    fn a_flood_is_sent_again_more_and_more_slowly_until_acknowledged() {
        let mut setup = Setup::new();
        setup.outbox.queue(topic(1));
        let first = setup.flood().unwrap();
        for wait in [50, 100, 200, 400, 800, 1000, 1000] {
            setup.wait(wait - 1);
            assert_eq!(setup.flood(), None, "too early");
            setup.wait(1);
            assert_eq!(setup.flood().as_ref(), Some(&first), "after {wait} ms");
        }
        setup.outbox.handle_ack(first.sequence);
        assert_eq!(setup.outbox.poll_timeout(), None);
        setup.wait(5000);
        assert_eq!(setup.flood(), None);
    }

    #[test]
    fn a_long_link_is_given_the_time_it_takes() {
        let mut setup = Setup::new();
        setup.outbox.set_rtt(Duration::from_millis(150));
        setup.outbox.queue(topic(1));
        setup.flood().unwrap();
        assert_eq!(setup.outbox.poll_timeout(), Some(setup.now + Duration::from_millis(300)));
    }

    #[test]
    fn only_the_latest_is_sent_again_and_a_late_acknowledgement_does_not_cover_it() {
        let mut setup = Setup::new();
        setup.outbox.queue(topic(1));
        let old = setup.flood().unwrap();
        setup.generation = 2;
        setup.outbox.queue(topic(1));
        let new = setup.flood().unwrap();
        assert_eq!(new.detachments, [(EndpointId(1), Generation(2))]);
        setup.outbox.handle_ack(old.sequence);
        setup.wait(50);
        assert_eq!(setup.flood(), Some(new));
        assert_eq!(setup.flood(), None);
    }

    #[test]
    fn news_overtakes_the_backlog_and_both_windows_are_bounded() {
        let mut setup = Setup::new();
        setup.outbox.resync((0..100_000).map(topic));
        let backlog: Vec<_> = std::iter::from_fn(|| setup.flood()).collect();
        assert_eq!(backlog.len(), BACKLOG_WINDOW);
        setup.outbox.queue(topic(99_999));
        assert_eq!(setup.flood().unwrap().detachments, [(EndpointId(99_999), Generation(1))]);
        for endpoint in 0..100 {
            setup.outbox.queue(topic(1_000_000 + endpoint));
            setup.flood();
        }
        assert_eq!(setup.outbox.flights.len(), NEWS_WINDOW);
        setup.outbox.handle_ack(backlog[0].sequence);
        assert_eq!(setup.flood().unwrap().detachments.len(), 40, "what waited goes together");
    }

    #[test]
    fn what_the_neighbour_knows_is_not_sent() {
        let mut setup = Setup::new();
        setup.outbox.resync([topic(1), topic(2)].into_iter());
        setup.outbox.forget(topic(1));
        let flood = setup.flood().unwrap();
        assert_eq!(flood.detachments, [(EndpointId(2), Generation(1))]);
        setup.outbox.answer(topic(2));
        assert_eq!(setup.flood(), None, "on its way already");
        setup.outbox.forget(topic(2));
        setup.wait(50);
        assert_eq!(setup.flood(), None, "nothing left to send again");
        assert_eq!(setup.outbox.poll_timeout(), None);
        setup.outbox.answer(topic(2));
        assert_eq!(setup.flood().unwrap().detachments.len(), 1);
    }

    #[test]
    fn a_resync_starts_over_and_asks_the_same_question() {
        let mut setup =
            Setup { outbox: Outbox::new(RTT, End::First), now: Instant::now(), next_sequence: 1, generation: 1 };
        setup.outbox.resync([topic(1)].into_iter());
        let first = setup.flood().unwrap();
        setup.outbox.resync([topic(1)].into_iter());
        let second = setup.flood().unwrap();
        assert_eq!((second.wants_all, second.detachments.len()), (false, 1));
        setup.outbox.handle_ack(second.sequence);
        setup.wait(50);
        let question = setup.flood().unwrap();
        assert_eq!((question.sequence, question.wants_all), (first.sequence, true));
        assert_eq!(question.detachments, []);
    }
}
