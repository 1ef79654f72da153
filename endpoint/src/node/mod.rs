//! The endpoint as a node: forwarder, liveness of every manager, and the choice among them, put together. Pure.

pub mod measure;
pub mod status;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use festoon_dataplane::forwarder::{HANDSHAKES_AT_ONCE, HostArrival, HostForwarder};
use festoon_dataplane::liveness::{Action, Liveness, Verdict};
use festoon_dataplane::packet::offload::VnetHeader;
use festoon_dataplane::{Effects, Node, UnderlayPath, split_datagrams};
use festoon_proto::map::{EndpointMap, MapVersion};
use festoon_proto::signal::{Attach, Detach, Message, Probe, ProbeReply};
use festoon_proto::{Generation, ManagerId, PrivateKey};

pub use festoon_proto::signal::MoveReason;

use crate::uplink::{Change, Uplink};
use measure::{Measure, Measurements};
use status::Status;

/// A spare is probed this many times less often than the active manager.
const SPARE_FACTOR: u32 = 10;

/// What a node is made from.
#[derive(Debug)]
pub struct NodeConfig {
    /// Its identity.
    pub private_key: PrivateKey,
    /// The first generation of this start.
    pub generation: Generation,
    /// Keep away from managers' decisions: have sessions with them and measure, but be carried by none.
    pub only_measures: bool,
}

/// The keys of an endpoint's tunnels.
#[derive(Debug, Clone)]
pub struct NodeKeys {
    /// The one it starts handshakes with.
    pub key: PrivateKey,
    /// The one it had before, while sessions with that are good.
    pub former: Option<PrivateKey>,
}

/// What the shell asks of the node.
pub enum Command {
    /// A newer map.
    SetMap(Arc<EndpointMap>),
    /// Other keys. Sessions with one that stays live on, and move to the new one.
    SetKeys(NodeKeys),
    /// An address or route of the host changed.
    UnderlayChanged,
    /// Tell the manager that the endpoint goes.
    Detach,
    /// Report.
    Status(Box<dyn FnOnce(Status) + Send>),
    /// Ask a manager for a sign of life.
    Measure(Measure),
}

/// What the node tells the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A manager has a newer map.
    MapOutdated(MapVersion),
    /// Another manager carries the endpoint now.
    Moved {
        /// Before.
        from: Option<ManagerId>,
        /// Now.
        to: ManagerId,
        /// Why.
        why: MoveReason,
    },
    /// No manager answers.
    NoManager,
}

/// The node.
#[derive(Debug)]
pub struct EndpointNode {
    forwarder: HostForwarder,
    uplink: Uplink,
    liveness: BTreeMap<ManagerId, Liveness>,
    measurements: Measurements,
    /// What each manager last saw of us.
    observed: BTreeMap<ManagerId, SocketAddr>,
    /// It has no manager, and wants none: it only measures, or is about to end.
    is_detached: bool,
    map: Arc<EndpointMap>,
    /// The interval the active manager asks for, if it is longer than the map's.
    asked_interval: Duration,
    newest_map: MapVersion,
    /// How long the manager before the active one had been silent when it was left.
    gap: Option<Duration>,
    /// How often another manager took over. Every reason is there.
    moves: Vec<(MoveReason, u64)>,
    /// How often no manager answered any more.
    losses: u64,
    events: VecDeque<Event>,
    /// The managers of `liveness` while these change; empty otherwise. Kept, for it is wanted for every batch.
    settling: Vec<ManagerId>,
}

impl EndpointNode {
    /// A node that starts from `map`.
    pub fn new(config: &NodeConfig, map: Arc<EndpointMap>, now: Instant) -> Self {
        let mut node = Self {
            forwarder: HostForwarder::new(&config.private_key),
            uplink: Uplink::new(config.generation),
            liveness: BTreeMap::new(),
            measurements: Measurements::default(),
            observed: BTreeMap::new(),
            is_detached: config.only_measures,
            newest_map: map.version,
            map: Arc::clone(&map),
            asked_interval: Duration::ZERO,
            gap: None,
            moves: MoveReason::ALL.iter().map(|reason| (*reason, 0)).collect(),
            losses: 0,
            events: VecDeque::new(),
            settling: Vec::new(),
        };
        node.set_map(now, map);
        node
    }

    /// The manager that carries the endpoint.
    pub fn active(&self) -> Option<ManagerId> {
        self.uplink.active()
    }

    /// Of the attachment now.
    pub fn generation(&self) -> Generation {
        self.uplink.generation()
    }

