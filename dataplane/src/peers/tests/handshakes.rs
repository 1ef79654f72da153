//! What strangers, and copies of what others sent, can do.

use super::*;

#[test]
fn nobody_wakes_a_peer_but_itself() {
    let (mut a, mut b, mut stranger) = (Side::new(1), Side::new(2), Side::new(3));
    let (to_b, to_a) = (a.know(&b), b.know(&a));
    let from_stranger = stranger.know(&b);
    stranger.peers.initiate(from_stranger, &mut stranger.out);
    stranger.take().iter().for_each(|initiation| b.receive(stranger.address, initiation));
    a.peers.initiate(to_b, &mut a.out);
    let mut forged = a.take().remove(0);
    forged[100] ^= 1;
    b.sign(&mut forged, None);
    b.receive(a.address, &forged);
    assert_eq!((b.dropped(DropReason::UnknownKey), b.dropped(DropReason::InvalidHandshake)), (1, 1));
    assert!(!b.is_awake(to_a));
}

#[test]
fn a_flood_beyond_the_limit_moves_nobody() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let to_b = a.know(&b);
    b.know(&a);
    a.peers.initiate(to_b, &mut a.out);
    a.take().iter().for_each(|initiation| b.receive(a.address, initiation));
    let response = b.take().remove(0);
    a.receive(b.address, &response);
    a.take();
    let (thief, start) = (SocketAddr::from(([203, 0, 113, 9], 9)), now());
    // Not a copy, which would be known, but something new each time.
    for number in 0..1_200_u32 {
        let junk = a.forge(&number.to_le_bytes(), None);
        a.take_in(start, thief, &junk);
    }
    a.serve_handshakes(start);
    let answers = a.take();
    assert!(a.dropped(DropReason::RateLimited) >= 200 && a.dropped(DropReason::InvalidHandshake) >= 1_000);
    assert_eq!(a.peers.get(to_b).unwrap().underlay(), Some(b.address));
    assert!(answers.iter().all(|answer| answer[0] == 3), "a stranger gets cookies and nothing else");
    assert_eq!(answers.len(), 20, "and few of them");
}

#[test]
fn a_copy_of_a_refused_handshake_is_refused_without_a_look() {
    let (mut a, start) = (Side::new(1), now());
    let (thief, junk) = (SocketAddr::from(([203, 0, 113, 9], 9)), a.forge(b"junk", None));
    a.take_in(start, thief, &junk);
    assert!(a.peers.poll_timeout().is_some_and(|at| at <= start));
    a.serve_handshakes(start);
    for _ in 0..10_000 {
        a.take_in(start, thief, &junk);
        assert_eq!(a.peers.queue.since(), None);
    }
    assert_eq!(a.dropped(DropReason::InvalidHandshake), 10_001);
    assert!(a.out.is_empty());
}

#[test]
fn packets_are_served_before_handshakes() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let (to_b, to_a) = (a.know(&b), b.know(&a));
    a.peers.initiate(to_b, &mut a.out);
    settle(&mut a, &mut b);
    let packet = [[0x45, 0, 0, 20].as_slice(), &[0; 16]].concat();
    a.peers.send(to_b, &packet, &mut a.out).unwrap();
    let (datagram, start) = (a.take().remove(0), now());
    for number in 0..100_u32 {
        let junk = b.forge(&number.to_le_bytes(), None);
        assert_eq!(b.take_in(start, a.address, &junk), Received::Nothing);
    }
    let before = b.drops.clone();
    assert_eq!(b.take_in(start, a.address, &datagram), Received::Packet { from: to_a, len: 20 });
    assert_eq!(b.drops, before, "nobody looked at the handshakes yet");
    b.serve_handshakes(start);
    assert_eq!(b.dropped(DropReason::InvalidHandshake), 100);
}

#[test]
fn who_proved_its_address_gets_in_while_others_flood() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let to_b = a.know(&b);
    b.know(&a);
    let start = now();
    for number in 0..30_000_u32 {
        let thief = SocketAddr::from(([203, 0, 113, (number % 16) as u8], 9));
        let cookie = b.cookie_for(thief.ip());
        let junk = b.forge(&number.to_le_bytes(), Some(cookie));
        b.take_in(start, thief, &junk);
        if number < 2_000 {
            let junk = b.forge(&number.to_be_bytes(), None);
            b.take_in(start, thief, &junk);
        }
    }
    b.serve_handshakes(start);
    b.take();
    let looked_at = b.dropped(DropReason::InvalidHandshake);
    assert!(looked_at <= 1_000 + 16 * 40, "{looked_at}");
    for _ in 0..2 {
        a.peers.initiate(to_b, &mut a.out);
        settle(&mut a, &mut b);
    }
    assert!(a.received.contains(&Received::Established(to_b)), "once it has a cookie");
}

