//! The manager as a node of the overlay: forwarder, mesh and the liveness of every link, put together. Pure.
//!
//! Three things meet here. The forwarder knows tunnels and next hops but not why a packet goes there; the mesh knows which
//! manager carries which endpoint but neither tunnels nor probes; liveness knows one link. This file carries news from
//! one to the other; `endpoints` talks with the endpoints.

mod doors;
mod endpoints;
mod figures;
mod record;
mod roster;
mod sightings;
mod silence;
mod status;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use festoon_control::mesh::{Change, Mesh};
use festoon_dataplane::forwarder::{HANDSHAKES_AT_ONCE, Neighbour, Place, RouterArrival, RouterForwarder};
use festoon_dataplane::liveness::{Action, Liveness, Verdict};
use festoon_dataplane::packet::offload::VnetHeader;
use festoon_dataplane::{Effects, Node, UnderlayPath, split_datagrams};
use festoon_proto::map::{ManagerMap, ManagerMapDelta, MapVersion};
use festoon_proto::signal::{ManagerState, Message, Probe, ProbeReply};
use festoon_proto::{Attachment, EndpointId, ManagerId, PrivateKey};

use doors::Doors;
use roster::Roster;
use sightings::{Absent, Sightings};
use silence::Silence;

pub use figures::{Carried, Figures, Other};
pub use sightings::{Ending, Seen, Sighting, Step, Suspicion, word_of_move};
pub use status::{EndpointStatus, ManagerStatus, Status};
pub use tally::Tally;

/// Probes of endpoints a manager wants to answer in a second. More endpoints are asked to probe less often.
const PROBES_PER_SECOND: usize = 20_000;

/// The keys of a node's tunnels and links.
#[derive(Debug, Clone)]
pub struct NodeKeys {
    /// The one it starts handshakes with.
    pub key: PrivateKey,
    /// The one it had before, while it answers to that too.
    pub former: Option<PrivateKey>,
}

/// What a node is made of.
#[derive(Debug)]
pub struct NodeConfig {
    /// Its keys.
    pub keys: NodeKeys,
    /// Its id.
    pub manager: ManagerId,
    /// Where its link states begin: Unix milliseconds at the start.
    pub link_sequence: u64,
}

/// How the node answers.
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// What the rest of the program asks of it.
pub enum Command {
    /// A whole new map.
    SetMap(Box<ManagerMap>),
    /// A change of the map. `false` if the node has another map than the change begins at, and needs a whole one.
    ChangeMap(Box<ManagerMapDelta>, Reply<bool>),
    /// Use other keys. Sessions with one that stays live on, and move to the new one by and by.
    SetKeys(NodeKeys),
    /// Take no more endpoints, or take them again.
    SetDraining(bool),
    /// Take no more endpoints, and say [`Event::Drained`] with this number once the last agent has left.
    Drain(u32),
    /// End the session with this endpoint, and carry it no more until it comes back.
    Disconnect(EndpointId),
    /// How are you, and the endpoints with these ids?
    Status(Vec<EndpointId>, Reply<Status>),
    /// What did you count and measure, without single endpoints?
    Figures(Reply<Figures>),
    /// And of some of those that you carry: those behind this one, at most so many?
    Carried(Option<EndpointId>, usize, Reply<Vec<Carried>>),
}

/// What it tells the rest of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The last agent has left, as the [`Command::Drain`] of this number wanted to know.
    Drained(u32),
    /// Something happened that is worth a record.
    Seen(Sighting),
}

/// The node.
#[derive(Debug)]
pub struct ManagerNode {
    me: ManagerId,
    forwarder: RouterForwarder,
    mesh: Mesh,
    links: BTreeMap<ManagerId, Liveness>,
    /// When the endpoints of a manager were last told that it is suspected.
    warned_at: BTreeMap<ManagerId, Instant>,
    roster: Roster,
    draining: bool,
    /// The drain whose end is to be told.
    awaited: Option<u32>,
    events: VecDeque<Event>,
    sightings: Sightings,
    doors: Doors,
    silence: Silence,
    absent: Absent,
    /// The latest time anyone told.
    now: Instant,
    /// The managers of `links` while these change; empty otherwise. Kept, for it is wanted for every packet of a link.
    settling: Vec<ManagerId>,
}

