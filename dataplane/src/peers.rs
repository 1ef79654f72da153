//! Cryptokey routing: which tunnel a datagram is for, and where a tunnel's other end is.
//!
//! A peer is another node this one has a tunnel or link to. Its identity is its key; its underlay address is wherever
//! its last authentic datagram came from, so both ends may change theirs at any time (roaming).
//!
//! A manager knows all endpoints of a cluster, but most of them never speak to it. So a peer *sleeps* until it is needed:
//! a tunnel takes two key agreements to make and more than ten kilobytes to keep, a sleeping peer some hundred bytes. It
//! wakes when this node has something to send to it, or when it shows that it has its key. It never falls asleep again:
//! its tunnel remembers the time of its last handshake, without which an old one could be played back.

mod peer;

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Instant;

use etherparse::PacketBuilder;
use festoon_proto::address::{SIGNAL_PORT, link_local};
use festoon_proto::signal::{MAX_SIGNAL_LEN, Message};
use festoon_proto::{PrivateKey, PublicKey};

use crate::batch::UnderlayBatch;
use crate::drop_reason::{DropCounters, DropReason};
use crate::node::UnderlayPath;
use crate::tunnel::{self, Addressee, Identity, MIN_BUFFER, Opened, Tunnel, sealed_capacity};

pub use peer::Peer;

use peer::Contact;

/// IPv6 and UDP headers in front of a signal message.
const SIGNAL_HEADERS: usize = 48;
/// Peers whose timers run in one go, at least; more are spread over [`tunnel::TICK`].
const SWEEP: usize = 64;

/// A peer's place in the table. Its number is the tunnel's index on the wire.
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
    identity: Identity,
    link_local: Ipv6Addr,
    /// Whether answers leave from the address that was asked.
    pins_local: bool,
    slots: Vec<Option<Peer<R>>>,
    free: Vec<u32>,
    by_key: HashMap<PublicKey, PeerId>,
    /// The numbers of those that do not sleep.
    awake: BTreeSet<u32>,
    signal: Vec<u8>,
    /// The lowest number whose timers come next.
    sweep_from: u32,
    next_sweep: Option<Instant>,
}

