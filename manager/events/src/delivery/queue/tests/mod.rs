//! The queue against a receiver that fails as it likes.

mod give_up;

use std::collections::{BTreeMap, HashSet};

use festoon_proto::{EndpointId, ManagerId};
use proptest::prelude::*;

use super::give_up::TRIES;
use super::*;

const SETTINGS: Settings = Settings { in_flight: 4, room: 32, part: 1, give_up_ms: 3_600_000, backoff: BACKOFF };
const BACKOFF: Backoff = Backoff { first_ms: 1_000, most_ms: 60_000 };

fn at(number: u64) -> Position {
    Position { source: Source::Manager(ManagerId(1)), place: Place { life: 1, number } }
}

fn wanted(lane: u64, number: u64) -> What<u64> {
    What::Wanted { lane: Lane::Endpoint(EndpointId(lane)), at: 0, payload: number }
}

fn queue_of(lanes: &[u64]) -> Queue<u64> {
    queue_with(SETTINGS, lanes)
}

fn queue_with(settings: Settings, lanes: &[u64]) -> Queue<u64> {
    let mut queue = Queue::new(settings, 1, Start::default());
    for (number, &lane) in (1..).zip(lanes) {
        queue.handle_event(at(number), wanted(lane, number));
    }
    queue
}

fn sent(queue: &mut Queue<u64>, now: u64) -> Vec<u64> {
    std::iter::from_fn(|| queue.poll_send(now)).map(|(_, payload)| payload).collect()
}

fn ticket(number: u64) -> Ticket {
    Ticket::Event(at(number))
}

fn failed(queue: &mut Queue<u64>, now: u64, number: u64) {
    fail_with(queue, now, number, None);
}

fn fail_with(queue: &mut Queue<u64>, now: u64, number: u64, retry_after_ms: Option<u64>) {
    queue.handle_outcome(now, ticket(number), Outcome::Failed { why: "503".to_owned(), retry_after_ms });
}

fn taken(queue: &mut Queue<u64>, now: u64, number: u64) {
    queue.handle_outcome(now, ticket(number), Outcome::Taken);
}

fn reached(queue: &Queue<u64>) -> u64 {
    queue.cursor().get(at(1).source).map_or(0, |place| place.number)
}

#[test]
fn lanes_go_side_by_side_and_each_in_order() {
    let mut queue = queue_of(&[7, 7, 8, 9, 7]);
    assert_eq!(sent(&mut queue, 0), [1, 3, 4]);
    taken(&mut queue, 1, 3);
    assert_eq!((reached(&queue), queue.done().collect::<Vec<_>>()), (0, vec![at(3)]));
    taken(&mut queue, 1, 1);
    assert_eq!((reached(&queue), sent(&mut queue, 1)), (1, vec![2]));
    taken(&mut queue, 2, 2);
    assert_eq!((reached(&queue), sent(&mut queue, 2)), (3, vec![5]));
    taken(&mut queue, 3, 4);
    taken(&mut queue, 3, 5);
    assert_eq!((reached(&queue), queue.waiting(), queue.poll_timeout()), (5, 0, None));
}

#[test]
fn letters_that_are_refused_as_before_keep_back_nothing_of_the_stream() {
    let mut queue = queue_of(&[]);
    (1..=100).for_each(|number| queue.handle_letter(number, 0, 1_000 + number));
    let (mut now, mut told, mut tries) = (0, 0, HashMap::new());
    while queue.waiting() > 0 {
        assert!(now < 12 * SETTINGS.give_up_ms, "each letter is tried, and given up again");
        if now % 600_000 == 0 {
            told += 1;
            queue.handle_event(at(told), wanted(told, told));
        }
        while let Some((ticket, _)) = queue.poll_send(now) {
            let refused = Outcome::Failed { why: "400".to_owned(), retry_after_ms: None };
            // Each event is refused twice itself.
            let is_refused = matches!(ticket, Ticket::Letter(_)) || {
                let tries: &mut u32 = tries.entry(ticket).or_default();
                *tries += 1;
                *tries <= 2
            };
            queue.handle_outcome(now, ticket, if is_refused { refused } else { Outcome::Taken });
        }
        while let Some(given_up) = queue.poll_given_up(now) {
            assert!(matches!(given_up.ticket, Ticket::Letter(_)), "{given_up:?}");
            queue.handle_outcome(now, given_up.ticket, Outcome::Recorded);
        }
        now += 1_000;
        if now % 600_000 == 8 * BACKOFF.most_ms {
            assert_eq!(reached(&queue), told, "after a few pauses at most");
        }
    }
}