    fn set_map(&mut self, now: Instant, map: Arc<EndpointMap>) {
        self.forwarder.set_map(&map);
        let mut before = std::mem::take(&mut self.liveness);
        for manager in &map.managers {
            let kept = before.remove(&manager.id);
            self.liveness.insert(manager.id, kept.unwrap_or_else(|| Liveness::new(Duration::ZERO, now)));
        }
        let hold_down = Duration::from_millis(u64::from(map.timing.hold_down_ms));
        let managers = map.managers.iter().map(|manager| (manager.id, manager.priority));
        self.uplink.set_managers(now, hold_down, managers);
        self.observed.retain(|manager, _| self.liveness.contains_key(manager));
        self.newest_map = self.newest_map.max(map.version);
        self.map = map;
        self.set_intervals();
    }

    fn set_intervals(&mut self) {
        let declared = Duration::from_millis(u64::from(self.map.timing.probe_interval_ms));
        let interval = declared.max(self.asked_interval);
        let active = self.uplink.active();
        for (&manager, liveness) in &mut self.liveness {
            let is_active = active == Some(manager);
            liveness.set_interval(if is_active { interval } else { interval * SPARE_FACTOR });
        }
    }

    fn handle_arrival(&mut self, now: Instant, arrival: HostArrival) {
        let (manager, message) = match arrival {
            HostArrival::Nothing => return,
            HostArrival::Heard(manager) => (manager, None),
            HostArrival::Established(manager) => {
                if let Some(liveness) = self.liveness.get_mut(&manager) {
                    liveness.handle_session(now);
                }
                return;
            }
            HostArrival::Signal(manager, message) => (manager, Some(message)),
        };
        if let Some(liveness) = self.liveness.get_mut(&manager) {
            liveness.handle_traffic(now);
        }
        match message {
            Some(Message::ProbeReply(reply)) => self.handle_reply(now, manager, reply),
            Some(Message::AttachReply(reply)) => self.uplink.handle_attach_reply(now, manager, reply.attachment),
            Some(Message::Suspect(suspect)) => {
                if let Some(liveness) = self.liveness.get_mut(&suspect.manager) {
                    liveness.handle_hint(now);
                }
            }
            // The rest is between managers, or from endpoints to them.
            _ => {}
        }
    }

    fn handle_reply(&mut self, now: Instant, manager: ManagerId, reply: ProbeReply) {
        let Some(liveness) = self.liveness.get_mut(&manager) else { return };
        self.measurements.handle_reply(now, manager, &reply);
        if let Some(observed) = reply.observed {
            self.observed.insert(manager, observed);
        }
        liveness.handle_answer(now, reply.sequence);
        let rtt = liveness.rtt();
        self.uplink.handle_suspected(manager, false);
        // Its verdict comes first: what a dead manager says of itself counts only once it is alive.
        self.judge(now, manager);
        self.uplink.handle_answer(now, manager, reply.state, rtt, reply.attachment);
        if self.uplink.active() == Some(manager) {
            let asked = Duration::from_millis(u64::from(reply.probe_interval_ms));
            if asked != self.asked_interval {
                self.asked_interval = asked;
                self.set_intervals();
            }
        }
        if reply.map_version > self.newest_map {
            self.newest_map = reply.map_version;
            self.events.push_back(Event::MapOutdated(reply.map_version));
        }
    }

    fn judge(&mut self, now: Instant, manager: ManagerId) {
        while let Some(verdict) = self.liveness.get_mut(&manager).and_then(Liveness::poll_verdict) {
            match verdict {
                Verdict::Alive => self.uplink.handle_alive(now, manager),
                Verdict::Dead => self.uplink.handle_dead(now, manager),
                Verdict::Suspected => {
                    self.uplink.handle_suspected(manager, true);
                    if self.uplink.active() == Some(manager) {
                        self.check_spares(now, manager);
                    }
                }
            }
        }
    }

    /// A spare is probed seldom. Before it is needed, find out whether it is still there.
    fn check_spares(&mut self, now: Instant, active: ManagerId) {
        for (_, spare) in self.liveness.iter_mut().filter(|(id, _)| **id != active) {
            spare.handle_hint(now);
        }
    }

    fn silence_of(&self, now: Instant, manager: ManagerId) -> Option<Duration> {
        let heard = self.liveness.get(&manager)?.last_heard()?;
        Some(now.saturating_duration_since(heard))
    }