#[test]
fn an_old_handshake_is_refused_for_as_long_as_its_key_is_known() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let (to_b, to_a) = (a.know(&b), b.know(&a));
    a.peers.initiate(to_b, &mut a.out);
    let old = a.take().remove(0);
    b.receive(a.address, &old);
    settle(&mut a, &mut b);
    assert!(b.peers.get(to_a).unwrap().has_session());
    let thief = SocketAddr::from(([203, 0, 113, 9], 9));

    b.peers.disconnect(to_a);
    b.receive(thief, &old);
    assert_eq!(b.dropped(DropReason::StaleHandshake), 1);
    b.peers.remove(to_a);
    let to_a = b.know(&a);
    // The moment is over in which a copy is refused for being one.
    b.peers.refused = Refused::default();
    b.receive(thief, &old);
    assert_eq!(b.dropped(DropReason::StaleHandshake), 2);
    assert!(!b.is_awake(to_a));
    assert!(b.take().iter().all(|answer| answer[0] == 3), "whoever sent it gets a cookie and nothing else");

    a.peers.initiate(to_b, &mut a.out);
    settle(&mut a, &mut b);
    assert!(b.peers.get(to_a).unwrap().has_session(), "a new one is taken");
}

#[test]
fn a_peer_whose_clock_was_wrong_gets_in() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    /// A peer is answered only so often.
    const ROUND: Duration = Duration::from_millis(25);
    tunnel::clock::begin();
    for days in [0, 1, 3, 3 * 365, 200 * 365] {
        let mut b = Side::new(2);
        let mut a = Side::new(1);
        let (to_b, to_a) = (a.know(&b), b.know(&a));
        tunnel::clock::skip(DAY * days);
        a.peers.initiate(to_b, &mut a.out);
        settle(&mut a, &mut b);
        assert!(b.peers.get(to_a).unwrap().has_session());

        // It starts again with the clock that is right, or behind by so much.
        tunnel::clock::forget();
        let mut a = Side::new(1);
        let to_b = a.know(&b);
        a.peers.initiate(to_b, &mut a.out);
        settle_slowly(&mut a, &mut b, ROUND);
        assert!(a.received.contains(&Received::Established(to_b)), "{days} days");
        assert_eq!(b.dropped(DropReason::StaleHandshake) > 0, days > 0);
    }
}

#[test]
fn made_up_cookies_move_timestamps_by_a_few_centuries_at_most() {
    tunnel::clock::begin();
    let (mut a, b) = (Side::new(1), Side::new(2));
    let (to_b, start, wall_clock) = (a.know(&b), now(), tunnel::clock::latest());
    let observer = &b.peers.own.used().identity;
    let mut last = Duration::ZERO;
    a.peers.initiate(to_b, &mut a.out);
    for number in 0..100 {
        let at = start + Duration::from_millis(50) * number;
        let Some(initiation) = a.take().pop() else { continue };
        last = observer.stamp(&observer.read(&initiation).unwrap()).unwrap().unix_time();
        let mut cookie = vec![0; 148];
        let len = observer.cookie(a.address.ip(), &initiation, &mut cookie);
        a.take_in(at, b.address, &cookie[..len]);
    }
    let centuries = (last - wall_clock).as_secs() / (100 * 365 * 24 * 3600);
    assert_eq!(centuries, 2);
}

#[test]
fn a_kept_handshake_neither_moves_a_peer_nor_shows_that_it_is_there() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let (to_b, to_a) = (a.know(&b), b.know(&a));
    a.peers.initiate(to_b, &mut a.out);
    let kept = a.take().remove(0);
    // As after a restart: nothing was heard of the peer before.
    let thief = SocketAddr::from(([203, 0, 113, 9], 9));
    b.receive(thief, &kept);
    assert_eq!(b.take().len(), 1, "whoever sent it is answered");
    let peer = b.peers.get(to_a).unwrap();
    assert_eq!((peer.underlay(), peer.last_heard(), peer.has_session()), (Some(a.address), None, false));
}

#[test]
fn a_peer_is_answered_only_so_often() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let to_b = a.know(&b);
    b.know(&a);
    let start = now();
    let initiations: Vec<_> = std::iter::repeat_with(|| {
        a.peers.initiate(to_b, &mut a.out);
        a.take().remove(0)
    })
    .take(3)
    .collect();
    let mut answered = |after_ms, initiation: &[u8]| {
        let at = start + Duration::from_millis(after_ms);
        b.take_in(at, a.address, initiation);
        b.serve_handshakes(at);
        b.take().len()
    };
    assert_eq!([answered(0, &initiations[0]), answered(19, &initiations[1]), answered(39, &initiations[2])], [1, 0, 1]);
}

#[test]
fn a_peer_counts_at_the_address_where_it_was_heard() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let (to_b, to_a) = (a.know(&b), b.know(&a));
    a.peers.initiate(to_b, &mut a.out);
    settle(&mut a, &mut b);
    let counted = |b: &Side| b.peers.get(to_a).unwrap().contact.counted;
    assert_eq!(counted(&b), Some(Origin::of(a.address.ip())));
    a.peers.signal(to_b, &Message::Probe(Probe { sequence: 5 }), &mut a.out).unwrap();
    let moved = SocketAddr::from(([198, 51, 100, 1], 7));
    let datagram = a.take().remove(0);
    b.receive(moved, &datagram);
    assert_eq!(counted(&b), Some(Origin::of(moved.ip())));
    b.peers.handle_timeout(now() + LATELY / 2, &mut b.out, &mut b.drops);
    assert_eq!(counted(&b), Some(Origin::of(moved.ip())));
    b.peers.handle_timeout(now() + LATELY * 2, &mut b.out, &mut b.drops);
    assert_eq!(counted(&b), None);
    b.peers.disconnect(to_a);
    b.peers.remove(to_a);
}