impl<R> Peers<R> {
    /// No peers yet. A node with several addresses that others connect to sets `pins_local`.
    pub fn new(private_key: &PrivateKey, handshakes_per_second: u64, pins_local: bool) -> Self {
        let identity = Identity::new(private_key, handshakes_per_second);
        Self {
            link_local: link_local(&identity.public_key()),
            identity,
            pins_local,
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            awake: BTreeSet::new(),
            signal: Vec::with_capacity(SIGNAL_HEADERS + MAX_SIGNAL_LEN),
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

    /// The peer at `id`, which is awake from now on.
    fn wake(&mut self, id: PeerId) -> Option<(&mut Contact, &mut Tunnel)> {
        let peer = self.slots.get_mut(id.0 as usize)?.as_mut()?;
        let (identity, awake) = (&self.identity, &mut self.awake);
        let tunnel = peer.tunnel.get_or_insert_with(|| {
            awake.insert(id.0);
            Box::new(Tunnel::new(identity, &peer.key, id.0))
        });
        Some((&mut peer.contact, tunnel))
    }

    /// Undoes [`Peers::wake`] for a peer that turned out to have had no part in it.
    fn put_to_sleep(&mut self, id: PeerId) {
        if let Some(peer) = self.get_mut(id) {
            peer.tunnel = None;
            self.awake.remove(&id.0);
        }
    }

    /// Adds a peer, or gives one that is there already its new role. Sessions live on. `None` when the table is full.
    pub fn insert(&mut self, key: PublicKey, role: R) -> Option<PeerId> {
        if let Some(id) = self.find(&key) {
            self.get_mut(id)?.role = role;
            return Some(id);
        }
        let index = self.free.pop().or_else(|| u32::try_from(self.slots.len()).ok())?;
        if index as usize >= tunnel::MAX_TUNNELS {
            return None;
        }
        let peer = Peer::new(key, role);
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
        if let Some(peer) = self.slots.get_mut(id.0 as usize).and_then(Option::take) {
            self.by_key.remove(&peer.key);
            self.awake.remove(&id.0);
            self.free.push(id.0);
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
        let received = match tunnel::addressee(&self.identity, path.remote.ip(), datagram, plain) {
            Addressee::Tunnel(index) => self.open(now, PeerId(index), path, datagram, plain, underlay),
            Addressee::Initiator(key) => self.open_initiation(now, &key, path, datagram, plain, underlay),
            Addressee::Nobody(reason) => Err(reason),
            Addressee::Cookie(len) => {
                underlay.push(path, &plain[..len]);
                Err(DropReason::RateLimited)
            }
        };
        match received {
            Ok(received) => received,
            Err(reason) => {
                drops.count(reason);
                Received::Nothing
            }
        }
    }

    fn is_awake(&self, id: PeerId) -> bool {
        self.get(id).is_some_and(|peer| peer.tunnel.is_some())
    }

    /// Handles a handshake initiation that names `key`. Anybody can name a key; only its owner wakes a peer.
    fn open_initiation(
        &mut self,
        now: Instant,
        key: &PublicKey,
        path: UnderlayPath,
        datagram: &[u8],
        plain: &mut [u8],
        underlay: &mut UnderlayBatch,
    ) -> Result<Received, DropReason> {
        let id = self.find(key).ok_or(DropReason::UnknownKey)?;
        let was_awake = self.is_awake(id);
        self.wake(id);
        let received = self.open(now, id, path, datagram, plain, underlay);
        if received.is_err() && !was_awake {
            self.put_to_sleep(id);
        }
        received
    }

    fn open(
        &mut self,
        now: Instant,
        id: PeerId,
        path: UnderlayPath,
        datagram: &[u8],
        plain: &mut [u8],
        underlay: &mut UnderlayBatch,
    ) -> Result<Received, DropReason> {
        let own = self.link_local;
        let Some(Peer { contact, tunnel: Some(tunnel), .. }) = self.get_mut(id) else {
            return Err(DropReason::UnknownSession);
        };
        let opened = tunnel.open(path.remote.ip(), datagram, plain);
        if opened.is_authentic() {
            contact.path = Some(path);
            contact.last_heard = Some(now);
        }
        match opened {
            Opened::Packet(len) => {
                contact.rx_bytes += len as u64;
                match signal_of(own, contact.link_local, &plain[..len])? {
                    Some(message) => Ok(Received::Signal { from: id, message }),
                    None => Ok(Received::Packet { from: id, len }),
                }
            }
            Opened::Reply(len) => {
                underlay.push(path, &plain[..len]);
                Ok(Received::Nothing)
            }
            Opened::Established(len) => {
                underlay.push(path, &plain[..len]);
                flush(tunnel, path, underlay);
                Ok(Received::Established(id))
            }
            Opened::Keepalive => {
                flush(tunnel, path, underlay);
                Ok(Received::Keepalive(id))
            }
            Opened::Cookie(len) => {
                underlay.push(path, &plain[..len]);
                Err(DropReason::RateLimited)
            }
            Opened::CookieTaken => Ok(Received::Nothing),
            Opened::Dropped(reason) => Err(reason),
        }
    }

    /// Encrypts `packet` for a peer, into `underlay`.
    pub fn send(&mut self, id: PeerId, packet: &[u8], underlay: &mut UnderlayBatch) -> Result<(), DropReason> {
        let peer = self.get(id).ok_or(DropReason::UnknownSession)?;
        let path = peer.contact.path.ok_or(DropReason::NoUnderlayAddress)?;
        let (contact, tunnel) = self.wake(id).ok_or(DropReason::UnknownSession)?;
        contact.tx_bytes += packet.len() as u64;
        let buffer = underlay.reserve(path, sealed_capacity(packet.len()));
        let len = tunnel.seal(packet, buffer);
        underlay.commit(len);
        Ok(())
    }

    /// Sends a signal message to a peer.
    pub fn signal(&mut self, id: PeerId, message: &Message, underlay: &mut UnderlayBatch) -> Result<(), DropReason> {
        let to = self.get(id).ok_or(DropReason::UnknownSession)?.contact.link_local;
        let mut payload = [0; MAX_SIGNAL_LEN];
        let len = message.encode(&mut payload).map_err(|_| DropReason::InvalidSignal)?;
        let mut packet = std::mem::take(&mut self.signal);
        packet.clear();
        let written = PacketBuilder::ipv6(self.link_local.octets(), to.octets(), 255)
            .udp(SIGNAL_PORT, SIGNAL_PORT)
            .write(&mut packet, &payload[..len]);
        let sent = match written {
            Ok(()) => self.send(id, &packet, underlay),
            Err(_) => Err(DropReason::InvalidSignal),
        };
        self.signal = packet;
        sent
    }

    /// Starts a handshake with a peer at the next of its addresses.
    pub fn initiate(&mut self, id: PeerId, underlay: &mut UnderlayBatch) {
        let Some(path) = self.get_mut(id).and_then(|peer| peer.contact.next_path()) else { return };
        let Some((_, tunnel)) = self.wake(id) else { return };
        let len = tunnel.initiate(underlay.reserve(path, MIN_BUFFER));
        underlay.commit(len);
    }

    /// When to call [`Peers::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_sweep
    }

    /// Runs the timers of some tunnels; of each of them twice a second.
    pub fn handle_timeout(&mut self, now: Instant, underlay: &mut UnderlayBatch) {
        if self.next_sweep.is_some_and(|at| now < at) {
            return;
        }
        self.identity.handle_timeout();
        let parts = (self.awake.len() / SWEEP).clamp(1, 10);
        self.next_sweep = Some(now + tunnel::TICK / parts as u32);
        let mut part = self.awake.range(self.sweep_from..).copied();
        for number in part.by_ref().take(self.awake.len().div_ceil(parts)) {
            if let Some(peer) = &mut self.slots[number as usize] {
                peer.handle_timeout(underlay);
            }
        }
        self.sweep_from = part.next().unwrap_or(0);
    }
}

/// Sends what waited for a session.
fn flush(tunnel: &mut Tunnel, path: UnderlayPath, underlay: &mut UnderlayBatch) {
    // What waits is at most a packet each time; the buffer must hold the largest.
    while let Some(len) = tunnel.poll_queued(underlay.reserve(path, usize::from(u16::MAX))) {
        underlay.commit(len);
    }
    underlay.commit(0);
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