#[test]
fn while_it_fails_one_is_tried_at_a_time_and_a_success_opens_the_gate() {
    let mut queue = queue_of(&[1, 2, 3, 4, 5, 6]);
    assert_eq!(sent(&mut queue, 0), [1, 2, 3, 4]);
    (1..=4).for_each(|number| failed(&mut queue, 10, number));
    assert_eq!(queue.health().failures, 1, "they failed together");
    assert_eq!(sent(&mut queue, 20), [] as [u64; 0]);
    let next = queue.poll_timeout().unwrap();
    assert!((510..=1_010).contains(&next), "{next}");
    assert_eq!(sent(&mut queue, next), [5], "first what failed least");
    assert_eq!(queue.poll_timeout(), None, "its outcome is awaited");
    taken(&mut queue, next + 5, 5);
    assert_eq!(sent(&mut queue, 2_000), [6, 1, 2, 3]);
}

#[test]
fn a_receiver_that_wants_to_be_left_alone_is() {
    let mut queue = queue_of(&[1, 2, 3]);
    assert_eq!(sent(&mut queue, 0), [1, 2, 3]);
    fail_with(&mut queue, 10, 1, Some(300_000));
    taken(&mut queue, 11, 2);
    assert_eq!((sent(&mut queue, 200_000), queue.next_try()), (vec![], Some(300_010)));
    assert_eq!(sent(&mut queue, 300_010), [1]);
}

#[test]
fn a_clock_that_was_set_back_stops_nothing_for_ever() {
    let now = 10 * MOST_RETRY_AFTER_MS;
    let mut queue = queue_of(&[1, 2]);
    assert_eq!(sent(&mut queue, now), [1, 2]);
    failed(&mut queue, now, 1);
    taken(&mut queue, now, 2);
    queue.handle_event(at(3), wanted(3, 3));
    fail_with(&mut queue, now, 1, None);
    assert_eq!(sent(&mut queue, 5), [3, 1]);
}

#[test]
fn one_that_is_refused_keeps_nobody_back_and_is_given_up_in_time() {
    let mut queue = queue_of(&[1, 2]);
    let (mut now, mut others) = (0, 3);
    let given_up = loop {
        if let Some(given_up) = queue.poll_given_up(now) {
            break given_up;
        }
        for number in sent(&mut queue, now) {
            if number == 1 { failed(&mut queue, now + 1, 1) } else { taken(&mut queue, now + 1, number) }
        }
        if queue.room() > 0 && others < 20 {
            queue.handle_event(at(others), wanted(2, others));
            others += 1;
        }
        now += 5_000;
        assert!(now < 2 * SETTINGS.give_up_ms);
    };
    assert!(now >= SETTINGS.give_up_ms && queue.waiting() == 1, "{now}");
    assert_eq!((given_up.ticket, given_up.why.as_str(), reached(&queue)), (ticket(1), "503", 0));
    queue.handle_outcome(now, ticket(1), Outcome::Unrecorded);
    assert_eq!(queue.poll_given_up(now).map(|given_up| given_up.ticket), Some(ticket(1)));
    queue.handle_outcome(now, ticket(1), Outcome::Recorded);
    assert_eq!((reached(&queue), queue.waiting()), (19, 0));
}

