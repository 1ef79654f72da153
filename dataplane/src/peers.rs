//! Cryptokey routing: which tunnel a datagram is for, and where a tunnel's other end is.
//!
//! A peer is another node this one has a tunnel or link to. Its identity is its key; its underlay address is wherever
//! its last authentic datagram came from, so both ends may change theirs at any time (roaming).
//!
//! A manager knows all endpoints of a cluster, but most of them never speak to it. So a peer *sleeps* until it is needed:
//! a tunnel takes two key agreements to make and more than ten kilobytes to keep, a sleeping peer some hundred bytes. It
//! wakes when this node has something to send to it, or when it shows that it has its key. What must outlive its tunnel, the
//! time of its newest handshake, is kept beside it: an older one is refused for as long as its key is known.
//!
//! Keys change while traffic goes on. A node with a new key of its own has a second line to a peer for a while, and a node
//! with a new key is a second peer, a [`Pair`] with the first. Packets go the old way until a session is there on the new
//! one, and what comes the old way is taken as long as the old key is good: so none is lost.

mod admission;
mod handshakes;
mod own_keys;
mod pair;
mod peer;
mod queue;
mod refusals;
mod stamps;
mod waiting;

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use festoon_proto::address::SIGNAL_PORT;
use festoon_proto::signal::{MAX_SIGNAL_LEN, Message};
use festoon_proto::{PrivateKey, PublicKey};

use crate::batch::UnderlayBatch;
use crate::drop_reason::{DropCounters, DropReason};
use crate::node::UnderlayPath;
use crate::tunnel::{self, Kind, MIN_BUFFER, Opened, Tunnel, sealed_capacity};

pub use pair::{BringOver, Pair};
pub use peer::Peer;

use admission::{Admission, Origin};
use own_keys::{OwnKeys, Place};
use peer::Contact;
use queue::{Queue, Refused};
use refusals::Response;
use stamps::Removed;
use waiting::Waiting;

/// IPv6 and UDP headers in front of a signal message.
const SIGNAL_HEADERS: usize = 48;
/// Peers a node can have at most: each may have two tunnels.
const MAX_PEERS: usize = tunnel::MAX_TUNNELS / 2;
/// Peers whose timers run in one go, at least; more are spread over [`tunnel::TICK`].
const SWEEP: usize = 64;
/// How long a peer that is silent still counts at the address where it was heard.
const LATELY: Duration = Duration::from_secs(15 * 60);

/// A peer's number in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u32);

/// What came of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// The first `len` bytes of the buffer are a packet.
    Packet {
        /// From whom.
        from: PeerId,
        /// How long.
        len: usize,
    },
    /// A signal message.
    Signal {
        /// From whom.
        from: PeerId,
        /// Which.
        message: Message,
    },
    /// A session was made.
    Established(PeerId),
    /// Nothing to carry on, but authentic.
    Keepalive(PeerId),
    /// Nothing: handled here, or dropped and counted.
    Nothing,
}

/// All peers of a node.
#[derive(Debug)]
pub struct Peers<R> {
    own: OwnKeys,
    admission: Admission,
    queue: Queue,
    refused: Refused,
    removed: Removed,
    /// Whether answers leave from the address that was asked.
    pins_local: bool,
    slots: Vec<Option<Peer<R>>>,
    free: Vec<u32>,
    by_key: HashMap<PublicKey, PeerId>,
    /// The numbers of those that do not sleep.
    awake: BTreeSet<u32>,
    signal: Vec<u8>,
    waiting: Waiting,
    /// The lowest number whose timers come next.
    sweep_from: u32,
    next_sweep: Option<Instant>,
}

impl<R> Peers<R> {
    /// No peers yet. A node with several addresses that others connect to sets `pins_local`.
    pub fn new(private_key: &PrivateKey, pins_local: bool) -> Self {
        let own = OwnKeys::new(private_key);
        Self {
            admission: Admission::new(own.used().identity.secret_for("admission")),
            queue: Queue::default(),
            refused: Refused::default(),
            removed: Removed::default(),
            own,
            pins_local,
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            awake: BTreeSet::new(),
            signal: Vec::with_capacity(SIGNAL_HEADERS + MAX_SIGNAL_LEN),
            waiting: Waiting::default(),
            sweep_from: 0,
            next_sweep: None,
        }
    }

    /// The peer with this key.
    pub fn find(&self, key: &PublicKey) -> Option<PeerId> {
        self.by_key.get(key).copied()
    }

