//! An endpoint's forwarder: everything goes to the active manager, and comes from any.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use festoon_proto::map::EndpointMap;
use festoon_proto::signal::Message;
use festoon_proto::{ManagerId, PrivateKey};

use crate::drop_reason::{DropCounters, DropReason};
use crate::node::{Effects, UnderlayPath};
use crate::packet::ip::IpHeader;
use crate::packet::offload::{self, VnetHeader};
use crate::peers::{BringOver, Pair, Peer, PeerId, Peers, Received};
use crate::router::RouteTable;
use crate::tunnel::sealed_capacity;

/// What a datagram meant for the node, beside the packet that went to the device.
#[derive(Debug, PartialEq, Eq)]
pub enum HostArrival {
    /// Nothing.
    Nothing,
    /// This manager is there.
    Heard(ManagerId),
    /// A session with this manager was made.
    Established(ManagerId),
    /// This manager says something.
    Signal(ManagerId, Message),
}

/// An endpoint's forwarder.
#[derive(Debug)]
pub struct HostForwarder {
    peers: Peers<ManagerId>,
    managers: Vec<(ManagerId, Pair)>,
    bring_over: BringOver,
    active: Option<ManagerId>,
    /// The peer that packets go to, so that it is not looked for with every one.
    way_out: Option<PeerId>,
    addresses: Vec<IpAddr>,
    /// What it carries packets to, by an admin's leave.
    behind: RouteTable<()>,
    /// What it reaches through managers.
    network: RouteTable<()>,
    drops: DropCounters,
}

impl HostForwarder {
    /// One that knows nobody yet.
    pub fn new(private_key: &PrivateKey) -> Self {
        Self {
            peers: Peers::new(private_key, false),
            managers: Vec::new(),
            bring_over: BringOver::default(),
            active: None,
            way_out: None,
            addresses: Vec::new(),
            behind: RouteTable::default(),
            network: RouteTable::default(),
            drops: DropCounters::default(),
        }
    }

    /// Takes over a map. Sessions with managers that are in it live on, also with the key before of one that has a new key
    /// while that is good.
    pub fn set_map(&mut self, map: &EndpointMap) {
        let mut managers = Vec::with_capacity(map.managers.len());
        for manager in &map.managers {
            let former = manager.previous_key.and_then(|key| self.peers.insert(key, manager.id));
            let Some(present) = self.peers.insert(manager.public_key, manager.id) else { continue };
            let pair = Pair { present, former };
            pair.peers().for_each(|peer| self.peers.set_candidates(peer, &manager.underlay));
            managers.push((manager.id, pair));
        }
        let before = std::mem::replace(&mut self.managers, managers);
        for gone in before.into_iter().flat_map(|(_, pair)| pair.peers()) {
            if !self.managers.iter().any(|(_, pair)| pair.peers().any(|kept| kept == gone)) {
                self.peers.remove(gone);
            }
        }
        self.addresses.clone_from(&map.addresses);
        self.network = RouteTable::default();
        for prefix in map.network.prefixes.iter().chain(&map.routes) {
            self.network.insert(*prefix, ());
        }
        self.behind = RouteTable::default();
        for route in map.own_routes.iter().filter(|route| route.is_approved) {
            self.behind.insert(route.prefix, ());
        }
        self.bring_over.begin();
        self.set_active(self.active);
    }

    /// Sets which manager packets go to.
    pub fn set_active(&mut self, manager: Option<ManagerId>) {
        self.active = manager;
        self.way_out = manager.and_then(|manager| self.peer_of(manager));
    }

    /// Uses `key` from now on, and for as long as it is given `former` too: what the endpoint had before.
    pub fn set_keys(&mut self, key: &PrivateKey, former: Option<&PrivateKey>) {
        self.peers.set_keys(key, former);
        self.bring_over.begin();
    }

    /// Packets dropped so far, by reason.
    pub fn drops(&self) -> &DropCounters {
        &self.drops
    }

    /// The peer that is `manager`.
    pub fn peer(&self, manager: ManagerId) -> Option<&Peer<ManagerId>> {
        self.peers.get(self.peer_of(manager)?)
    }

