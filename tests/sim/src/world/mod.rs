//! Hosts, the underlay between them, and one virtual clock for all.

mod faults;
mod host;
mod keys;
mod traffic;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use festoon_dataplane::batch::Coalesce;
use festoon_dataplane::tunnel::clock;
use festoon_dataplane::{Effects, Node, UnderlayPath};
use festoon_endpoint::node::{self as endpoint, EndpointNode};
use festoon_manager::node::{self as manager, ManagerNode};
use festoon_proto::{Attachment, EndpointId, Generation, ManagerId};

use crate::cluster::{Agent, Cluster};
use crate::fault::Fault;
use crate::observation::{Observation, Sent};
use crate::random::Random;
use crate::underlay::{Conditions, Underlay};
use host::{Host, Input, Power, Program, Told};
use traffic::Flow;

/// A node whose timer fires so often while the clock stands still does not get on.
const MAX_TURNS: u32 = 1000;
/// Datagrams that wait for a frozen node; its socket buffer holds no more.
const MAX_INBOX: usize = 4096;

/// A node of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeId {
    /// A manager.
    Manager(ManagerId),
    /// An endpoint.
    Endpoint(EndpointId),
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manager(id) => id.fmt(f),
            Self::Endpoint(id) => id.fmt(f),
        }
    }
}

#[derive(Debug)]
enum Event {
    Datagram {
        sender: NodeId,
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Unreachable {
        told: NodeId,
        to: SocketAddr,
    },
    Flow(usize),
    Fault(Fault),
    /// A node hears what the cluster looks like now.
    News(NodeId),
}

/// A simulated world. Times are counted from its beginning.
#[derive(Debug)]
pub struct World {
    cluster: Cluster,
    start: Instant,
    now: Duration,
    random: Random,
    underlay: Underlay,
    hosts: BTreeMap<NodeId, Host>,
    addresses: BTreeMap<SocketAddr, NodeId>,
    queue: BTreeMap<(Duration, u64), Event>,
    next_event: u64,
    flows: Vec<Flow>,
    sent: Vec<Sent>,
    observations: Vec<(Duration, Observation)>,
    effects: Effects,
    digest: u64,
    last_fault: Duration,
    last_damage: Duration,
    last_move: Duration,
    stuck: Option<NodeId>,
}

impl World {
    /// A world in which all nodes of `cluster` start at once.
    pub fn new(seed: u64, cluster: Cluster, conditions: Conditions) -> Self {
        let mut random = Random::new(seed);
        let mut world = Self {
            start: base(),
            now: Duration::ZERO,
            underlay: Underlay::new(conditions, random.fork()),
            random,
            hosts: BTreeMap::new(),
            addresses: BTreeMap::new(),
            queue: BTreeMap::new(),
            next_event: 0,
            flows: Vec::new(),
            sent: Vec::new(),
            observations: Vec::new(),
            effects: Effects::new(64, Coalesce::None),
            digest: 0,
            last_fault: Duration::ZERO,
            last_damage: Duration::ZERO,
            last_move: Duration::ZERO,
            stuck: None,
            cluster,
        };
        for manager in world.cluster.managers().collect::<Vec<_>>() {
            let node = world.new_manager(manager, faults::EPOCH);
            world.add(NodeId::Manager(manager), node, Cluster::manager_address(manager));
        }
        for agent in world.cluster.agents().to_vec() {
            let node = world.new_endpoint(&agent);
            world.add(NodeId::Endpoint(agent.id), node, endpoint_address(agent.id, 0));
        }
        world
    }

    /// The cluster it simulates.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The time.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The underlay.
    pub fn underlay(&mut self) -> &mut Underlay {
        &mut self.underlay
    }

    /// How good the underlay is.
    pub fn conditions(&self) -> &Conditions {
        self.underlay.conditions()
    }

    /// What was seen so far and when.
    pub fn observations(&self) -> &[(Duration, Observation)] {
        &self.observations
    }

    /// A number that differs if anything went differently.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// A node that runs without end while the clock stands still.
    pub fn stuck(&self) -> Option<NodeId> {
        self.stuck
    }

    /// Managers that run.
    pub fn running_managers(&self) -> impl Iterator<Item = ManagerId> + '_ {
        self.hosts.iter().filter(|(_, host)| host.power == Power::On).filter_map(|(&id, _)| match id {
            NodeId::Manager(id) => Some(id),
            NodeId::Endpoint(_) => None,
        })
    }

