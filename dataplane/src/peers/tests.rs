use festoon_proto::address::link_local;
use festoon_proto::signal::Probe;

use super::*;

mod forge;
mod handshakes;

struct Side {
    peers: Peers<()>,
    address: SocketAddr,
    out: UnderlayBatch,
    drops: DropCounters,
    received: Vec<Received>,
    plain: Vec<u8>,
}

impl Side {
    fn new(byte: u8) -> Self {
        let key = PrivateKey::from_bytes([byte; 32]);
        Self {
            peers: Peers::new(&key, true),
            address: SocketAddr::from(([192, 0, 2, byte], 51820)),
            out: UnderlayBatch::new(1),
            drops: DropCounters::default(),
            received: Vec::new(),
            plain: vec![0; 66_000],
        }
    }

    fn know(&mut self, other: &Self) -> PeerId {
        let id = self.peers.insert(other.peers.own.used().identity.public_key(), ()).unwrap();
        self.peers.set_candidates(id, &[other.address]);
        id
    }

    fn is_awake(&self, id: PeerId) -> bool {
        self.peers.get(id).is_some_and(Peer::is_awake)
    }

    fn take(&mut self) -> Vec<Vec<u8>> {
        let datagrams = self.out.groups().map(|group| group.bytes.to_vec()).collect();
        self.out.clear();
        datagrams
    }

    fn receive(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.receive_at(now(), from, datagram);
    }

    fn receive_at(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let received = self.take_in(now, from, datagram);
        self.received.push(received);
        self.serve_handshakes(now);
    }

    fn serve_handshakes(&mut self, now: Instant) {
        while let Some(received) = self.peers.handle_handshake(now, &mut self.out, &mut self.drops) {
            self.received.push(received);
        }
    }

    /// A datagram arrives. One that belongs to a handshake waits.
    fn take_in(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Received {
        let path = UnderlayPath { remote: from, local: Some(self.address.ip()) };
        self.peers.receive(now, path, datagram, &mut self.plain, &mut self.out, &mut self.drops)
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason)
    }
}

#[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
fn now() -> Instant {
    Instant::now()
}

fn settle(a: &mut Side, b: &mut Side) {
    settle_slowly(a, b, Duration::ZERO);
}

/// Each round takes so long.
fn settle_slowly(a: &mut Side, b: &mut Side, round: Duration) {
    let mut at = now();
    loop {
        let (to_b, to_a) = (a.take(), b.take());
        if to_a.is_empty() && to_b.is_empty() {
            return;
        }
        at += round;
        to_b.iter().for_each(|datagram| b.receive_at(at, a.address, datagram));
        to_a.iter().for_each(|datagram| a.receive_at(at, b.address, datagram));
    }
}

#[test]
fn a_signal_starts_a_session_and_arrives() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let (to_b, to_a) = (a.know(&b), b.know(&a));
    let message = Message::Probe(Probe { sequence: 5 });
    a.peers.signal(to_b, &message, &mut a.out).unwrap();
    settle(&mut a, &mut b);
    assert!(a.received.contains(&Received::Established(to_b)));
    assert_eq!(b.received.last(), Some(&Received::Signal { from: to_a, message }));
    assert_eq!(b.drops.nonzero().count(), 0);
}

#[test]
fn a_padded_signal_is_as_long_as_asked_and_arrives_as_it_was() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let (to_b, to_a) = (a.know(&b), b.know(&a));
    let message = Message::Probe(Probe { sequence: 5 });
    a.peers.signal(to_b, &message, &mut a.out).unwrap();
    settle(&mut a, &mut b);
    let shortest = 16 + SIGNAL_HEADERS + 3 + 16;
    for (asked, length) in
        [(0, shortest), (shortest, shortest), (shortest + 1, shortest + 1), (1472, 1472), (8972, 8972)]
    {
        a.peers.signal_padded(to_b, &message, asked, &mut a.out).unwrap();
        let sent = a.take();
        assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [length]);
        b.receive(a.address, &sent[0]);
        assert_eq!(b.received.pop(), Some(Received::Signal { from: to_a, message: message.clone() }));
    }
    assert_eq!(b.drops.nonzero().count(), 0);
}