    /// The peer at `id`, if it is still there.
    pub fn get(&self, id: PeerId) -> Option<&Peer<R>> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    /// The peer at `id`, to change its role.
    pub fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer<R>> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    /// Starts handshakes with `key` from now on, and answers to those for `former` too. Sessions made with either live on;
    /// those made with any other key are gone.
    pub fn set_keys(&mut self, key: &PrivateKey, former: Option<&PrivateKey>) {
        let gone = self.own.set(key, former);
        let instead = self.own.used().place;
        for place in gone {
            self.removed.forget(place);
            for (number, slot) in (0..).zip(&mut self.slots) {
                let Some(peer) = slot else { continue };
                peer.newest.forget(place);
                peer.cut(place, instead);
                if !peer.is_awake() && self.awake.remove(&number) {
                    uncount(&mut self.admission, &mut peer.contact);
                }
            }
        }
    }

    /// Makes sure that there is a line to the peer at `id` with our key in `place`. Says whether there was none.
    fn wake(&mut self, id: PeerId, place: Place) -> bool {
        let (Some(own), Some(Some(peer))) = (self.own.get(place), self.slots.get_mut(id.0 as usize)) else {
            return false;
        };
        let was_there = peer.lines[place.index()].is_some();
        peer.wake(own, id.0);
        self.awake.insert(id.0);
        !was_there
    }

    /// Undoes [`Peers::wake`] for a peer that turned out to have had no part in it.
    fn put_to_sleep(&mut self, id: PeerId, place: Place) {
        if let Some(peer) = self.get_mut(id) {
            peer.lines[place.index()] = None;
            if !peer.is_awake() {
                self.awake.remove(&id.0);
            }
        }
    }

    /// Adds a peer, or gives one that is there already its new role. Sessions live on. `None` when the table is full.
    pub fn insert(&mut self, key: PublicKey, role: R) -> Option<PeerId> {
        if let Some(id) = self.find(&key) {
            self.get_mut(id)?.role = role;
            return Some(id);
        }
        let index = self.free.pop().or_else(|| u32::try_from(self.slots.len()).ok())?;
        if index as usize >= MAX_PEERS {
            return None;
        }
        let peer = Peer::new(key, role, self.own.used().place, self.removed.take(&key));
        if index as usize == self.slots.len() {
            self.slots.push(Some(peer));
        } else {
            self.slots[index as usize] = Some(peer);
        }
        self.by_key.insert(key, PeerId(index));
        Some(PeerId(index))
    }

    /// Removes a peer and its sessions: nothing of it is accepted any more.
    pub fn remove(&mut self, id: PeerId) {
        if let Some(mut peer) = self.slots.get_mut(id.0 as usize).and_then(Option::take) {
            uncount(&mut self.admission, &mut peer.contact);
            self.removed.keep(peer.key, peer.newest);
            self.by_key.remove(&peer.key);
            self.awake.remove(&id.0);
            drop(self.waiting.take(id.0));
            self.free.push(id.0);
        }
    }

    /// Ends the sessions with a peer and forgets where it was. It may make another, with a new handshake.
    pub fn disconnect(&mut self, id: PeerId) {
        if let Some(Some(peer)) = self.slots.get_mut(id.0 as usize) {
            uncount(&mut self.admission, &mut peer.contact);
            peer.disconnect();
            self.awake.remove(&id.0);
            drop(self.waiting.take(id.0));
        }
    }

    /// Sets where a peer may be found, best first. It stays where it is while it is there.
    pub fn set_candidates(&mut self, id: PeerId, candidates: &[SocketAddr]) {
        if let Some(Peer { contact, .. }) = self.get_mut(id) {
            contact.candidates = candidates.to_vec();
            contact.next_candidate = 0;
            if contact.path.is_none() {
                contact.path = candidates.first().map(|&remote| UnderlayPath { remote, local: None });
            }
        }
    }

    /// Handles a datagram from `path`. A packet in it is decrypted to the start of `plain`, which has
    /// [`sealed_capacity`] for the datagram. Whatever the protocol answers by itself goes to `underlay`.
    pub fn receive(
        &mut self,
        now: Instant,
        path: UnderlayPath,
        datagram: &[u8],
        plain: &mut [u8],
        underlay: &mut UnderlayBatch,
        drops: &mut DropCounters,
    ) -> Received {
        // From the first datagram on there are timers to run.
        self.next_sweep.get_or_insert(now);
        let path = if self.pins_local { path } else { UnderlayPath { local: None, ..path } };
        let received = match tunnel::kind(datagram) {
            Some(kind @ (Kind::Initiation | Kind::Response(_))) => self.meet(now, path, kind, datagram, underlay),
            Some(Kind::Other(index)) => {
                let (number, place) = Place::from_wire(index);
                self.open(now, (PeerId(number), place), path, datagram, plain, underlay)
            }
            None => Err(DropReason::MalformedDatagram),
        };
        match received {
            Ok(received) => received,
            Err(reason) => {
                drops.count(reason);
                Received::Nothing
            }
        }
    }

