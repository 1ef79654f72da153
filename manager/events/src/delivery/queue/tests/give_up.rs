//! What is given up, and when.

use super::super::give_up::LONG_MS;
use super::*;

/// Events are given up long before a pause ends.
const HASTY: Settings = Settings { give_up_ms: 100, ..SETTINGS };

#[test]
fn a_letter_that_is_wanted_ends_a_pause_but_not_one_that_the_receiver_asked_for() {
    for (retry_after_ms, expected) in [(None, vec![40]), (Some(300_000), vec![])] {
        let mut queue = queue_of(&[1]);
        assert_eq!(sent(&mut queue, 0), [1]);
        fail_with(&mut queue, 10, 1, retry_after_ms);
        assert_eq!(sent(&mut queue, 20), [] as [u64; 0]);
        queue.handle_letter(4, 20, 40);
        assert_eq!(sent(&mut queue, 20), expected);
        assert_eq!(sent(&mut queue, 300_010).is_empty(), retry_after_ms.is_none(), "one at a time");
    }
}

#[test]
fn a_letter_is_tried_at_least_once() {
    let mut queue = queue_with(HASTY, &[1]);
    queue.handle_letter(4, 0, 40);
    let letter = |number| Ticket::Letter(number);
    let refused = || Outcome::Failed { why: "503".to_owned(), retry_after_ms: None };
    assert_eq!(sent(&mut queue, 0), [1, 40]);
    failed(&mut queue, 5, 1);
    queue.handle_letter(5, 6, 50);
    queue.handle_letter(6, 6, 60);
    queue.handle_outcome(7, letter(4), refused());
    let now = 1_000_000;
    let given_up: Vec<_> = std::iter::from_fn(|| queue.poll_given_up(now)).map(|it| (it.ticket, it.attempts)).collect();
    assert_eq!(given_up, [(letter(4), 1), (ticket(1), 1)]);
    given_up.iter().for_each(|(ticket, _)| queue.handle_outcome(now, *ticket, Outcome::Recorded));
    assert_eq!((queue.has_letter(5), sent(&mut queue, now)), (true, vec![50]));
    queue.handle_outcome(now, letter(5), refused());
    let later = now + 100;
    let given_up: Vec<_> =
        std::iter::from_fn(|| queue.poll_given_up(later)).map(|it| (it.ticket, it.attempts)).collect();
    assert_eq!(given_up, [(letter(5), 1)], "the last had no try yet");
}

#[test]
fn what_happened_in_a_pause_is_given_up_only_once_the_pause_has_ended_in_vain() {
    let mut queue = queue_with(HASTY, &[1]);
    assert_eq!(sent(&mut queue, 0), [1]);
    failed(&mut queue, 10, 1);
    let wanted = What::Wanted { lane: Lane::Letter(2), at: 20, payload: 2 };
    queue.handle_event(at(2), wanted);
    assert_eq!(queue.poll_given_up(400).map(|given_up| given_up.payload), Some(1));
    queue.handle_outcome(400, ticket(1), Outcome::Recorded);
    assert_eq!((queue.poll_given_up(400), sent(&mut queue, 400)), (None, vec![]));
    let next = queue.poll_timeout().unwrap();
    assert_eq!((queue.poll_given_up(next), sent(&mut queue, next)), (None, vec![2]));
    failed(&mut queue, next + 1, 2);
    assert_eq!(queue.poll_given_up(next + 101).map(|given_up| given_up.payload), Some(2));
}

/// What a receiver does in a run: it refuses these of one lane, and takes nothing in outages.
struct Trouble {
    lane: u64,
    refused: std::ops::Range<u64>,
    outages: Vec<std::ops::Range<u64>>,
}

/// What came of a run.
#[derive(Default)]
struct Run {
    now: u64,
    /// When, and which.
    taken: Vec<(u64, u64)>,
    given_up: Vec<(u64, u64)>,
}

fn numbers(of: &[(u64, u64)]) -> Vec<u64> {
    of.iter().map(|(_, number)| *number).collect()
}

