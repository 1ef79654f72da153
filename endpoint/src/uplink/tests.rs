use festoon_proto::EndpointId;
use proptest::prelude::*;

use super::*;

const HOLD_DOWN: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);
const M1: ManagerId = ManagerId(1);
const M2: ManagerId = ManagerId(2);

#[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
fn start() -> Instant {
    Instant::now()
}

fn uplink(now: Instant, priorities: &[(ManagerId, u8)]) -> Uplink {
    let mut uplink = Uplink::new(Generation::first_of_boot(3));
    uplink.set_managers(now, HOLD_DOWN, priorities.iter().copied());
    uplink
}

fn moves(uplink: &mut Uplink) -> Vec<Change> {
    std::iter::from_fn(|| uplink.poll_change()).collect()
}

const fn ask(generation: Generation, why: MoveReason) -> Attach {
    Attach { generation, why, gap_ms: None }
}

fn acknowledge(uplink: &mut Uplink, now: Instant) {
    let (manager, attach) = std::iter::from_fn(|| uplink.poll_transmit()).last().expect("nothing was asked");
    let attachment = Attachment { endpoint: EndpointId(1), manager, generation: attach.generation };
    uplink.handle_attach_reply(now, manager, attachment);
}

/// Runs the timers until `end`.
fn run(uplink: &mut Uplink, now: &mut Instant, end: Instant) {
    while let Some(at) = uplink.poll_timeout().filter(|&at| at <= end) {
        *now = at.max(*now);
        uplink.handle_timeout(*now);
    }
    *now = end;
}

fn started() -> (Instant, Uplink) {
    let now = start();
    let mut uplink = uplink(now, &[(M1, 10), (M2, 5)]);
    uplink.handle_alive(now, M1);
    uplink.handle_alive(now, M2);
    acknowledge(&mut uplink, now);
    assert_eq!(moves(&mut uplink), [Change::Moved { from: None, to: M1, why: MoveReason::Started }]);
    (now, uplink)
}

#[test]
fn a_dead_manager_is_left_at_once_with_a_higher_generation() {
    let (now, mut uplink) = started();
    let before = uplink.generation();
    uplink.handle_dead(now, M1);
    assert_eq!(moves(&mut uplink), [Change::Moved { from: Some(M1), to: M2, why: MoveReason::ManagerDead }]);
    assert_eq!(uplink.generation(), before.next());
    assert_eq!(uplink.poll_transmit(), Some((M2, ask(before.next(), MoveReason::ManagerDead))));
}

#[test]
fn a_manager_that_returns_waits_for_the_hold_down() {
    let (mut now, mut uplink) = started();
    uplink.handle_dead(now, M1);
    acknowledge(&mut uplink, now);
    moves(&mut uplink);
    now += Duration::from_secs(5);
    uplink.handle_alive(now, M1);
    let back = now;
    run(&mut uplink, &mut now, back + HOLD_DOWN - MS);
    assert_eq!(moves(&mut uplink), []);
    run(&mut uplink, &mut now, back + HOLD_DOWN);
    assert_eq!(moves(&mut uplink), [Change::Moved { from: Some(M2), to: M1, why: MoveReason::Priority }]);
}

#[test]
fn a_manager_that_flaps_is_never_chosen_again() {
    let (mut now, mut uplink) = started();
    for _ in 0..10 {
        uplink.handle_dead(now, M1);
        now += Duration::from_secs(1);
        uplink.handle_alive(now, M1);
        let end = now + HOLD_DOWN - MS;
        run(&mut uplink, &mut now, end);
    }
    assert_eq!(moves(&mut uplink).len(), 1);
    uplink.handle_dead(now, M2);
    assert_eq!(uplink.active(), Some(M1), "better one in hold-down than none");
}

#[test]
fn a_draining_manager_is_left_for_one_that_serves_and_only_then() {
    let (now, mut uplink) = started();
    uplink.handle_dead(now, M2);
    uplink.handle_answer(now, M1, ManagerState::Draining, Some(MS), None);
    assert_eq!(uplink.active(), Some(M1));
    uplink.handle_alive(now, M2);
    assert_eq!(uplink.active(), Some(M2));
}

#[test]
fn an_attachment_is_asked_for_until_acknowledged_and_again_when_forgotten() {
    let (mut now, mut uplink) = started();
    uplink.handle_dead(now, M1);
    let end = now + MS * 150;
    run(&mut uplink, &mut now, end);
    let asked: Vec<_> = std::iter::from_fn(|| uplink.poll_transmit()).collect();
    assert_eq!(asked.len(), 4, "at 0, 20, 60 and 140 ms");
    uplink.handle_attach_reply(
        now,
        M2,
        Attachment { endpoint: EndpointId(1), manager: M2, generation: uplink.generation() },
    );
    let end = now + Duration::from_secs(5);
    run(&mut uplink, &mut now, end);
    assert_eq!(uplink.poll_transmit(), None);
    uplink.handle_answer(now, M2, ManagerState::Serving, Some(MS), None);
    assert_eq!(uplink.poll_transmit(), Some((M2, ask(uplink.generation(), MoveReason::ManagerDead))));
}