impl ManagerNode {
    /// A node that starts from `map`.
    pub fn new(config: &NodeConfig, map: ManagerMap, now: Instant) -> Self {
        let mut node = Self {
            me: config.manager,
            forwarder: RouterForwarder::new(&config.keys.key),
            mesh: Mesh::new(config.manager, config.link_sequence),
            links: BTreeMap::new(),
            warned_at: BTreeMap::new(),
            roster: Roster::default(),
            draining: false,
            awaited: None,
            events: VecDeque::new(),
            sightings: Sightings::default(),
            doors: Doors::default(),
            silence: Silence::new(now),
            absent: Absent::new(now, map.managers.iter().map(|manager| manager.id)),
            now,
            settling: Vec::new(),
        };
        node.set_keys(&config.keys);
        node.set_map(now, map);
        node
    }

    fn set_keys(&mut self, keys: &NodeKeys) {
        self.forwarder.set_keys(&keys.key, keys.former.as_ref());
    }

    /// Which manager carries an endpoint, as far as this one knows.
    pub fn attachment(&self, endpoint: EndpointId) -> Option<Attachment> {
        self.mesh.attachment(endpoint)
    }

    fn set_map(&mut self, now: Instant, map: ManagerMap) {
        let delta = self.roster.way_to(map);
        self.change_map(now, &delta);
    }

    /// Takes over a change of the map, unless it begins at another.
    fn change_map(&mut self, now: Instant, delta: &ManagerMapDelta) -> bool {
        if delta.base != self.roster.version() {
            return false;
        }
        // While the roster still has their networks.
        for &endpoint in &delta.endpoints.removed {
            self.see_removed(now, endpoint);
        }
        self.forget_odd_generations(delta);
        self.forwarder.change_map(delta);
        self.roster.change(delta);
        self.set_links(now, delta);
        self.mesh.forget_endpoints(delta.endpoints.removed.iter().copied());
        // An endpoint may be attached already when it appears here, by a manager whose map is newer.
        for endpoint in &delta.endpoints.put {
            self.set_place(endpoint.id);
        }
        true
    }

    /// An endpoint with a new key begins anew, if somebody with the one before brought its generation to where no sound
    /// endpoint gets.
    fn forget_odd_generations(&mut self, delta: &ManagerMapDelta) {
        let is_odd = |id| self.mesh.generation(id).is_some_and(|generation| !generation.may_be_first());
        let has_new_key = |id, key| self.forwarder.key_of(id).is_some_and(|before| before != key);
        let put = delta.endpoints.put.iter();
        let odd = put.filter(|info| has_new_key(info.id, &info.public_key) && is_odd(info.id)).map(|info| info.id);
        self.mesh.forget_endpoints(odd.collect::<Vec<_>>());
    }

    fn set_links(&mut self, now: Instant, delta: &ManagerMapDelta) {
        let interval = Duration::from_millis(u64::from(delta.timing.probe_interval_ms));
        for link in self.links.values_mut() {
            link.set_interval(interval);
        }
        let Some(managers) = &delta.managers else { return };
        let others = managers.iter().map(|manager| manager.id).filter(|&id| id != self.me);
        let mut before = std::mem::take(&mut self.links);
        self.links =
            others.map(|id| (id, before.remove(&id).unwrap_or_else(|| Liveness::new(interval, now)))).collect();
        self.mesh.set_managers(now, self.roster.managers());
        self.set_paths();
    }

    fn set_paths(&mut self) {
        let paths = self.roster.managers().filter_map(|to| Some((to, self.mesh.next_hop(to)?)));
        self.forwarder.set_paths(paths);
    }

    fn set_place(&mut self, endpoint: EndpointId) {
        let place = match self.mesh.attachment(endpoint).map(|attachment| attachment.manager) {
            None => Place::Nowhere,
            Some(manager) if manager == self.me => Place::Here,
            Some(manager) => Place::At(manager),
        };
        self.forwarder.set_place(endpoint, place);
    }

    fn set_draining(&mut self, now: Instant, draining: bool) {
        self.draining = draining;
        self.awaited = self.awaited.filter(|_| draining);
        self.mesh.set_draining(now, draining);
    }

