//! What one change does to two or three managers.

use super::*;
use crate::mesh::Route;
use crate::mesh::presence::DEPARTURE_KEPT;
use festoon_proto::signal::{Flood, FloodAck, LinkState, ManagerState};

#[test]
fn an_attachment_moves_everyones_route() {
    let mut net = Net::full(3, 1);
    assert_eq!(net.attach(at(7, 1, 1)), at(7, 1, 1));
    net.settle();
    assert_eq!(net.mesh(1).route_to(e(7)), Route::Local);
    assert_eq!(net.mesh(2).route_to(e(7)), Route::Via(m(1)));
    net.changes(3);
    net.attach(at(7, 2, 2));
    net.run(ms(5));
    assert_eq!(net.mesh(1).route_to(e(7)), Route::Via(m(2)));
    assert_eq!(net.mesh(2).route_to(e(7)), Route::Local);
    assert_eq!(net.mesh(3).route_to(e(7)), Route::Via(m(2)));
    assert_eq!(net.changes(3), [Change::Endpoint(e(7))]);
    assert_eq!(net.mesh(3).route_to(e(8)), Route::Unattached);
}

#[test]
fn a_lower_generation_loses_and_its_sender_learns_the_higher() {
    let mut net = Net::full(2, 1);
    net.attach(at(7, 1, 5));
    net.settle();
    assert_eq!(net.attach(at(7, 2, 4)), at(7, 1, 5));
    let stale = Flood {
        sequence: 1,
        attachments: vec![at(7, 2, 4)],
        detachments: vec![(e(7), Generation(3))],
        links: Vec::new(),
        wants_all: false,
    };
    net.meshes.get_mut(&m(1)).unwrap().handle_flood(net.now, m(2), stale);
    let mesh = net.meshes.get_mut(&m(1)).unwrap();
    assert_eq!(mesh.poll_transmit(), Some((m(2), Message::FloodAck(FloodAck { sequence: 1 }))));
    let Some((to, Message::Flood(answer))) = mesh.poll_transmit() else { panic!("no answer") };
    assert_eq!((to, answer.attachments), (m(2), vec![at(7, 1, 5)]));
    assert_eq!(mesh.poll_transmit(), None);
}

#[test]
fn a_departure_wins_over_what_is_older_until_it_is_forgotten() {
    let mut net = Net::full(3, 1);
    net.attach(at(7, 1, 5));
    net.with(1, |mesh, now| mesh.detach(now, e(7), Generation(5)));
    net.settle();
    for manager in 1..=3 {
        assert_eq!(net.mesh(manager).route_to(e(7)), Route::Unattached);
    }
    for old in [4, 5] {
        assert_eq!(net.attach(at(7, 2, old)), at(7, 2, 6), "differs from what was given: the endpoint goes above it");
    }
    assert_eq!(net.attach(at(7, 2, 7)), at(7, 2, 7));
    net.with(1, |mesh, now| mesh.detach(now, e(7), Generation(6)));
    net.settle();
    assert_eq!(net.mesh(1).attachment(e(7)), Some(at(7, 2, 7)));
    net.with(2, |mesh, now| mesh.detach(now, e(7), Generation(7)));
    net.run(DEPARTURE_KEPT + ms(1000));
    assert_eq!(net.attach(at(7, 3, 1)), at(7, 3, 1));
    assert!(net.meshes.values().all(|mesh| mesh.presence.next_expiry().is_none()));
}

#[test]
fn three_managers_with_one_link_cut_still_reach_each_other() {
    let mut net = Net::full(3, 1);
    net.attach(at(7, 1, 1));
    net.settle();
    net.changes(3);
    net.down(1, 3);
    net.settle();
    assert_eq!(net.mesh(3).route_to(e(7)), Route::Via(m(2)));
    assert_eq!(net.mesh(3).path_rtt(m(1)), Some(ms(20)));
    assert_eq!(net.changes(3), [Change::Paths], "nobody is lost");
    net.down(1, 2);
    net.settle();
    assert_eq!(net.mesh(3).route_to(e(7)), Route::Unreachable);
    assert_eq!(net.changes(3), [Change::Paths, Change::ManagerLost(m(1))]);
    net.up(1, 3, 10);
    net.settle();
    assert_eq!(net.mesh(2).route_to(e(7)), Route::Via(m(3)));
    assert_eq!(net.changes(3), [Change::Paths, Change::ManagerReturned(m(1))]);
}