#[test]
fn one_that_was_overtaken_goes_ahead_again() {
    let (now, mut uplink) = started();
    let ahead = Generation::first_of_boot(9);
    uplink.handle_attach_reply(now, M1, Attachment { endpoint: EndpointId(1), manager: M2, generation: ahead });
    assert_eq!(uplink.poll_transmit(), Some((M1, ask(ahead.next(), MoveReason::Overtaken))));
}

#[test]
fn two_with_one_identity_do_not_chase_each_other() {
    let (mut now, mut uplink) = started();
    let end = now + Duration::from_secs(600);
    let mut went_ahead = std::collections::BTreeSet::new();
    while now < end {
        // The other one is always ahead, and every probe says so.
        let ahead = Attachment { endpoint: EndpointId(1), manager: M2, generation: uplink.generation().next() };
        uplink.handle_answer(now, M1, ManagerState::Serving, Some(MS), Some(ahead));
        uplink.handle_attach_reply(now, M1, ahead);
        // It may have to ask several times.
        went_ahead.extend(std::iter::from_fn(|| uplink.poll_transmit()).map(|(_, attach)| attach.generation));
        let next = now + MS * 50;
        run(&mut uplink, &mut now, next);
    }
    assert!((15..30).contains(&went_ahead.len()), "{} times in ten minutes", went_ahead.len());
}

#[test]
fn a_generation_that_is_refused_is_given_up_for_one_that_is_not() {
    let (now, mut uplink) = started();
    let known = |generation| Attachment { endpoint: EndpointId(1), manager: M1, generation };
    uplink.handle_attach_reply(
        now,
        M1,
        Attachment { generation: Generation::first_of_boot(90_000), ..known(Generation(0)) },
    );
    assert!(uplink.poll_transmit().is_some());
    let refused_at = Generation::first_of_boot(5);
    uplink.handle_attach_reply(now, M1, known(refused_at));
    let asked = std::iter::from_fn(|| uplink.poll_transmit()).last();
    assert_eq!(asked.map(|(_, attach)| attach.generation), None, "it waits for the next turn to ask");
    assert_eq!(uplink.generation(), refused_at.next());
    let (mut time, end) = (now, now + MS * 50);
    run(&mut uplink, &mut time, end);
    let (manager, attach) = uplink.poll_transmit().expect("nothing was asked");
    assert_eq!((manager, attach.generation), (M1, refused_at.next()));
    uplink.handle_attach_reply(time, M1, known(refused_at.next()));
    let end = time + Duration::from_secs(5);
    run(&mut uplink, &mut time, end);
    assert_eq!(uplink.poll_transmit(), None);
}

#[test]
fn of_equals_a_much_nearer_one_wins_only_after_the_hold_down() {
    let mut now = start();
    let mut uplink = uplink(now, &[(M1, 5), (M2, 5)]);
    uplink.handle_alive(now, M1);
    uplink.handle_alive(now, M2);
    acknowledge(&mut uplink, now);
    moves(&mut uplink);
    for second in 0..40 {
        let generation = uplink.generation();
        let known = Attachment { endpoint: EndpointId(1), manager: M1, generation };
        uplink.handle_answer(now, M1, ManagerState::Serving, Some(MS * 50), Some(known));
        uplink.handle_answer(now, M2, ManagerState::Serving, Some(MS * 10), Some(known));
        if uplink.active() == Some(M2) {
            assert!(second >= 29, "moved after {second} s");
            return;
        }
        let end = now + Duration::from_secs(1);
        run(&mut uplink, &mut now, end);
    }
    panic!("never moved to the nearer manager");
}

#[test]
fn with_no_manager_alive_it_says_so_and_starts_again() {
    let (now, mut uplink) = started();
    uplink.handle_dead(now, M1);
    uplink.handle_dead(now, M2);
    assert_eq!(moves(&mut uplink).last(), Some(&Change::NoManager));
    assert_eq!(uplink.active(), None);
    uplink.handle_alive(now, M2);
    assert_eq!(uplink.active(), Some(M2));
}

proptest! {
    #[test]
    fn the_generation_only_grows_and_the_active_one_is_alive(
        steps in proptest::collection::vec((0_u8..5, 1_u16..4, 0_u64..40_000), 1..200),
    ) {
        let mut now = start();
        let mut uplink = uplink(now, &[(M1, 5), (M2, 5), (ManagerId(3), 9)]);
        let mut alive = std::collections::BTreeSet::new();
        for (step, manager, wait) in steps {
            let (manager, before) = (ManagerId(manager), uplink.generation());
            match step {
                0 | 1 => { uplink.handle_alive(now, manager); alive.insert(manager); }
                2 => { uplink.handle_dead(now, manager); alive.remove(&manager); }
                3 => uplink.handle_answer(now, manager, ManagerState::Draining, Some(MS), None),
                _ => uplink.handle_answer(now, manager, ManagerState::Serving, Some(MS * u32::from(manager.0)), None),
            }
            let end = now + MS * u32::try_from(wait).unwrap();
            run(&mut uplink, &mut now, end);
            prop_assert!(uplink.generation() >= before);
            prop_assert_eq!(uplink.active().is_some(), !alive.is_empty());
            if let Some(active) = uplink.active() { prop_assert!(alive.contains(&active)); }
            let moved = std::iter::from_fn(|| uplink.poll_change()).filter(|c| matches!(c, Change::Moved { .. })).count();
            prop_assert!(moved == 0 || uplink.generation() > before || before == Generation::first_of_boot(3));
        }
    }
}