    fn report_drained(&mut self) {
        if self.awaited.is_some() && !self.carried_here().iter().any(|&id| self.roster.is_agent(id)) {
            self.events.extend(self.awaited.take().map(Event::Drained));
        }
    }

    fn carried_here(&self) -> &BTreeSet<EndpointId> {
        self.mesh.carried_by(self.me)
    }

    fn handle_arrival(&mut self, now: Instant, arrival: RouterArrival, effects: &mut Effects) {
        match arrival {
            RouterArrival::Nothing => {}
            RouterArrival::Heard(manager) => {
                if let Some(link) = self.links.get_mut(&manager) {
                    link.handle_traffic(now);
                }
            }
            RouterArrival::Established(manager) => {
                if let Some(link) = self.links.get_mut(&manager) {
                    link.handle_session(now);
                }
            }
            RouterArrival::ClientHere(endpoint) => self.attach_client(now, endpoint),
            RouterArrival::Signal(Neighbour::Endpoint(endpoint), message) => {
                self.handle_endpoint(now, endpoint, &message, effects);
            }
            RouterArrival::Signal(Neighbour::Manager(manager), message) => {
                self.handle_manager(now, manager, message, effects);
            }
        }
    }

    fn handle_manager(&mut self, now: Instant, manager: ManagerId, message: Message, effects: &mut Effects) {
        let Some(link) = self.links.get_mut(&manager) else { return };
        link.handle_traffic(now);
        match message {
            Message::Probe(probe) => {
                let to = Neighbour::Manager(manager);
                let reply = self.answer(probe, self.roster.version(), None, to);
                self.forwarder.signal(to, &reply, effects);
            }
            Message::ProbeReply(reply) => {
                link.handle_answer(now, reply.sequence);
                if let (true, Some(rtt)) = (link.is_alive(), link.rtt()) {
                    self.judge(now, manager, effects);
                    self.mesh.handle_link_rtt(now, manager, rtt);
                }
            }
            Message::Flood(flood) => self.mesh.handle_flood(now, manager, flood),
            Message::FloodAck(ack) => self.mesh.handle_flood_ack(now, manager, ack),
            // The rest is between endpoints and managers.
            _ => {}
        }
    }

    fn answer(&self, probe: Probe, map_version: MapVersion, attachment: Option<Attachment>, to: Neighbour) -> Message {
        Message::ProbeReply(ProbeReply {
            sequence: probe.sequence,
            state: if self.draining { ManagerState::Draining } else { ManagerState::Serving },
            probe_interval_ms: self.probe_interval_ms(),
            map_version,
            attachment,
            observed: self.forwarder.neighbour(to).and_then(|stats| stats.underlay),
        })
    }

    /// The shortest interval between probes that this manager wants of endpoints.
    fn probe_interval_ms(&self) -> u32 {
        let busy = self.carried_here().len() * 1000 / PROBES_PER_SECOND;
        self.roster.timing().probe_interval_ms.max(u32::try_from(busy).unwrap_or(u32::MAX))
    }

    fn judge(&mut self, now: Instant, manager: ManagerId, effects: &mut Effects) {
        while let Some(verdict) = self.links.get_mut(&manager).and_then(Liveness::poll_verdict) {
            match verdict {
                Verdict::Alive => {
                    let rtt = self.links.get(&manager).and_then(Liveness::rtt).unwrap_or_default();
                    self.sightings.add(now, Seen::LinkUp(manager, rtt));
                    self.mesh.handle_link_up(now, manager, rtt);
                }
                Verdict::Dead => {
                    self.sightings.add(now, Seen::LinkDown(manager));
                    self.mesh.handle_link_down(now, manager);
                }
                Verdict::Suspected => self.warn_early(now, manager, effects),
            }
        }
    }

