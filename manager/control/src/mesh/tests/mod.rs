//! Several meshes on a virtual clock and network.

mod behaviour;
mod bulk;
mod simulation;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use festoon_proto::signal::{MAX_SIGNAL_LEN, Message};
use festoon_proto::{Attachment, EndpointId, Generation, ManagerId};

use super::{Change, Mesh};

const fn m(manager: u16) -> ManagerId {
    ManagerId(manager)
}

const fn e(endpoint: u64) -> EndpointId {
    EndpointId(endpoint)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(endpoint: u64, manager: u16, generation: u64) -> Attachment {
    Attachment { endpoint: e(endpoint), manager: m(manager), generation: Generation(generation) }
}

/// A small generator of numbers that look random (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// How links treat messages.
#[derive(Debug, Clone, Copy)]
struct Weather {
    loss_percent: u64,
    jitter: Duration,
}

const FAIR: Weather = Weather { loss_percent: 0, jitter: Duration::ZERO };

type Link = (ManagerId, ManagerId);

struct Net {
    now: Instant,
    meshes: BTreeMap<ManagerId, Mesh>,
    /// Links that are up, with their round-trip time.
    links: BTreeMap<Link, Duration>,
    weather: Weather,
    random: Random,
    /// Messages on their way, by arrival.
    on_the_way: BTreeMap<(Instant, u64), (ManagerId, ManagerId, Message)>,
    sent: u64,
    starts: u64,
    changes: BTreeMap<ManagerId, Vec<Change>>,
}

fn link(a: u16, b: u16) -> Link {
    (m(a.min(b)), m(a.max(b)))
}

impl Net {
    /// `count` managers without links.
    fn new(count: u16, seed: u64) -> Self {
        let mut net = Self {
            now: Instant::now(),
            meshes: BTreeMap::new(),
            links: BTreeMap::new(),
            weather: FAIR,
            random: Random(seed),
            on_the_way: BTreeMap::new(),
            sent: 0,
            starts: 0,
            changes: BTreeMap::new(),
        };
        (1..=count).for_each(|manager| net.start(manager, count));
        net
    }

    /// `count` managers, each linked to each.
    fn full(count: u16, seed: u64) -> Self {
        let mut net = Self::new(count, seed);
        for a in 1..=count {
            (a + 1..=count).for_each(|b| net.up(a, b, 10));
        }
        net.settle();
        net
    }

    fn start(&mut self, manager: u16, count: u16) {
        self.starts += 1;
        let mut mesh = Mesh::new(m(manager), 1000 * self.starts);
        mesh.set_managers(self.now, (1..=count).map(m));
        self.meshes.insert(m(manager), mesh);
    }

    /// Restarts a manager. Its neighbours never see the links go down. Its clock may be wrong.
    fn restart(&mut self, manager: u16, first_sequence: u64) {
        let count = self.meshes.len() as u16;
        let mut mesh = Mesh::new(m(manager), first_sequence);
        mesh.set_managers(self.now, (1..=count).map(m));
        self.on_the_way.retain(|_, (from, to, _)| *from != m(manager) && *to != m(manager));
        for (&(a, b), &rtt) in &self.links {
            match (a == m(manager), b == m(manager)) {
                (true, _) => mesh.handle_link_up(self.now, b, rtt),
                (_, true) => mesh.handle_link_up(self.now, a, rtt),
                _ => {}
            }
        }
        self.meshes.insert(m(manager), mesh);
        self.send();
    }

    fn up(&mut self, a: u16, b: u16, rtt: u64) {
        self.links.insert(link(a, b), ms(rtt));
        self.with(a, |mesh, now| mesh.handle_link_up(now, m(b), ms(rtt)));
        self.with(b, |mesh, now| mesh.handle_link_up(now, m(a), ms(rtt)));
    }

    fn down(&mut self, a: u16, b: u16) {
        self.links.remove(&link(a, b));
        self.with(a, |mesh, now| mesh.handle_link_down(now, m(b)));
        self.with(b, |mesh, now| mesh.handle_link_down(now, m(a)));
    }

    /// Does something to one mesh, and sends what comes of it.
    fn with<T>(&mut self, manager: u16, act: impl FnOnce(&mut Mesh, Instant) -> T) -> T {
        let result = act(self.meshes.get_mut(&m(manager)).unwrap(), self.now);
        self.send();
        result
    }

    fn attach(&mut self, attachment: Attachment) -> Attachment {
        self.with(attachment.manager.0, |mesh, now| mesh.attach(now, attachment))
    }

    fn attach_all(&mut self, attachments: impl IntoIterator<Item = Attachment>) {
        for attachment in attachments {
            self.attach(attachment);
        }
    }

    fn mesh(&self, manager: u16) -> &Mesh {
        &self.meshes[&m(manager)]
    }

    /// The changes that a manager told since this was last asked.
    fn changes(&mut self, manager: u16) -> Vec<Change> {
        self.changes.remove(&m(manager)).unwrap_or_default()
    }

    fn send(&mut self) {
        for (&from, mesh) in &mut self.meshes {
            while let Some((to, message)) = mesh.poll_transmit() {
                self.sent += 1;
                let lost = self.random.below(100) < self.weather.loss_percent;
                let Some(&rtt) = self.links.get(&link(from.0, to.0)) else { continue };
                let mut buffer = [0; MAX_SIGNAL_LEN];
                let length = message.encode(&mut buffer).unwrap();
                assert_eq!(Message::decode(&buffer[..length]).as_ref(), Ok(&message));
                if !lost {
                    let jitter = self.weather.jitter.as_micros() as u64;
                    let delay = rtt / 2 + Duration::from_micros(self.random.below(jitter + 1));
                    self.on_the_way.insert((self.now + delay, self.sent), (from, to, message));
                }
            }
            self.changes.entry(from).or_default().extend(std::iter::from_fn(|| mesh.poll_change()));
        }
    }

    /// The next thing that happens, unless it is later than `end`.
    fn step(&mut self, end: Instant) -> bool {
        let timeout = self.meshes.values().filter_map(Mesh::poll_timeout).min();
        let arrival = self.on_the_way.first_key_value().map(|(&(at, _), _)| at);
        let Some(next) = timeout.into_iter().chain(arrival).min().filter(|&next| next <= end) else { return false };
        assert!(next >= self.now, "a timeout in the past");
        self.now = next;
        if arrival == Some(next) {
            let (_, (from, to, message)) = self.on_the_way.pop_first().unwrap();
            let mesh = self.meshes.get_mut(&to).unwrap();
            match message {
                Message::Flood(flood) => mesh.handle_flood(next, from, flood),
                Message::FloodAck(ack) => mesh.handle_flood_ack(next, from, ack),
                other => panic!("{other:?} on a link"),
            }
        } else {
            self.meshes.values_mut().for_each(|mesh| mesh.handle_timeout(next));
        }
        self.send();
        true
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until nobody has anything to say any more, and says how many messages that took.
    fn settle(&mut self) -> u64 {
        let (before, deadline) = (self.sent, self.now + Duration::from_secs(60));
        let wakes_soon = |mesh: &Mesh| mesh.poll_timeout().is_some_and(|at| at < deadline);
        while !self.on_the_way.is_empty() || self.meshes.values().any(wakes_soon) {
            assert!(self.step(deadline), "not quiet after a minute");
        }
        self.sent - before
    }

    /// The managers that links connect with `start`.
    fn island(&self, start: ManagerId) -> BTreeSet<ManagerId> {
        let mut island = BTreeSet::from([start]);
        for _ in 0..self.meshes.len() {
            for &(a, b) in self.links.keys() {
                if island.contains(&a) || island.contains(&b) {
                    island.extend([a, b]);
                }
            }
        }
        island
    }

    /// All managers that links connect know the same, and reach each other without going in circles.
    fn assert_agreement(&self) {
        for (&from, mesh) in &self.meshes {
            let island = self.island(from);
            for &to in &island {
                let other = &self.meshes[&to];
                assert!(mesh.attachments().eq(other.attachments()), "{from} and {to} disagree");
                assert_eq!(mesh.state_of(from), other.state_of(from), "the state of {from} as {to} sees it");
                assert_eq!(mesh.path_rtt(to), other.path_rtt(from), "between {from} and {to}");
                self.assert_path(from, to);
            }
            for outside in self.meshes.keys().filter(|manager| !island.contains(manager)) {
                assert_eq!(mesh.next_hop(*outside), None, "from {from} to {outside} without a link");
            }
        }
    }

    fn assert_path(&self, from: ManagerId, to: ManagerId) {
        let (mut here, mut hops) = (from, 0);
        while here != to {
            let next = self.meshes[&here].next_hop(to);
            here = next.unwrap_or_else(|| panic!("{here} has no next hop from {from} to {to}"));
            hops += 1;
            assert!(hops < self.meshes.len(), "a circle between {from} and {to}");
        }
    }
}