#[test]
fn a_partition_heals_to_the_highest_of_both_sides() {
    let mut net = Net::full(4, 1);
    net.attach_all((1..=4).map(|endpoint| at(endpoint, 1, 1)));
    net.settle();
    for (a, b) in [(1, 3), (1, 4), (2, 3), (2, 4)] {
        net.down(a, b);
    }
    net.attach(at(1, 3, 2));
    net.attach(at(2, 2, 2));
    net.attach(at(2, 4, 3));
    net.with(2, |mesh, now| mesh.detach(now, e(3), Generation(1)));
    net.settle();
    assert_eq!(net.mesh(1).attachment(e(1)), Some(at(1, 1, 1)));
    assert_eq!(net.mesh(4).attachment(e(3)), Some(at(3, 1, 1)));
    net.assert_agreement();
    net.up(2, 3, 10);
    net.settle();
    net.assert_agreement();
    assert!(net.mesh(1).attachments().eq([at(1, 3, 2), at(2, 4, 3), at(4, 1, 1)]));
}

#[test]
fn draining_is_known_everywhere_and_taken_back() {
    let mut net = Net::full(3, 1);
    net.down(1, 3);
    for (draining, state) in [(true, ManagerState::Draining), (false, ManagerState::Serving)] {
        net.with(1, |mesh, now| mesh.set_draining(now, draining));
        net.settle();
        assert_eq!(net.mesh(3).state_of(m(1)), Some(state));
    }
    net.with(1, |mesh, now| mesh.set_draining(now, false));
    assert_eq!(net.settle(), 0, "no news");
}

#[test]
fn a_slower_link_is_told_once_and_traffic_goes_around_it() {
    let mut net = Net::full(3, 1);
    for end in [(1, 3), (3, 1)] {
        net.with(end.0, |mesh, now| mesh.handle_link_rtt(now, m(end.1), ms(11)));
    }
    assert_eq!(net.settle(), 0);
    let settled = net.now;
    for rtt in [90, 100, 95] {
        net.with(1, |mesh, now| mesh.handle_link_rtt(now, m(3), ms(rtt)));
    }
    net.settle();
    assert!(net.now >= settled + ms(4900), "not at once after the last statement");
    assert_eq!(net.mesh(3).next_hop(m(1)), Some(m(2)));
    net.assert_agreement();
}

#[test]
fn a_removed_manager_is_forgotten_without_being_lost() {
    let mut net = Net::full(3, 1);
    net.attach(at(7, 3, 1));
    net.settle();
    net.changes(1);
    for manager in [1, 2] {
        net.with(manager, |mesh, now| mesh.set_managers(now, [m(1), m(2)]));
    }
    net.run(ms(3000));
    for manager in [1, 2] {
        let mesh = net.mesh(manager);
        assert_eq!((mesh.next_hop(m(3)), mesh.state_of(m(3))), (None, None));
        assert_eq!(mesh.route_to(e(7)), Route::Unreachable);
    }
    assert_eq!(net.changes(1), [Change::Paths]);
}

#[test]
fn removed_endpoints_are_forgotten() {
    let mut net = Net::full(2, 1);
    net.attach(at(7, 1, 1));
    net.attach(at(8, 1, 1));
    net.settle();
    net.changes(2);
    net.with(2, |mesh, _| mesh.forget_endpoints([e(7), e(9)]));
    assert_eq!(net.changes(2), [Change::Endpoint(e(7))]);
    assert!(net.mesh(2).attachments().eq([at(8, 1, 1)]));
    assert_eq!(net.settle(), 0);
}

#[test]
fn a_restarted_manager_learns_everything_and_outbids_its_earlier_life() {
    for first_sequence in [1, 2000, 9_000_000] {
        let mut net = Net::full(3, 1);
        net.weather = Weather { loss_percent: 20, jitter: ms(5) };
        net.attach_all((1..=100).map(|endpoint| at(endpoint, 2, 1)));
        net.settle();
        net.restart(2, first_sequence);
        net.settle();
        assert_eq!(net.mesh(2).attachments().count(), 100);
        assert_eq!(net.mesh(2).route_to(e(1)), Route::Local);
        net.assert_agreement();
        net.with(2, |mesh, now| mesh.set_draining(now, true));
        net.settle();
        assert_eq!(net.mesh(1).state_of(m(2)), Some(ManagerState::Draining), "it is still believed");
    }
}

