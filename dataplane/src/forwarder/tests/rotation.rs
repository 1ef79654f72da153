//! Keys change while packets are on their way.

use festoon_proto::signal::{Message, Probe};

use super::*;

/// One packet from each of endpoints 0 and 1 to the other: how many arrive at 1 and at 0.
fn there_and_back(world: &mut World) -> (usize, usize) {
    world.delivered.iter_mut().for_each(Vec::clear);
    world.send(0, &udp(A, B, 64, 1));
    world.send(1, &udp(B, A, 64, 1));
    (world.delivered[1].len(), world.delivered[0].len())
}

/// The infos of the managers once the first has another key.
fn with_key(key: &PrivateKey, former: Option<&PrivateKey>) -> Vec<ManagerInfo> {
    let mut managers = managers();
    managers[0].public_key = key.public_key();
    managers[0].previous_key = former.map(PrivateKey::public_key);
    managers
}

impl World {
    /// Runs all timers, some time later.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        for number in 0..self.hosts.len() {
            let mut effects = effects();
            self.hosts[number].handle_timeout(self.now, &mut effects);
            self.settle(endpoint_address(number as u8), &effects);
        }
        for index in 0..self.routers.len() {
            let mut effects = effects();
            self.routers[index].handle_timeout(self.now, &mut effects);
            self.settle(manager_address([M1, M2][index]), &effects);
        }
    }

    /// The second manager hears of the managers' keys, and which endpoints do.
    fn tell_of(&mut self, managers: &[ManagerInfo], hosts: &[usize]) {
        let change = delta(Changes::default());
        self.routers[1].change_map(&ManagerMapDelta { manager: M2, managers: Some(managers.to_vec()), ..change });
        for &number in hosts {
            self.hosts[number].set_map(&endpoint_map(&self.endpoints[number], managers.to_vec()));
        }
    }

    /// Whether a signal from a host to the first manager arrives, and one back.
    fn signals(&mut self, number: usize) -> bool {
        let heard = |effects: &Effects, world: &mut World, at: usize| {
            datagrams(endpoint_address(at as u8), effects).iter().any(|(from, _, datagram)| {
                let path = UnderlayPath { remote: *from, local: None };
                let arrival = world.routers[0].handle_underlay(world.now, path, datagram, &mut self::effects());
                matches!(arrival, RouterArrival::Signal(Neighbour::Endpoint(_), Message::Probe(_)))
            })
        };
        let (mut there, mut back) = (effects(), effects());
        self.hosts[number].signal(M1, &Message::Probe(Probe { sequence: 1 }), &mut there);
        let arrived = heard(&there, self, number);
        let endpoint = Neighbour::Endpoint(self.endpoints[number].id);
        self.routers[0].signal(endpoint, &Message::Probe(Probe { sequence: 2 }), &mut back);
        let answers = datagrams(manager_address(M1), &back);
        arrived
            && answers.iter().any(|(from, _, datagram)| {
                let path = UnderlayPath { remote: *from, local: None };
                let arrival = self.hosts[number].handle_underlay(self.now, path, datagram, &mut effects());
                matches!(arrival, HostArrival::Signal(M1, Message::Probe(_)))
            })
    }
}

#[test]
fn a_new_key_takes_over_from_the_one_before_without_a_lost_packet() {
    let mut world = World::new();
    let mut rotated = world.endpoints[1].clone();
    let new_key = key(2, 9);
    rotated.previous_key = Some(std::mem::replace(&mut rotated.public_key, new_key.public_key()));
    world.change(&[], &[rotated.clone()]);
    assert_eq!(there_and_back(&mut world), (1, 1), "with the key before");

    let before = std::mem::replace(&mut world.hosts[1], host_with(&new_key, &rotated));
    world.place(1, M1);
    assert_eq!(there_and_back(&mut world), (1, 1), "with the new key");
    let after = std::mem::replace(&mut world.hosts[1], before);
    world.send(1, &udp(B, A, 64, 2));
    assert_eq!(world.delivered[0].len(), 2, "what was on its way still arrives");

    rotated.previous_key = None;
    world.change(&[], &[rotated]);
    world.send(1, &udp(B, A, 64, 3));
    assert_eq!((world.delivered[0].len(), world.dropped(DropReason::UnknownSession)), (2, 1));
    world.hosts[1] = after;
    assert_eq!(there_and_back(&mut world), (1, 1), "with the new key alone");
}