    /// What a manager knows of an endpoint; nothing while it is dead.
    pub fn attachment(&self, manager: ManagerId, endpoint: EndpointId) -> Option<Attachment> {
        match self.hosts.get(&NodeId::Manager(manager)) {
            Some(Host { program: Program::Manager(node), power: Power::On | Power::Frozen, .. }) => {
                node.attachment(endpoint)
            }
            _ => None,
        }
    }

    /// The manager an endpoint uses, and the generation of that.
    pub fn active(&self, endpoint: EndpointId) -> (Option<ManagerId>, Generation) {
        match self.hosts.get(&NodeId::Endpoint(endpoint)) {
            Some(Host { program: Program::Endpoint(node), .. }) => (node.active(), node.generation()),
            _ => (None, Generation::default()),
        }
    }

    /// Packets that a node dropped, by reason.
    pub fn drops(&mut self, id: NodeId) -> Vec<(String, u64)> {
        let instant = self.start + self.now;
        let Some(host) = self.hosts.get_mut(&id) else { return Vec::new() };
        let (answer, drops) = std::sync::mpsc::channel();
        match &mut host.program {
            Program::Manager(node) => {
                let reply = move |status: manager::Status| answer.send(status.drops).unwrap_or_default();
                // Only drops are of interest.
                let nobody = Vec::new();
                node.handle_command(instant, manager::Command::Status(nobody, Box::new(reply)), &mut self.effects);
            }
            Program::Endpoint(node) => {
                let reply = move |status: endpoint::status::Status| answer.send(status.drops).unwrap_or_default();
                node.handle_command(instant, endpoint::Command::Status(Box::new(reply)), &mut self.effects);
            }
        }
        self.carry_out(id, None);
        drops.try_recv().unwrap_or_default()
    }