/// Runs until all events are done.
fn run(settings: Settings, lanes: &[u64], seed: u64, trouble: &Trouble) -> Run {
    let mut queue = Queue::new(settings, seed, Start::default());
    let (mut run, mut next) = (Run::default(), 1);
    while reached(&queue) < lanes.len() as u64 {
        while queue.has_room() && next <= lanes.len() as u64 {
            queue.handle_event(at(next), wanted(lanes[next as usize - 1], next));
            next += 1;
        }
        while let Some(given_up) = queue.poll_given_up(run.now) {
            run.given_up.push((run.now, given_up.payload));
            queue.handle_outcome(run.now, given_up.ticket, Outcome::Recorded);
        }
        let sent = sent(&mut queue, run.now);
        run.now += 1;
        let is_out = trouble.outages.iter().any(|outage| outage.contains(&run.now));
        for number in &sent {
            let is_refused = trouble.lane == lanes[*number as usize - 1] && trouble.refused.contains(number);
            if is_out || is_refused {
                failed(&mut queue, run.now, *number);
            } else {
                taken(&mut queue, run.now, *number);
                run.taken.push((run.now, *number));
            }
        }
        if sent.is_empty() {
            run.now = queue.poll_timeout().filter(|next| run.now < *next).unwrap_or(run.now + 1_000);
        }
    }
    run
}

/// As a manager delivers, with a smaller queue.
const REAL: Settings = Settings {
    part: 8,
    give_up_ms: 3 * 24 * 3_600_000,
    backoff: Backoff { first_ms: 1_000, most_ms: 600_000 },
    ..SETTINGS
};

/// Lane 0 has most of it; another has one in so many.
fn crowded(count: u64, one_in: u64) -> Vec<u64> {
    (1..=count).map(|number| if number % one_in == 0 { number } else { 0 }).collect()
}

#[test]
fn one_that_is_refused_and_whose_lane_fills_the_queue_does_not_stop_it() {
    for one_in in [3, 5, 8] {
        let lanes = crowded(400, one_in);
        let run = run(REAL, &lanes, 1, &Trouble { lane: 0, refused: 1..2, outages: vec![] });
        assert_eq!(numbers(&run.given_up), [1]);
        let (at, _) = run.given_up[0];
        assert!((LONG_MS..5 * LONG_MS).contains(&at) && run.now < 6 * LONG_MS, "{at} {}", run.now);
        let of_lane = numbers(&run.taken).into_iter().filter(|number| lanes[*number as usize - 1] == 0);
        assert!(of_lane.is_sorted() && run.taken.len() == 399);
    }
}

#[test]
fn a_lane_that_is_refused_as_a_whole_and_fills_the_queue_stops_no_other_for_long() {
    let lanes = crowded(100, 4);
    let run = run(REAL, &lanes, 1, &Trouble { lane: 0, refused: 1..101, outages: vec![] });
    assert_eq!((run.given_up.len(), run.taken.len()), (75, 25));
    let first_days = run.given_up.iter().filter(|(at, _)| *at < REAL.give_up_ms).count();
    assert!(first_days > 40, "{first_days}");
}

proptest! {
    /// An outage costs nothing, whatever fills the queue and whenever it begins.
    #[test]
    fn in_an_outage_nothing_is_given_up_early(
        one_in in 1_u64..8,
        begin in 0_u64..40,
        hours in 1_u64..71,
        seed: u64,
    ) {
        let outage = begin..begin + hours * 3_600_000;
        let run = run(REAL, &crowded(120, one_in), seed, &Trouble { lane: 9_999, refused: 0..0, outages: vec![outage] });
        prop_assert_eq!((run.given_up, run.taken.len()), (vec![], 120));
    }

    /// One event that is always refused keeps back the others for hours at most, and is the only one that is given up,
    /// through outages too short to be taken for refusals.
    #[test]
    fn one_refusal_stops_no_others(
        one_in in 2_u64..8,
        refused in 1_u64..100,
        outages in proptest::collection::vec((0_u64..2_000_000, 0_u64..LONG_MS / 2), 0..3),
        seed: u64,
    ) {
        let lanes = crowded(300, one_in);
        let lane = lanes[refused as usize - 1];
        let outages = outages.into_iter().map(|(begin, long)| begin..begin + long).collect();
        let run = run(REAL, &lanes, seed, &Trouble { lane, refused: refused..refused + 1, outages });
        prop_assert_eq!(numbers(&run.given_up), vec![refused]);
        let others = run.taken.iter().filter(|(_, number)| lanes[*number as usize - 1] != lane);
        let last = others.map(|(at, _)| *at).max().unwrap_or_default();
        prop_assert!(last < 6 * 3_600_000, "{}", last);
        let of_lane = numbers(&run.taken).into_iter().filter(|number| lanes[*number as usize - 1] == 0);
        prop_assert!(of_lane.is_sorted() && run.taken.len() == 299);
    }
}