#[test]
fn an_endpoint_changes_its_key_while_it_is_in_use() {
    let mut world = World::new();
    let (old, new) = (key(2, 1), key(2, 9));
    // The endpoint goes first: the managers have not heard of the key yet.
    world.hosts[1].set_keys(&new, Some(&old));
    world.pass(Duration::from_millis(1));
    assert_eq!((there_and_back(&mut world), world.dropped(DropReason::UnknownKey)), ((1, 1), 1));
    let mut rotated = world.endpoints[1].clone();
    rotated.previous_key = Some(std::mem::replace(&mut rotated.public_key, new.public_key()));
    world.change(&[], &[rotated.clone()]);
    assert_eq!(there_and_back(&mut world), (1, 1), "over the session with the key before");
    assert!(world.signals(1));
    world.pass(Duration::from_secs(1));
    assert_eq!(there_and_back(&mut world), (1, 1), "over the new one");
    assert!(world.signals(1));
    // The end of the overlap, at the endpoint and then at the manager.
    world.hosts[1].set_keys(&new, None);
    assert_eq!(there_and_back(&mut world), (1, 1));
    rotated.previous_key = None;
    world.change(&[], &[rotated]);
    assert_eq!(there_and_back(&mut world), (1, 1));
    assert!(world.signals(1));
}

#[test]
fn packets_that_are_under_way_while_a_key_changes_arrive() {
    let mut world = World::new();
    let (old, new) = (key(2, 1), key(2, 9));
    let mut rotated = world.endpoints[1].clone();
    rotated.previous_key = Some(std::mem::replace(&mut rotated.public_key, new.public_key()));
    world.change(&[], &[rotated]);
    // From the manager to the endpoint, and back, before and after each step of the handshake.
    let (mut late, mut handshake) = (effects(), effects());
    world.hosts[0].handle_overlay(&VnetHeader::default(), &mut udp(A, B, 64, 1), &mut late);
    let late = datagrams(endpoint_address(0), &late);
    let mut to_endpoint = effects();
    let path = UnderlayPath { remote: late[0].0, local: None };
    world.routers[0].handle_underlay(world.now, path, &late[0].2, &mut to_endpoint);
    let mut to_manager = effects();
    world.hosts[1].handle_overlay(&VnetHeader::default(), &mut udp(B, A, 64, 1), &mut to_manager);
    world.hosts[1].set_keys(&new, Some(&old));
    world.hosts[1].handle_timeout(world.now, &mut handshake);
    world.settle(endpoint_address(1), &handshake);
    assert_eq!(there_and_back(&mut world), (1, 1));
    world.settle(manager_address(M1), &to_endpoint);
    world.settle(endpoint_address(1), &to_manager);
    assert_eq!((world.delivered[1].len(), world.delivered[0].len()), (2, 2), "both were overtaken");
    assert_eq!(there_and_back(&mut world), (1, 1), "and changed nothing");
}

#[test]
fn a_manager_changes_its_key_while_everybody_uses_it() {
    let mut world = World::new();
    world.place(1, M2);
    let (old, new) = (key(1, 1), key(1, 9));
    world.routers[0].set_keys(&new, Some(&old));
    world.pass(Duration::from_millis(1));
    assert_eq!(there_and_back(&mut world), (1, 1), "nobody else has heard of it");
    let overlap = with_key(&new, Some(&old));
    world.tell_of(&overlap, &[0]);
    assert_eq!(there_and_back(&mut world), (1, 1));
    assert!(world.signals(0));
    for second in 0..3 {
        world.pass(Duration::from_secs(1));
        assert_eq!(there_and_back(&mut world), (1, 1), "{second}");
        assert!(world.signals(0));
    }
    // Endpoint 2 slept through all of it; endpoint 3 hears of the end alone.
    world.routers[0].set_keys(&new, None);
    world.tell_of(&with_key(&new, None), &[0, 1, 3]);
    assert_eq!(there_and_back(&mut world), (1, 1), "over sessions with the new key");
    assert!(world.signals(0));
    let dropped = world.dropped(DropReason::UnknownSession);
    world.send(2, &udp(A, B, 64, 1));
    assert_eq!(world.dropped(DropReason::UnknownSession), dropped + 1, "the session with the key before is cut");
    let mut effects = effects();
    world.hosts[2].initiate(M1, &mut effects);
    world.settle(endpoint_address(2), &effects);
    assert_eq!(world.dropped(DropReason::InvalidMac), 1, "and gets no other");
    let mut effects = self::effects();
    world.hosts[3].initiate(M1, &mut effects);
    world.settle(endpoint_address(3), &effects);
    assert!(world.signals(3));
}

#[test]
fn who_knows_only_the_key_before_is_answered_with_it() {
    let mut world = World::new();
    let (old, new) = (key(1, 1), key(1, 9));
    world.routers[0].set_keys(&new, Some(&old));
    // As a stock client does that was started in the overlap.
    world.hosts[0] = host(0, &world.endpoints[0].clone());
    world.place(0, M1);
    assert_eq!(there_and_back(&mut world), (1, 1));
    assert!(world.signals(0));
    world.pass(Duration::from_secs(20));
    assert_eq!(there_and_back(&mut world), (1, 1), "nobody brings it over");
    // All learn of the new key, and use it.
    world.tell_of(&with_key(&new, Some(&old)), &[0, 1]);
    world.pass(Duration::from_secs(20));
    world.routers[0].set_keys(&new, None);
    assert_eq!(there_and_back(&mut world), (1, 1));
}