    fn open(
        &mut self,
        now: Instant,
        (id, place): (PeerId, Place),
        path: UnderlayPath,
        datagram: &[u8],
        plain: &mut [u8],
        underlay: &mut UnderlayBatch,
    ) -> Result<Received, DropReason> {
        let Some(Some(Peer { contact, lines, used, .. })) = self.slots.get_mut(id.0 as usize) else {
            return Err(DropReason::UnknownSession);
        };
        let line = lines[place.index()].as_deref_mut().ok_or(DropReason::UnknownSession)?;
        let opened = line.tunnel.open(path.remote.ip(), datagram, plain);
        if opened.shows_presence() {
            count(&mut self.admission, contact, path);
            contact.path = Some(path);
            contact.last_heard = Some(now);
        }
        if *used != place && line.takes_over(opened) {
            *used = place;
        }
        let received = match opened {
            Opened::Packet(len) => {
                contact.rx_bytes += len as u64;
                match signal_of(line.link_local, contact.link_local, &plain[..len]) {
                    Ok(Some(message)) => Ok(Received::Signal { from: id, message }),
                    Ok(None) => Ok(Received::Packet { from: id, len }),
                    Err(reason) => Err(reason),
                }
            }
            Opened::Reply(len) => {
                underlay.push(path, &plain[..len]);
                Ok(Received::Nothing)
            }
            Opened::Established(len) => {
                line.refusals.handle_session();
                underlay.push(path, &plain[..len]);
                Ok(Received::Established(id))
            }
            Opened::Keepalive => Ok(Received::Keepalive(id)),
            Opened::CookieTaken => {
                self.try_again(now, (id, place), underlay);
                Ok(Received::Nothing)
            }
            Opened::Dropped(reason) => Err(reason),
        };
        if opened.shows_presence() && self.waiting.holds(id.0) {
            self.send_waiting(id, underlay);
        }
        received
    }

    /// Sends what waited for a session, if there is one now.
    fn send_waiting(&mut self, id: PeerId, underlay: &mut UnderlayBatch) {
        if self.get(id).is_some_and(Peer::has_session) {
            for packet in self.waiting.take(id.0) {
                // It was there a moment ago. If not, the packet waits again.
                let _ = self.send(id, &packet, underlay);
            }
        }
    }