    /// Sends a probe that somebody asks for. A manager whose address is not known gets none, and so gives no answer.
    fn measure(&mut self, now: Instant, measure: Measure, effects: &mut Effects) {
        let manager = measure.manager;
        let Some(underlay) = self.forwarder.peer(manager).and_then(|peer| peer.underlay()) else { return };
        let payload = measure.payload(underlay);
        let message = Message::Probe(Probe { sequence: self.measurements.begin(now, measure) });
        match payload {
            Some(len) => self.forwarder.signal_whole(manager, &message, len, effects),
            None => self.forwarder.signal(manager, &message, effects),
        }
    }

    /// Carries out what the parts decided, until none has anything left to say.
    fn settle(&mut self, now: Instant, effects: &mut Effects) {
        let mut managers = std::mem::take(&mut self.settling);
        managers.extend(self.liveness.keys());
        for &manager in &managers {
            self.judge(now, manager);
        }
        while let Some(change) = self.uplink.poll_change() {
            self.asked_interval = Duration::ZERO;
            self.forwarder.set_active(self.uplink.active());
            self.set_intervals();
            self.events.push_back(match change {
                Change::Moved { from, to, why } => {
                    self.moves.iter_mut().filter(|(reason, _)| *reason == why).for_each(|(_, count)| *count += 1);
                    self.gap = from.and_then(|from| self.silence_of(now, from));
                    Event::Moved { from, to, why }
                }
                Change::NoManager => {
                    self.losses += 1;
                    Event::NoManager
                }
            });
        }
        while let Some((manager, attach)) = self.uplink.poll_transmit() {
            if self.is_detached {
                continue;
            }
            let gap = self.gap.filter(|_| attach.why != MoveReason::Overtaken);
            let gap_ms = gap.map(|gap| u32::try_from(gap.as_millis()).unwrap_or(u32::MAX));
            self.forwarder.signal(manager, &Message::Attach(Attach { gap_ms, ..attach }), effects);
        }
        for manager in managers.drain(..) {
            while let Some(action) = self.liveness.get_mut(&manager).and_then(Liveness::poll_action) {
                match action {
                    Action::Probe(sequence) => {
                        self.forwarder.signal(manager, &Message::Probe(Probe { sequence }), effects);
                    }
                    Action::Handshake => self.forwarder.initiate(manager, effects),
                }
            }
        }
        self.settling = managers;
    }
}

impl Node for EndpointNode {
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
            self.handle_arrival(now, arrival);
        }
        self.settle(now, effects);
    }

    fn handle_overlay(&mut self, _: Instant, header: &VnetHeader, frame: &mut [u8], effects: &mut Effects) {
        self.forwarder.handle_overlay(header, frame, effects);
    }

    fn handle_unreachable(&mut self, now: Instant, to: SocketAddr, effects: &mut Effects) {
        let managers: Vec<ManagerId> = self.forwarder.managers_at(to).collect();
        for manager in managers {
            if let Some(liveness) = self.liveness.get_mut(&manager) {
                liveness.handle_hint(now);
            }
        }
        self.settle(now, effects);
    }

    fn handle_timeout(&mut self, now: Instant, effects: &mut Effects) {
        for _ in 0..HANDSHAKES_AT_ONCE {
            let Some(arrival) = self.forwarder.handle_handshake(now, effects) else { break };
            self.handle_arrival(now, arrival);
        }
        for liveness in self.liveness.values_mut() {
            liveness.handle_timeout(now);
        }
        if self.uplink.poll_timeout().is_some_and(|at| at <= now) {
            self.uplink.handle_timeout(now);
        }
        self.forwarder.handle_timeout(now, effects);
        self.settle(now, effects);
    }

    fn handle_command(&mut self, now: Instant, command: Command, effects: &mut Effects) {
        match command {
            Command::SetMap(map) => self.set_map(now, map),
            Command::SetKeys(keys) => self.forwarder.set_keys(&keys.key, keys.former.as_ref()),
            Command::UnderlayChanged => {
                self.liveness.values_mut().for_each(|liveness| liveness.handle_change(now));
            }
            Command::Detach => {
                // A manager that says afterwards that it does not carry this endpoint is right.
                self.is_detached = true;
                if let Some(active) = self.uplink.active() {
                    let detach = Message::Detach(Detach { generation: self.uplink.generation() });
                    self.forwarder.signal(active, &detach, effects);
                }
            }
            Command::Status(reply) => reply(self.status(now)),
            Command::Measure(measure) => self.measure(now, measure, effects),
        }
        self.settle(now, effects);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let liveness = self.liveness.values().map(Liveness::poll_timeout);
        liveness.chain(self.uplink.poll_timeout()).chain(self.forwarder.poll_timeout()).min()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