#[test]
fn one_that_is_refused_does_not_stop_a_full_queue() {
    // The second is how a manager delivers to a webhook.
    let real = Settings {
        in_flight: 32,
        room: 4_096,
        part: 500,
        give_up_ms: 3 * 24 * 3_600_000,
        backoff: Backoff { first_ms: 1_000, most_ms: 600_000 },
    };
    for settings in [SETTINGS, real] {
        let mut queue = queue_with(settings, &[1]);
        let (mut now, mut number, mut tries) = (0, 2, 0);
        while queue.poll_given_up(now).is_none() {
            while let Some((ticket, payload)) = queue.poll_send(now) {
                tries += u32::from(payload == 1);
                let refused = Outcome::Failed { why: "400".to_owned(), retry_after_ms: None };
                queue.handle_outcome(now + 1, ticket, if payload == 1 { refused } else { Outcome::Taken });
            }
            while queue.has_room() {
                for number in number..number + settings.part as u64 {
                    queue.handle_event(at(number), wanted(number, number));
                }
                number += settings.part as u64;
            }
            now += 1_000;
            assert!(now < 1_000_000, "{settings:?}");
        }
        assert!((TRIES..TRIES + 3).contains(&tries), "{tries}");
        queue.handle_outcome(now, ticket(1), Outcome::Recorded);
        assert!(queue.has_room() && reached(&queue) > settings.part as u64);
    }
}

#[test]
fn what_failed_in_an_outage_alone_is_tried_again_before_it_is_given_up() {
    let lanes: Vec<u64> = (1..=32).collect();
    let mut queue = queue_of(&lanes);
    assert_eq!(sent(&mut queue, 0), [1, 2, 3, 4]);
    (2..=4).for_each(|number| taken(&mut queue, 0, number));
    failed(&mut queue, 0, 1);
    let mut now = 0;
    for failures in 2..=TRIES {
        now += 100_000;
        // Nothing else could go.
        queue.health.paused_until = 0;
        queue.lanes.wake(now, BACKOFF.most_ms, |_| Some(failures - 1));
        let order = queue.orders[&ticket(1)];
        queue.lanes.disable(order);
        let item = queue.entries.get_mut(&order).and_then(|entry| entry.item.as_mut()).unwrap();
        item.stage = Stage::Sending { since: now };
        queue.sending += 1;
        failed(&mut queue, now, 1);
    }
    now += 100;
    queue.health.paused_until = 0;
    while let Some((ticket, _)) = queue.poll_send(now) {
        queue.handle_outcome(now, ticket, Outcome::Taken);
    }
    assert_eq!((queue.waiting(), queue.has_room(), queue.poll_given_up(now)), (1, false, None));
    now += 100_000;
    assert_eq!(sent(&mut queue, now), [1]);
    taken(&mut queue, now, 1);
    assert_eq!((queue.waiting(), reached(&queue)), (0, 32));
}

#[test]
fn in_an_outage_what_waited_too_long_is_given_up_without_being_tried() {
    let lanes: Vec<u64> = (1..=10).collect();
    let mut queue = queue_of(&lanes);
    queue.handle_event(at(11), What::Wanted { lane: Lane::Letter(1), at: 1_000_000, payload: 11 });
    let mut now = 0;
    while now < SETTINGS.give_up_ms {
        sent(&mut queue, now).into_iter().for_each(|number| failed(&mut queue, now + 1, number));
        assert_eq!(queue.poll_given_up(now), None, "{now}");
        now += 60_000;
    }
    now += 1_000;
    let given_up: Vec<_> = std::iter::from_fn(|| queue.poll_given_up(now)).map(|given_up| given_up.ticket).collect();
    assert_eq!(given_up, (1..=10).map(ticket).collect::<Vec<_>>());
    given_up.into_iter().for_each(|ticket| queue.handle_outcome(now, ticket, Outcome::Recorded));
    assert_eq!((reached(&queue), queue.waiting()), (10, 1), "the last happened later");
}

