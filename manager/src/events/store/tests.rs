//! Cursors, restarts and retention, on a real file.

use std::time::Instant;

use festoon_events::Kind;
use festoon_proto::EndpointId;
use proptest::prelude::*;

use super::*;

fn at(manager: u16, number: u64) -> Position {
    Position { source: source(manager), place: Place { life: 1, number } }
}

fn event(number: u64) -> Event {
    Event { endpoint: Some(EndpointId(number)), ..Event::new(number, Kind::EndpointUp) }
}

fn numbered(manager: u16, numbers: impl IntoIterator<Item = u64>) -> Vec<(Position, Event)> {
    numbers.into_iter().map(|number| (at(manager, number), event(number))).collect()
}

fn open_in(directory: &tempfile::TempDir, keep: u64) -> Store {
    let keep = Keep { all: keep, of_endpoint: 20 };
    Store::open(&directory.path().join("events.redb"), keep).unwrap()
}

fn all(store: &Store, after: &Cursor) -> Vec<Position> {
    store.read(after, usize::MAX).unwrap().into_iter().map(|row| row.position).collect()
}

#[test]
fn what_was_stored_is_there_after_a_restart_and_of_the_audit_log_only_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_in(&directory, 100);
    store.append(&[numbered(1, 1..3), numbered(0, 1..2)].concat()).unwrap();
    drop(store);
    let store = open_in(&directory, 100);
    let rows = store.read(&Cursor::default(), 10).unwrap();
    assert_eq!(rows.iter().map(|row| row.event.is_some()).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(rows[1], Row { position: at(1, 2), event: Some(event(2)) });
    assert_eq!(store.told().unwrap(), [at(1, 2), at(0, 1)].into_iter().collect());
    store.append(&numbered(1, [3])).unwrap();
    let read: Cursor = rows.iter().map(|row| row.position).collect();
    assert_eq!(all(&store, &read), [at(1, 3)]);
}

#[test]
fn the_oldest_give_way_and_how_far_was_told_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_in(&directory, 100);
    store.append(&numbered(2, 1..=5)).unwrap();
    for first in (1..300).step_by(10) {
        store.append(&numbered(1, first..first + 10)).unwrap();
    }
    let kept = all(&store, &Cursor::default());
    assert!((100..=110).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last(), Some(&at(1, 300)));
    assert_eq!(store.told().unwrap().get(source(2)), Some(Place { life: 1, number: 5 }));
}

fn of_endpoint(endpoint: u64, manager: u16, numbers: std::ops::RangeInclusive<u64>) -> Vec<(Position, Event)> {
    let event = |number| Event { endpoint: Some(EndpointId(endpoint)), ..Event::new(number, Kind::EndpointUp) };
    numbers.map(|number| (at(manager, number), event(number))).collect()
}

#[test]
fn one_endpoint_does_not_push_the_events_of_others_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open_in(&directory, 100);
    // Other endpoints, of a manager and of the audit log, are first.
    store.append(&[numbered(1, 1..=30), numbered(0, 1..=30)].concat()).unwrap();
    for first in (1..60_000).step_by(1_000) {
        store.append(&of_endpoint(7_777, 2, first..=first + 999)).unwrap();
        store.append(&of_endpoint(7_777, 0, first + 30..=first + 1_029)).unwrap();
        if first == 30_001 {
            drop(store);
            store = open_in(&directory, 100);
        }
    }
    let kept = all(&store, &Cursor::default());
    let first: Vec<_> = numbered(1, 1..=30).into_iter().chain(numbered(0, 1..=30)).map(|(at, _)| at).collect();
    assert_eq!(kept[..60], first);
    assert!((80..=82).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last(), Some(&at(0, 60_030)));
    // How far was told is what it was, and readers go on.
    let read: Cursor = kept.iter().copied().collect();
    assert_eq!(store.told().unwrap().get(source(2)), Some(Place { life: 1, number: 60_000 }));
    store.append(&numbered(1, 31..=31)).unwrap();
    assert_eq!(all(&store, &read), [at(1, 31)]);
}

/// A manager's events of three sources, each source's in its order.
struct Manager {
    store: Store,
    has: [u64; 4],
    _directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { store: open_in(&directory, 10_000), has: [0; 4], _directory: directory }
    }

    fn receive_until(&mut self, source: u16, last: u64) {
        let has = &mut self.has[usize::from(source)];
        self.store.append(&numbered(source, *has + 1..=last)).unwrap();
        *has = last.max(*has);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Two managers get the events in different orders. A reader goes from one to the other and back.
    #[test]
    fn a_reader_may_go_on_at_any_manager_and_loses_and_repeats_nothing(
        turns in proptest::collection::vec((0_usize..2, 1_u16..4, 1_u64..6, 0_usize..9), 1..40),
    ) {
        let mut managers = [Manager::new(), Manager::new()];
        let mut cursor = Cursor::default();
        let mut read = Vec::new();
        for (at, source, count, take) in turns {
            let until = managers[at].has[usize::from(source)] + count;
            managers[at].receive_until(source, until);
            for row in managers[at].store.read(&cursor, take).unwrap() {
                prop_assert!(cursor.pass(row.position), "{} again", row.position);
                read.push(row.position);
            }
        }
        // More than a turn for each brings.
        let last = 40 * 6;
        for source in 1..4 {
            managers[0].receive_until(source, last);
        }
        read.extend(all(&managers[0].store, &cursor));
        for source in 1..4 {
            let numbers: Vec<u64> =
                read.iter().filter(|at| at.source == super::source(source)).map(|at| at.place.number).collect();
            prop_assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it is a measure")]
fn a_hundred_thousand_events_go_through() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_in(&directory, 250_000);
    let start = Instant::now();
    for part in 0..100 {
        store.append(&numbered(1, part * 1_000 + 1..=part * 1_000 + 1_000)).unwrap();
    }
    let stored = start.elapsed();
    let mut cursor = Cursor::default();
    let mut count = 0;
    loop {
        let rows = store.read(&cursor, 500).unwrap();
        if rows.is_empty() {
            break;
        }
        count += rows.len();
        for row in rows {
            cursor.pass(row.position);
        }
    }
    eprintln!("100,000 events: stored in {stored:?}, read in {:?}", start.elapsed() - stored);
    assert_eq!(count, 100_000);
}