    /// Encrypts `packet` for a peer, into `underlay`. Without a session it waits for one, if there is room.
    pub fn send(&mut self, id: PeerId, packet: &[u8], underlay: &mut UnderlayBatch) -> Result<(), DropReason> {
        let peer = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut).ok_or(DropReason::UnknownSession)?;
        let path = peer.contact.path.ok_or(DropReason::NoUnderlayAddress)?;
        let line = match &mut peer.lines[peer.used.index()] {
            Some(line) => line,
            None => {
                let own = self.own.used();
                self.awake.insert(id.0);
                peer.used = own.place;
                peer.wake(own, id.0).1
            }
        };
        if line.tunnel.has_session() {
            let sealed = line.tunnel.seal(packet, underlay.reserve(path, sealed_capacity(packet.len())));
            underlay.commit(sealed.unwrap_or(0));
            peer.contact.tx_bytes += packet.len() as u64;
            return Ok(());
        }
        let len = line.tunnel.begin(underlay.reserve(path, MIN_BUFFER));
        underlay.commit(len);
        if self.waiting.hold(id.0, packet) { Ok(()) } else { Err(DropReason::NoSession) }
    }

    /// Sends a signal message to a peer.
    pub fn signal(&mut self, id: PeerId, message: &Message, underlay: &mut UnderlayBatch) -> Result<(), DropReason> {
        self.signal_padded(id, message, 0, underlay)
    }

    /// As [`Peers::signal`], in a datagram of `len` bytes (UDP payload) if that is more than it takes: zeros follow the packet
    /// inside of the encryption, as WireGuard's own padding does, and the other end cuts them off.
    pub fn signal_padded(
        &mut self,
        id: PeerId,
        message: &Message,
        len: usize,
        underlay: &mut UnderlayBatch,
    ) -> Result<(), DropReason> {
        let peer = self.get(id).ok_or(DropReason::UnknownSession)?;
        let to = peer.contact.link_local;
        // A peer that sleeps is woken with the key of now.
        let own = peer.lines[peer.used.index()].as_ref().map_or(self.own.used().link_local, |line| line.link_local);
        let mut payload = [0; MAX_SIGNAL_LEN];
        let used = message.encode(&mut payload).map_err(|_| DropReason::InvalidSignal)?;
        let mut packet = std::mem::take(&mut self.signal);
        packet.clear();
        let written = PacketBuilder::ipv6(own.octets(), to.octets(), 255)
            .udp(SIGNAL_PORT, SIGNAL_PORT)
            .write(&mut packet, &payload[..used]);
        packet.resize(packet.len().max(len.saturating_sub(tunnel::OVERHEAD)), 0);
        let sent = match written {
            Ok(()) => self.send(id, &packet, underlay),
            Err(_) => Err(DropReason::InvalidSignal),
        };
        self.signal = packet;
        sent
    }

    /// Starts a handshake with a peer, with our key of now and at the next of its addresses.
    pub fn initiate(&mut self, id: PeerId, underlay: &mut UnderlayBatch) {
        if self.get_mut(id).and_then(|peer| peer.contact.next_path()).is_some() {
            self.initiate_there(id, underlay);
        }
    }

    /// Starts a handshake with a peer, with our key of now, where it is. If it has a session with the key before, that goes
    /// on until there is one with this.
    fn initiate_there(&mut self, id: PeerId, underlay: &mut UnderlayBatch) {
        let own = self.own.used();
        let Some(Some(peer)) = self.slots.get_mut(id.0 as usize) else { return };
        let Some(path) = peer.contact.path else { return };
        if !peer.has_session() {
            peer.used = own.place;
        }
        self.awake.insert(id.0);
        let (_, line) = peer.wake(own, id.0);
        let len = line.tunnel.initiate(underlay.reserve(path, MIN_BUFFER));
        underlay.commit(len);
    }

    /// A cookie came for the handshake that we began with our key in `place`.
    fn try_again(&mut self, now: Instant, (id, place): (PeerId, Place), underlay: &mut UnderlayBatch) {
        let (Some(own), Some(Some(peer))) = (self.own.get(place), self.slots.get_mut(id.0 as usize)) else { return };
        let (Some(path), Some(line)) = (peer.contact.path, peer.lines[place.index()].as_mut()) else { return };
        match line.refusals.handle_cookie(now) {
            Response::Wait => return,
            Response::Again => {}
            // What the session carries comes first.
            Response::Later(_) if line.tunnel.has_session() => {}
            Response::Later(by) => {
                tunnel::clock::skip(by);
                line.tunnel = Tunnel::new(&own.identity, &peer.key, own.place.to_wire(id.0));
            }
        }
        let len = line.tunnel.initiate(underlay.reserve(path, MIN_BUFFER));
        underlay.commit(len);
    }

    /// When to call [`Peers::handle_handshake`] and [`Peers::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.queue.since().into_iter().chain(self.next_sweep).min()
    }

    /// Runs the timers of some tunnels; of each of them twice a second. Counts the packets that waited for a session in
    /// vain.
    pub fn handle_timeout(&mut self, now: Instant, underlay: &mut UnderlayBatch, drops: &mut DropCounters) {
        if self.next_sweep.is_some_and(|at| now < at) {
            return;
        }
        drops.count_many(DropReason::NoSession, self.waiting.expire(now));
        let parts = (self.awake.len() / SWEEP).clamp(1, 10);
        self.next_sweep = Some(now + tunnel::TICK / parts as u32);
        let mut part = self.awake.range(self.sweep_from..).copied();
        for number in part.by_ref().take(self.awake.len().div_ceil(parts)) {
            if let Some(peer) = &mut self.slots[number as usize] {
                peer.handle_timeout(underlay);
                if peer.contact.last_heard.is_none_or(|heard| now > heard + LATELY) {
                    uncount(&mut self.admission, &mut peer.contact);
                }
            }
        }
        self.sweep_from = part.next().unwrap_or(0);
    }
}

/// A peer was heard on `path`: it counts at that address.
fn count(admission: &mut Admission, contact: &mut Contact, path: UnderlayPath) {
    let origin = Origin::of(path.remote.ip());
    if contact.counted != Some(origin) {
        uncount(admission, contact);
        contact.counted = Some(origin);
        admission.enter(origin);
    }
}

/// A peer no longer counts at any address.
fn uncount(admission: &mut Admission, contact: &mut Contact) {
    if let Some(origin) = contact.counted.take() {
        admission.leave(origin);
    }
}

/// The signal message in `packet`, if it is one: UDP between the link-local addresses of both ends.
fn signal_of(own: Ipv6Addr, peer: Ipv6Addr, packet: &[u8]) -> Result<Option<Message>, DropReason> {
    const UDP: u8 = 17;
    let is_link_local = packet.len() >= SIGNAL_HEADERS && packet[0] >> 4 == 6 && packet[24..26] == [0xfe, 0x80];
    if !is_link_local {
        return Ok(None);
    }
    if packet[8..24] != peer.octets() {
        return Err(DropReason::ForeignSource);
    }
    if packet[24..40] != own.octets() || packet[6] != UDP || packet[42..44] != SIGNAL_PORT.to_be_bytes() {
        return Err(DropReason::ForeignDestination);
    }
    Message::decode(&packet[SIGNAL_HEADERS..]).map(Some).map_err(|_| DropReason::InvalidSignal)
}

#[cfg(test)]
mod tests;