    /// The managers whose underlay address is `address`.
    pub fn managers_at(&self, address: SocketAddr) -> impl Iterator<Item = ManagerId> + '_ {
        let is_there = move |peer| self.peers.get(peer).and_then(Peer::underlay) == Some(address);
        self.managers.iter().filter(move |(_, pair)| is_there(self.peers.in_use(*pair))).map(|&(manager, _)| manager)
    }

    /// Sends a message to a manager.
    pub fn signal(&mut self, to: ManagerId, message: &Message, effects: &mut Effects) {
        let sent = self.peer_of(to).map(|peer| self.peers.signal(peer, message, &mut effects.underlay));
        if let Some(Err(reason)) = sent {
            self.drops.count(reason);
        }
    }

    /// Sends a message to a manager in a datagram of `len` bytes (UDP payload) that nobody may cut into fragments.
    pub fn signal_whole(&mut self, to: ManagerId, message: &Message, len: usize, effects: &mut Effects) {
        let sent = self.peer_of(to).map(|peer| self.peers.signal_padded(peer, message, len, &mut effects.whole));
        if let Some(Err(reason)) = sent {
            self.drops.count(reason);
        }
    }

    /// Starts a handshake with a manager.
    pub fn initiate(&mut self, manager: ManagerId, effects: &mut Effects) {
        if let Some(pair) = self.pair_of(manager) {
            self.peers.initiate(pair.present, &mut effects.underlay);
        }
    }

    /// A frame from the device: checked, split, encrypted for the active manager.
    pub fn handle_overlay(&mut self, header: &VnetHeader, frame: &mut [u8], effects: &mut Effects) {
        if let Err(reason) = self.send(header, frame, effects) {
            self.drops.count(reason);
        }
    }

    fn send(&mut self, header: &VnetHeader, frame: &mut [u8], effects: &mut Effects) -> Result<(), DropReason> {
        let ip = IpHeader::parse(frame)?;
        if !is_here(ip.source, &self.addresses, &self.behind) {
            return Err(DropReason::ForeignSource);
        }
        if !ip.is_unicast() {
            return Err(DropReason::NotUnicast);
        }
        self.network.lookup(ip.destination).ok_or(DropReason::NoRoute)?;
        let active = self.way_out.ok_or(DropReason::NoManager)?;
        let (peers, underlay) = (&mut self.peers, &mut effects.underlay);
        let mut sent = Ok(());
        offload::split(header, frame, |packet| sent = sent.and(peers.send(active, packet, underlay)))
            .map_err(|_| DropReason::MalformedFrame)?;
        sent
    }

    /// What a hostile endpoint does: sends a packet without any of the checks.
    #[cfg(test)]
    pub(super) fn send_unchecked(&mut self, packet: &[u8], effects: &mut Effects) {
        let active = self.way_out.expect("no active manager");
        self.peers.send(active, packet, &mut effects.underlay).expect("not sent");
    }

    /// A datagram from the underlay: decrypted where the device will read it, then checked.
    pub fn handle_underlay(
        &mut self,
        now: Instant,
        path: UnderlayPath,
        datagram: &[u8],
        effects: &mut Effects,
    ) -> HostArrival {
        let plain = effects.overlay.reserve(sealed_capacity(datagram.len()));
        let received = self.peers.receive(now, path, datagram, plain, &mut effects.underlay, &mut self.drops);
        let mut accepted = 0;
        let arrival = match received {
            Received::Packet { from, len } => {
                match check_inbound(&plain[..len], &self.addresses, &self.behind, &self.network) {
                    Ok(()) => accepted = len,
                    Err(reason) => self.drops.count(reason),
                }
                self.manager_of(from).map(HostArrival::Heard)
            }
            Received::Signal { from, message } => {
                self.manager_of(from).map(|manager| HostArrival::Signal(manager, message))
            }
            Received::Keepalive(from) => self.manager_of(from).map(HostArrival::Heard),
            Received::Established(_) | Received::Nothing => None,
        };
        effects.overlay.commit(accepted);
        arrival.unwrap_or(HostArrival::Nothing)
    }

    /// Handles the next handshake message that waits; `None` if none does.
    pub fn handle_handshake(&mut self, now: Instant, effects: &mut Effects) -> Option<HostArrival> {
        let handled = self.peers.handle_handshake(now, &mut effects.underlay, &mut self.drops)?;
        let Received::Established(from) = handled else { return Some(HostArrival::Nothing) };
        // Perhaps with another key of the active manager.
        self.set_active(self.active);
        Some(self.manager_of(from).map_or(HostArrival::Nothing, HostArrival::Established))
    }

    /// When to call [`HostForwarder::handle_handshake`], a few times, and [`HostForwarder::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.peers.poll_timeout()
    }

    /// Runs the timers of the tunnels, and brings them over to new keys.
    pub fn handle_timeout(&mut self, now: Instant, effects: &mut Effects) {
        self.peers.handle_timeout(now, &mut effects.underlay, &mut self.drops);
        if self.bring_over.take_turn(now) {
            for (_, pair) in &self.managers {
                self.peers.bring_over(*pair, &mut effects.underlay);
            }
        }
    }

    fn manager_of(&self, peer: PeerId) -> Option<ManagerId> {
        self.peers.get(peer).map(|peer| peer.role)
    }

    fn pair_of(&self, manager: ManagerId) -> Option<Pair> {
        self.managers.iter().find(|(id, _)| *id == manager).map(|&(_, pair)| pair)
    }

    fn peer_of(&self, manager: ManagerId) -> Option<PeerId> {
        self.pair_of(manager).map(|pair| self.peers.in_use(pair))
    }
}

/// Whether `address` is the endpoint's own, or behind it.
fn is_here(address: IpAddr, addresses: &[IpAddr], behind: &RouteTable<()>) -> bool {
    addresses.contains(&address) || behind.lookup(address).is_some()
}

/// A manager may send only packets of this network for this endpoint, or for what an admin lets it carry.
fn check_inbound(
    packet: &[u8],
    addresses: &[IpAddr],
    behind: &RouteTable<()>,
    network: &RouteTable<()>,
) -> Result<(), DropReason> {
    let header = IpHeader::parse(packet)?;
    if !is_here(header.destination, addresses, behind) {
        return Err(DropReason::ForeignDestination);
    }
    network.lookup(header.source).ok_or(DropReason::ForeignSource)?;
    Ok(())
}