#[test]
fn both_ends_follow_each_other_only_when_the_datagram_is_authentic() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let (to_b, to_a) = (a.know(&b), b.know(&a));
    let message = Message::Probe(Probe { sequence: 5 });
    a.peers.signal(to_b, &message, &mut a.out).unwrap();
    settle(&mut a, &mut b);

    a.peers.signal(to_b, &message, &mut a.out).unwrap();
    let datagram = a.take().remove(0);
    let (thief, moved) = (SocketAddr::from(([203, 0, 113, 9], 9)), SocketAddr::from(([198, 51, 100, 1], 7)));
    let mut forged = datagram.clone();
    *forged.last_mut().unwrap() ^= 1;
    b.receive(thief, &forged);
    assert_eq!(b.peers.get(to_a).unwrap().underlay(), Some(a.address));
    b.receive(moved, &datagram);
    assert_eq!(b.peers.get(to_a).unwrap().underlay(), Some(moved));
    b.receive(thief, &datagram);
    assert_eq!(b.peers.get(to_a).unwrap().underlay(), Some(moved), "a replay must not move a peer");
    assert_eq!(b.drops.get(DropReason::Replayed), 1);
    assert_eq!(b.drops.get(DropReason::InvalidTag), 1);
}

#[test]
fn strangers_and_removed_peers_are_not_heard() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let to_b = a.know(&b);
    a.peers.initiate(to_b, &mut a.out);
    settle(&mut a, &mut b);
    assert_eq!(b.drops.get(DropReason::UnknownKey), 1);

    let to_a = b.know(&a);
    a.peers.initiate(to_b, &mut a.out);
    settle(&mut a, &mut b);
    b.peers.remove(to_a);
    a.peers.send(to_b, &[0x60; 60], &mut a.out).unwrap();
    settle(&mut a, &mut b);
    assert_eq!(b.drops.get(DropReason::UnknownSession), 1);
}

#[test]
fn a_peer_sleeps_until_it_speaks_or_is_spoken_to() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let (to_b, to_a) = (a.know(&b), b.know(&a));
    b.peers.handle_timeout(now(), &mut b.out, &mut b.drops);
    let (data, response) = ([4, 0, 0, 0].repeat(10), [2, 0, 0, 0].repeat(23));
    for datagram in [data, response] {
        b.receive(a.address, &datagram);
    }
    assert_eq!((b.dropped(DropReason::UnknownSession), b.dropped(DropReason::InvalidMac)), (1, 1));
    assert!(!b.is_awake(to_a) && b.out.is_empty());

    a.peers.send(to_b, &[0x60; 60], &mut a.out).unwrap();
    assert!(a.is_awake(to_b));
    settle(&mut a, &mut b);
    assert!(b.is_awake(to_a) && b.peers.get(to_a).unwrap().session_age().is_some());
    b.peers.remove(to_a);
    assert!(b.peers.awake.is_empty());
    let to_a = b.know(&a);
    assert!(!b.is_awake(to_a));
}

#[test]
fn the_timers_of_all_that_are_awake_run_twice_a_second() {
    let mut a = Side::new(1);
    let mut others = Vec::new();
    for number in 0..400_u32 {
        let mut key = [7; 32];
        key[8..12].copy_from_slice(&number.to_le_bytes());
        let id = a.peers.insert(PrivateKey::from_bytes(key).public_key(), ()).unwrap();
        a.peers.set_candidates(id, &[SocketAddr::from(([192, 0, 2, 9], 9))]);
        if number % 2 == 0 {
            a.peers.initiate(id, &mut a.out);
            others.push(id.0);
        }
    }
    assert!(a.peers.awake.iter().eq(&others));
    let mut time = now();
    let end = time + tunnel::TICK;
    let mut swept = BTreeSet::<u32>::new();
    while time < end {
        let from = a.peers.sweep_from;
        a.peers.handle_timeout(time, &mut a.out, &mut a.drops);
        let to = Some(a.peers.sweep_from).filter(|&to| to > from).unwrap_or(u32::MAX);
        swept.extend(a.peers.awake.range(from..to).copied());
        time = a.peers.poll_timeout().unwrap();
    }
    assert!(swept.iter().eq(&others));
}