#[test]
fn it_tells_once_that_a_destination_fails_and_that_it_recovered() {
    let mut queue = queue_of(&[1]);
    let (mut now, mut told) = (0, Vec::new());
    while now < 60_000 {
        sent(&mut queue, now).into_iter().for_each(|number| failed(&mut queue, now + 1, number));
        told.extend(queue.poll_news());
        now += 1_000;
    }
    assert_eq!(told, [News::Failing]);
    while sent(&mut queue, now).is_empty() {
        now += 1_000;
    }
    taken(&mut queue, now, 1);
    assert_eq!((queue.poll_news(), queue.poll_news()), (Some(News::Recovered { failing_since: 1 }), None));
}

#[test]
fn what_is_gone_is_counted_when_the_cursor_passes_it() {
    let mut queue = queue_of(&[1]);
    queue.handle_event(at(5), wanted(2, 5));
    queue.handle_event(at(6), What::Gone);
    queue.handle_event(at(7), What::Unwanted);
    let later = Position { place: Place { life: 2, number: 3 }, ..at(0) };
    queue.handle_event(later, What::Unwanted);
    assert_eq!((queue.missed(), reached(&queue)), (0, 0));
    assert_eq!(sent(&mut queue, 0), [1, 5]);
    taken(&mut queue, 1, 1);
    assert_eq!((queue.missed(), reached(&queue)), (3, 1));
    taken(&mut queue, 1, 5);
    assert_eq!((queue.missed(), queue.cursor().get(at(1).source)), (6, Some(later.place)));
    let mut audit = Queue::<u64>::new(SETTINGS, 1, Start::default());
    for (life, number) in [(0, 1), (0, 2), (9, 3), (9, 5)] {
        audit.handle_event(Position { source: Source::Audit, place: Place { life, number } }, What::Unwanted);
    }
    assert_eq!(audit.missed(), 1, "an epoch goes on counting");
}

#[test]
fn what_the_cursor_covers_is_not_remembered_beside_it() {
    let start = Start { cursor: [at(5)].into_iter().collect(), done: [at(4), at(7)].into(), ..Start::default() };
    let mut queue = Queue::new(SETTINGS, 1, start);
    assert_eq!(queue.done().collect::<Vec<_>>(), [at(7)]);
    queue.handle_event(at(6), wanted(1, 6));
    queue.handle_event(at(7), wanted(1, 7));
    assert_eq!((sent(&mut queue, 0), queue.waiting()), (vec![6], 1));
    taken(&mut queue, 1, 6);
    assert_eq!((reached(&queue), queue.done().count()), (7, 0));
}

#[test]
fn a_letter_goes_beside_the_stream() {
    let mut queue = queue_of(&[1]);
    queue.handle_letter(4, 100, 40);
    queue.handle_letter(4, 100, 40);
    assert_eq!(sent(&mut queue, 100), [1, 40]);
    taken(&mut queue, 101, 1);
    assert!(queue.has_letter(4) && reached(&queue) == 1);
    queue.handle_outcome(101, Ticket::Letter(4), Outcome::Taken);
    assert!(!queue.has_letter(4) && queue.waiting() == 0);
}

#[test]
fn a_letter_that_is_refused_keeps_back_neither_the_cursor_nor_what_is_given_up() {
    let mut queue = queue_of(&[]);
    queue.handle_letter(4, 0, 40);
    (1..=32).for_each(|number| queue.handle_event(at(number), wanted(number, number)));
    let mut now = 0;
    while now < SETTINGS.give_up_ms {
        assert_eq!(queue.poll_given_up(now), None);
        while let Some((ticket, _)) = queue.poll_send(now) {
            let refused = Outcome::Failed { why: "400".to_owned(), retry_after_ms: None };
            let is_letter = ticket == Ticket::Letter(4);
            queue.handle_outcome(now, ticket, if is_letter { refused } else { Outcome::Taken });
        }
        now += 1_000;
    }
    assert_eq!((reached(&queue), queue.waiting(), queue.room()), (32, 1, SETTINGS.room));
    assert_eq!(queue.done().count(), 0);
    let given_up = queue.poll_given_up(now).map(|given_up| given_up.ticket);
    assert_eq!(given_up, Some(Ticket::Letter(4)));
    queue.handle_outcome(now, Ticket::Letter(4), Outcome::Recorded);
    assert_eq!(queue.waiting(), 0);
}