/// Whoever speaks for another with the last sequence there is would have the last word for good.
#[test]
fn no_manager_has_the_last_word_on_another() {
    let mut net = Net::full(3, 1);
    net.settle();
    let known = |net: &Net| net.mesh(1).topology.link_state(m(2)).map_or(0, |state| state.sequence);
    for (number, leap) in [u64::MAX, (1 << 42) + 1, 1 << 42, 1].into_iter().enumerate() {
        let forged = LinkState {
            origin: m(2),
            sequence: known(&net).saturating_add(leap),
            state: ManagerState::Draining,
            neighbours: Vec::new(),
        };
        let flood = Flood {
            sequence: 1_000 + number as u64,
            attachments: Vec::new(),
            detachments: Vec::new(),
            links: vec![forged],
            wants_all: false,
        };
        net.with(1, |mesh, now| mesh.handle_flood(now, m(3), flood));
        net.settle();
        assert_eq!(net.mesh(1).state_of(m(2)), Some(ManagerState::Serving), "after a leap by {leap}");
        assert_eq!(net.mesh(1).next_hop(m(2)), Some(m(2)));
        net.assert_agreement();
    }
}

#[test]
fn what_arrives_before_the_link_is_up_is_believed_and_said_again_afterwards() {
    let mut net = Net::new(2, 1);
    net.attach(at(7, 1, 1));
    net.links.insert(link(1, 2), ms(10));
    net.with(1, |mesh, now| mesh.handle_link_up(now, m(2), ms(10)));
    net.run(ms(500));
    assert_eq!(net.mesh(2).attachment(e(7)), Some(at(7, 1, 1)));
    assert_eq!(net.mesh(2).route_to(e(7)), Route::Unreachable, "both ends must report the link");
    net.with(2, |mesh, now| mesh.handle_link_up(now, m(1), ms(10)));
    net.settle();
    assert_eq!(net.mesh(2).route_to(e(7)), Route::Via(m(1)));
    net.assert_agreement();
}

#[test]
fn nobody_has_the_last_word_for_ever() {
    let mut net = Net::full(2, 1);
    net.attach(at(7, 1, 5));
    net.settle();
    let last = Flood {
        sequence: 1,
        attachments: vec![at(7, 2, u64::MAX), at(8, 2, u64::MAX)],
        detachments: vec![(e(9), Generation(u64::MAX))],
        links: Vec::new(),
        wants_all: false,
    };
    net.with(1, |mesh, now| mesh.handle_flood(now, m(2), last));
    net.settle();
    assert!(net.mesh(1).attachments().eq([at(7, 1, 5)]));
    assert_eq!(net.attach(at(9, 1, 1)), at(9, 1, 1));
    let mesh = net.mesh(1);
    let first_of = |boot| Generation::first_of_boot(boot);
    assert!(mesh.may_have(e(7), first_of(2)) && mesh.may_have(e(7), Generation(4)), "started again, or an old copy");
    assert!(!mesh.may_have(e(7), first_of(1000)) && !mesh.may_have(e(7), Generation(u64::MAX)));
    assert!(mesh.may_have(e(10), first_of(1000)) && !mesh.may_have(e(10), Generation(u64::MAX)), "nothing is known");
}

#[test]
fn strangers_and_nonsense_are_ignored() {
    let mut net = Net::full(2, 1);
    let huge =
        LinkState { origin: m(1), sequence: u64::MAX, state: ManagerState::Serving, neighbours: vec![(m(2), 1); 200] };
    let flood = |from: u16, links: Vec<LinkState>| Flood {
        sequence: u64::from(from),
        attachments: vec![at(u64::from(from), from, 1)],
        detachments: Vec::new(),
        links,
        wants_all: true,
    };
    net.with(2, |mesh, now| mesh.handle_flood(now, m(9), flood(9, Vec::new())));
    net.with(2, |mesh, now| mesh.handle_flood(now, m(2), flood(2, Vec::new())));
    net.with(2, |mesh, now| mesh.handle_link_up(now, m(9), ms(1)));
    assert_eq!(net.settle(), 0);
    net.with(2, |mesh, now| mesh.handle_flood(now, m(1), flood(1, vec![huge])));
    net.settle();
    assert!(net.mesh(2).attachments().eq([at(1, 1, 1)]));
    assert_eq!(net.mesh(2).next_hop(m(1)), Some(m(1)));
}