#[test]
fn a_link_local_packet_that_is_no_signal_of_this_pair_is_refused() {
    let (own, peer) = (Ipv6Addr::from([0xfe; 16]), link_local(&PublicKey::from_bytes([1; 32])));
    let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 1, 2, 3, own.segments()[7]);
    let mut packet = Vec::new();
    PacketBuilder::ipv6(peer.octets(), own.octets(), 255)
        .udp(SIGNAL_PORT, SIGNAL_PORT)
        .write(&mut packet, &[1, 0xff])
        .unwrap();
    assert_eq!(signal_of(own, peer, &packet), Err(DropReason::InvalidSignal));
    assert_eq!(signal_of(own, own, &packet), Err(DropReason::ForeignSource));
    packet[43] ^= 1;
    assert_eq!(signal_of(own, peer, &packet), Err(DropReason::ForeignDestination));
}

#[test]
fn addresses_are_tried_in_turn() {
    let mut a = Side::new(1);
    let id = a.peers.insert(PublicKey::from_bytes([9; 32]), ()).unwrap();
    let candidates = [SocketAddr::from(([192, 0, 2, 1], 1)), SocketAddr::from(([192, 0, 2, 2], 2))];
    a.peers.set_candidates(id, &candidates);
    let mut tried = Vec::new();
    for _ in 0..3 {
        a.peers.initiate(id, &mut a.out);
        tried.extend(a.out.groups().map(|group| group.path.remote));
        a.out.clear();
    }
    assert_eq!(tried, [candidates[0], candidates[1], candidates[0]]);
}

#[test]
fn packets_for_those_that_do_not_answer_take_little_room() {
    let mut a = Side::new(1);
    let silent: Vec<PeerId> = (0..200_u8)
        .map(|number| {
            let id = a.peers.insert(PublicKey::from_bytes([number; 32]), ()).unwrap();
            a.peers.set_candidates(id, &[SocketAddr::from(([192, 0, 2, 9], 9))]);
            id
        })
        .collect();
    let (mut held, mut refused) = (0, 0);
    for packet in [vec![0x45; 1300], vec![0x45; 62_000]] {
        for _ in 0..50 {
            for &id in &silent {
                match a.peers.send(id, &packet, &mut a.out) {
                    Ok(()) => held += packet.len(),
                    Err(reason) => {
                        assert_eq!(reason, DropReason::NoSession);
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(held <= 256 * 1024, "{held} bytes wait");
    assert!(refused > 19_000 && a.out.len() == silent.len(), "a handshake with each, and no more");

    // After a while nothing waits any more, and that is counted.
    let began = now();
    a.peers.handle_timeout(began, &mut a.out, &mut a.drops);
    a.peers.handle_timeout(began + Duration::from_secs(6), &mut a.out, &mut a.drops);
    assert_eq!(a.drops.get(DropReason::NoSession), held as u64 / 1300);
}

#[test]
fn what_waited_goes_first_and_in_order() {
    let (mut a, mut b) = (Side::new(1), Side::new(2));
    let (to_b, to_a) = (a.know(&b), b.know(&a));
    let packet = |number: u8| {
        let mut packet = vec![0; 40 + usize::from(number)];
        packet[0] = 0x60;
        packet[5] = number;
        packet
    };
    (0..10).for_each(|number| a.peers.send(to_b, &packet(number), &mut a.out).unwrap());
    assert_eq!(a.take().len(), 1, "a handshake");
    a.peers.initiate(to_b, &mut a.out);
    settle(&mut a, &mut b);
    let lengths: Vec<_> = b
        .received
        .iter()
        .filter_map(|received| match received {
            Received::Packet { from, len } if *from == to_a => Some(*len),
            _ => None,
        })
        .collect();
    assert_eq!(lengths, (40..50).collect::<Vec<_>>());
}