/// A receiver: what it took, by lane.
#[derive(Default)]
struct Receiver {
    taken: BTreeMap<u64, Vec<u64>>,
    seen: HashSet<u64>,
    repeated: usize,
}

impl Receiver {
    fn take(&mut self, lane: u64, number: u64) -> Result<(), TestCaseError> {
        if !self.seen.insert(number) {
            self.repeated += 1;
            return Ok(());
        }
        let lane = self.taken.entry(lane).or_default();
        prop_assert!(lane.last().is_none_or(|last| *last < number), "{} behind {:?}", number, lane);
        lane.push(number);
        Ok(())
    }
}

proptest! {
    /// Whatever fails, and whenever the manager starts again: nothing is lost, each lane comes in order, and no more is
    /// repeated than was on its way at a restart.
    #[test]
    fn nothing_is_lost_and_lanes_keep_their_order(
        lanes in proptest::collection::vec(0_u64..6, 1..120),
        fate in proptest::collection::vec((0_u8..12, any::<prop::sample::Index>()), 0..400),
        seed: u64,
    ) {
        let mut start = Start::default();
        let mut queue = Queue::new(SETTINGS, seed, start.clone());
        let (mut now, mut receiver, mut restarts) = (0, Receiver::default(), 0);
        let mut sending: Vec<u64> = Vec::new();
        let mut fates = fate.into_iter();
        while reached(&queue) < lanes.len() as u64 {
            while queue.room() > 0 && queue.read().get(at(1).source).map_or(0, |place| place.number) < lanes.len() as u64 {
                let number = queue.read().get(at(1).source).map_or(1, |place| place.number + 1);
                let lane = lanes[number as usize - 1];
                queue.handle_event(at(number), if lane == 5 { What::Unwanted } else { wanted(lane, number) });
            }
            sending.extend(sent(&mut queue, now));
            prop_assert!(sending.len() <= SETTINGS.in_flight);
            let (what, which) = fates.next().map_or((0, None), |(what, which)| (what, Some(which)));
            if what == 11 {
                start = Start {
                    cursor: queue.cursor().clone(),
                    done: queue.done().collect(),
                    missed: queue.missed(),
                    failing_since: queue.health().told_failing_since(),
                };
                // What arrived just before the power went was not written down.
                for number in sending.drain(..) {
                    receiver.take(lanes[number as usize - 1], number)?;
                }
                restarts += 1;
                queue = Queue::new(SETTINGS, seed, start.clone());
            } else if sending.is_empty() {
                now = queue.poll_timeout().unwrap_or(now).max(now + 1);
            } else {
                let index = which.map_or(0, |which| which.index(sending.len()));
                let number = sending.swap_remove(index);
                if what < 7 {
                    receiver.take(lanes[number as usize - 1], number)?;
                    taken(&mut queue, now, number);
                } else {
                    failed(&mut queue, now, number);
                }
            }
            now += 3;
        }
        let wanted = lanes.iter().filter(|lane| **lane != 5).count();
        prop_assert_eq!(receiver.seen.len(), wanted);
        prop_assert!(receiver.repeated <= restarts * SETTINGS.in_flight);
        prop_assert_eq!((queue.missed(), queue.waiting(), queue.done().count()), (0, 0, 0));
        prop_assert_eq!(queue.room(), SETTINGS.room);
    }
}