    /// Carries out what the parts decided, until none has anything left to say.
    fn settle(&mut self, now: Instant, effects: &mut Effects) {
        self.now = now;
        let mut managers = std::mem::take(&mut self.settling);
        managers.extend(self.links.keys());
        for &manager in &managers {
            self.judge(now, manager, effects);
        }
        self.apply_changes(now, effects);
        while let Some((to, message)) = self.mesh.poll_transmit() {
            self.forwarder.signal(Neighbour::Manager(to), &message, effects);
        }
        for manager in managers.drain(..) {
            while let Some(action) = self.links.get_mut(&manager).and_then(Liveness::poll_action) {
                match action {
                    Action::Probe(sequence) => {
                        let probe = Message::Probe(Probe { sequence });
                        self.forwarder.signal(Neighbour::Manager(manager), &probe, effects);
                    }
                    Action::Handshake => self.forwarder.initiate(manager, effects),
                }
            }
        }
        self.settling = managers;
    }

    fn apply_changes(&mut self, now: Instant, effects: &mut Effects) {
        let mut moved = false;
        while let Some(change) = self.mesh.poll_change() {
            match change {
                Change::Endpoint(endpoint) => {
                    self.set_place(endpoint);
                    if !self.carried_here().contains(&endpoint) {
                        self.silence.forget(endpoint);
                    }
                    moved = true;
                }
                Change::Paths => self.set_paths(),
                Change::ManagerLost(manager) => {
                    self.warn(self.agents_of(manager), manager, effects);
                    self.see_lost(now, manager);
                }
                Change::ManagerReturned(manager) => self.see_returned(now, manager),
            }
        }
        if moved {
            self.report_drained();
        }
    }
}

impl Node for ManagerNode {
    type Command = Command;
    type Event = Event;

    fn handle_underlay(
        &mut self,
        now: Instant,
        path: UnderlayPath,
        datagrams: &[u8],
        stride: usize,
        effects: &mut Effects,
    ) {
        for datagram in split_datagrams(datagrams, stride) {
            let arrival = self.forwarder.handle_underlay(now, path, datagram, effects);
            if arrival != RouterArrival::Nothing {
                self.handle_arrival(now, arrival, effects);
                // Before the next datagram of the batch: it may go where this message said.
                self.settle(now, effects);
            }
        }
    }

    /// A manager has no device.
    fn handle_overlay(&mut self, _: Instant, _: &VnetHeader, _: &mut [u8], _: &mut Effects) {}

    fn handle_unreachable(&mut self, now: Instant, to: SocketAddr, effects: &mut Effects) {
        let managers: Vec<ManagerId> = self.forwarder.managers_at(to).collect();
        for manager in managers {
            if let Some(link) = self.links.get_mut(&manager) {
                link.handle_hint(now);
            }
        }
        self.settle(now, effects);
    }

    fn handle_timeout(&mut self, now: Instant, effects: &mut Effects) {
        for _ in 0..HANDSHAKES_AT_ONCE {
            let Some(arrival) = self.forwarder.handle_handshake(now, effects) else { break };
            self.handle_arrival(now, arrival, effects);
        }
        for link in self.links.values_mut() {
            link.handle_timeout(now);
        }
        if self.mesh.poll_timeout().is_some_and(|at| at <= now) {
            self.mesh.handle_timeout(now);
        }
        self.forwarder.handle_timeout(now, effects);
        self.listen(now);
        self.settle(now, effects);
    }

    fn handle_command(&mut self, now: Instant, command: Command, effects: &mut Effects) {
        match command {
            Command::SetMap(map) => self.set_map(now, *map),
            Command::ChangeMap(delta, done) => done(self.change_map(now, &delta)),
            Command::SetKeys(keys) => self.set_keys(&keys),
            Command::SetDraining(draining) => self.set_draining(now, draining),
            Command::Drain(number) => {
                self.set_draining(now, true);
                self.awaited = Some(number);
                self.report_drained();
            }
            Command::Disconnect(endpoint) => self.disconnect(now, endpoint),
            Command::Status(ids, reply) => reply(self.status(now, &ids)),
            Command::Figures(reply) => reply(self.figures()),
            Command::Carried(after, limit, reply) => reply(self.carried(now, after, limit)),
        }
        self.settle(now, effects);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let links = self.links.values().map(Liveness::poll_timeout);
        let silence = (!self.carried_here().is_empty()).then(|| self.silence.poll_timeout());
        let others = self.mesh.poll_timeout().into_iter().chain(self.forwarder.poll_timeout()).chain(silence);
        links.chain(others).min()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| self.sightings.pop(self.now).map(Event::Seen))
    }
}