    /// All nodes.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.hosts.keys().copied().collect()
    }

    /// Whether all managers run and no path is cut.
    pub fn is_whole(&self) -> bool {
        self.underlay.is_whole() && self.hosts.values().all(|host| host.power == Power::On)
    }

    /// For how long nothing has begun, ended or been asked for; zero while something is broken.
    pub fn quiet_for(&self) -> Duration {
        if self.is_whole() { self.now - self.last_fault } else { Duration::ZERO }
    }

    /// For how long nothing has been broken.
    pub fn whole_for(&self) -> Duration {
        if self.is_whole() { self.now - self.last_damage } else { Duration::ZERO }
    }

    /// For how long no endpoint has moved.
    pub fn settled_for(&self) -> Duration {
        self.now - self.last_move
    }

    /// Lets `time` pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.stuck.is_none() {
            let timer = self.hosts.iter().filter_map(|(&id, host)| Some((host.runs_at()?, id))).min();
            let event = self.queue.first_key_value().map(|(&(at, _), _)| at);
            match (timer, event) {
                (_, Some(at)) if at <= until && timer.is_none_or(|(due, _)| at <= due) => self.run_event(at),
                (Some((due, id)), _) if due <= until => self.run_timer(due, id),
                _ => break,
            }
        }
        self.advance_to(until);
    }

    fn run_event(&mut self, at: Duration) {
        self.advance_to(at);
        let Some((_, event)) = self.queue.pop_first() else { return };
        match event {
            Event::Datagram { sender, from, to, bytes } => self.arrive(sender, from, to, bytes),
            Event::Unreachable { told, to } => self.feed(told, Input::Unreachable(to)),
            Event::Flow(index) => self.continue_flow(index),
            Event::Fault(fault) => self.apply(fault),
            Event::News(id) => self.hear_news(id),
        }
    }

    fn run_timer(&mut self, due: Duration, id: NodeId) {
        self.advance_to(due);
        self.feed(id, Input::Timeout);
        if let Some(host) = self.hosts.get_mut(&id) {
            host.turns += 1;
            if host.turns > MAX_TURNS {
                self.stuck = Some(id);
            }
        }
    }

    fn advance_to(&mut self, at: Duration) {
        if at > self.now {
            clock::advance(at - self.now);
            self.now = at;
            self.hosts.values_mut().for_each(|host| host.turns = 0);
        }
    }

    fn arrive(&mut self, sender: NodeId, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let Some(&id) = self.addresses.get(&to) else { return };
        if self.hosts.get(&id).is_some_and(|host| host.power == Power::Off { icmp: true }) {
            let back: Vec<_> = self.underlay.transit(id, sender).collect();
            for delay in back {
                self.schedule(delay, Event::Unreachable { told: sender, to });
            }
            return;
        }
        let path = UnderlayPath { remote: from, local: Some(to.ip()) };
        self.feed(id, Input::Datagram { path, bytes });
    }

    /// Hands something to a node, or keeps it for one that is frozen, and carries out what the node decides.
    fn feed(&mut self, id: NodeId, input: Input) {
        let instant = self.start + self.now;
        let Some(host) = self.hosts.get_mut(&id) else { return };
        match host.power {
            Power::Off { .. } => return,
            Power::Frozen => {
                if host.inbox.len() < MAX_INBOX {
                    host.inbox.push(input);
                }
                return;
            }
            Power::On => {}
        }
        let cause = match &input {
            Input::Datagram { path, .. } => Some(path.remote),
            _ => None,
        };
        host.feed(instant, input, &mut self.effects);
        self.carry_out(id, cause);
    }

    /// Sends, delivers and records what a node just decided. `cause` is where the datagram came from that made it.
    fn carry_out(&mut self, id: NodeId, cause: Option<SocketAddr>) {
        let (start, now) = (self.start, self.now);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        host.wind(start, now);
        let from = host.address;
        let told: Vec<Told> = std::iter::from_fn(|| host.poll_event()).collect();
        let mut datagrams = Vec::with_capacity(self.effects.underlay.len());
        for group in self.effects.underlay.groups() {
            datagrams.extend(group.datagrams().map(|datagram| (group.path.remote, datagram.to_vec())));
        }
        let packets: Vec<Vec<u8>> = self.effects.overlay.packets().map(|packet| packet.bytes.to_vec()).collect();
        self.effects.underlay.clear();
        self.effects.overlay.clear();
        for (to, bytes) in datagrams {
            self.transmit(id, from, to, &bytes);
        }
        for packet in packets {
            self.deliver(id, cause, &packet);
        }
        for told in told {
            self.note(id, &told);
        }
    }

    fn transmit(&mut self, sender: NodeId, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(&receiver) = self.addresses.get(&to) else { return };
        self.mix(&[self.now.as_nanos() as u64, u64::from(from.port()), bytes.len() as u64]);
        let delays: Vec<_> = self.underlay.transit(sender, receiver).collect();
        for delay in delays {
            self.schedule(delay, Event::Datagram { sender, from, to, bytes: bytes.to_vec() });
        }
    }

    fn note(&mut self, id: NodeId, told: &Told) {
        let observation = match (id, told) {
            (NodeId::Endpoint(endpoint), Told::Endpoint(endpoint::Event::Moved { from, to, why })) => {
                self.last_move = self.now;
                Observation::Moved { endpoint, from: *from, to: *to, why: *why }
            }
            (NodeId::Endpoint(endpoint), Told::Endpoint(endpoint::Event::NoManager)) => {
                self.last_move = self.now;
                Observation::NoManager(endpoint)
            }
            (NodeId::Manager(manager), Told::Manager(manager::Event::Drained(_))) => Observation::Drained(manager),
            _ => return,
        };
        self.observe(observation);
    }

    fn observe(&mut self, observation: Observation) {
        self.observations.push((self.now, observation));
    }

    fn schedule(&mut self, delay: Duration, event: Event) {
        self.next_event += 1;
        self.queue.insert((self.now + delay, self.next_event), event);
    }

    /// FNV-1a, a word at a time.
    fn mix(&mut self, words: &[u64]) {
        for word in words {
            self.digest = (self.digest ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn add(&mut self, id: NodeId, program: Program, address: SocketAddr) {
        self.addresses.insert(address, id);
        self.hosts.insert(id, Host::new(program, address));
    }

    fn new_manager(&self, manager: ManagerId, link_sequence: u64) -> Program {
        let (key, former) = self.cluster.keys(NodeId::Manager(manager));
        let keys = manager::NodeKeys { key, former };
        let config = manager::NodeConfig { keys, manager, link_sequence };
        let map = self.cluster.manager_map(manager);
        Program::Manager(Box::new(ManagerNode::new(&config, map, self.start + self.now)))
    }

    fn new_endpoint(&self, agent: &Agent) -> Program {
        let (private_key, _) = self.cluster.keys(NodeId::Endpoint(agent.id));
        let config =
            endpoint::NodeConfig { private_key, generation: Generation::first_of_boot(1), only_measures: false };
        let map = self.cluster.endpoint_map(agent);
        Program::Endpoint(Box::new(EndpointNode::new(&config, map, self.start + self.now)))
    }
}

/// Where an endpoint is after it has roamed so often.
fn endpoint_address(endpoint: EndpointId, roamed: u8) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(198, 51, roamed, endpoint.0 as u8).into(), 40_000)
}

#[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
fn base() -> Instant {
    Instant::now()
}
