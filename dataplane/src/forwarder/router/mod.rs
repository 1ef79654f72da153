//! A manager's forwarder: a router in user space, between tunnels and links.
//!
//! A packet from an endpoint is checked against the addresses the endpoint owns, then routed within the endpoint's
//! network alone: one [`RouteTable`] a network keeps networks apart even where they use the same addresses. A packet that
//! crosses to another manager carries its network's id in a [`LinkHeader`].

mod neighbour;
mod program;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Instant;

use festoon_proto::link::{LINK_HEADER_LEN, LinkHeader, MAX_LINK_HOPS};
use festoon_proto::signal::Message;
use festoon_proto::{EndpointId, ManagerId, NetworkId, PrivateKey};
use ipnet::IpNet;

use crate::drop_reason::{DropCounters, DropReason};
use crate::node::{Effects, UnderlayPath};
use crate::packet::fragment::Fragments;
use crate::packet::ip::{IpHeader, clamp_mss, decrement_hop_limit};
use crate::peers::{BringOver, Pair, PeerId, Peers, Received};
use crate::router::RouteTable;
use crate::router::icmp::{self, IcmpError};
use crate::tunnel::sealed_capacity;

pub use neighbour::NeighbourStats;

/// Who is at the other end of a tunnel or link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Neighbour {
    /// An endpoint, through a tunnel.
    Endpoint(EndpointId),
    /// Another manager, over a link.
    Manager(ManagerId),
}

/// Which manager carries an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// This one.
    Here,
    /// That one.
    At(ManagerId),
    /// None.
    Nowhere,
}

/// What a datagram meant for the node, beside the packet that was forwarded.
#[derive(Debug, PartialEq, Eq)]
pub enum RouterArrival {
    /// Nothing.
    Nothing,
    /// This manager is there.
    Heard(ManagerId),
    /// A stock client is here, but its packets are sent elsewhere.
    ClientHere(EndpointId),
    /// A session with this manager was made.
    Established(ManagerId),
    /// This neighbour says something.
    Signal(Neighbour, Message),
}

#[derive(Debug)]
enum Role {
    Endpoint(Member),
    /// The key this endpoint had before, while that is good too.
    Former(EndpointId),
    Link(ManagerId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Gateway,
    Member(PeerId),
}

/// An endpoint, as the forwarder needs it.
#[derive(Debug)]
struct Member {
    id: EndpointId,
    network: NetworkId,
    allowed: Box<[IpNet]>,
    is_client: bool,
    place: Place,
    /// The peer with the key it had before, while that is good too.
    former: Option<PeerId>,
}

#[derive(Debug, Default)]
struct Network {
    mtu: u16,
    gateways: Vec<IpAddr>,
    table: RouteTable<Target>,
}

/// A packet in the buffer it was decrypted to, and where it begins and ends. In front of it there is room for a link
/// header, so that it never moves.
struct Held<'a> {
    buffer: &'a mut [u8],
    start: usize,
    header: IpHeader,
}

impl Held<'_> {
    fn packet(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.start + self.header.len]
    }

    fn frame(&mut self, network: NetworkId, hops: u8) -> Option<&[u8]> {
        let header = LinkHeader { network, hops }.encode(self.header.len)?;
        let start = self.start.checked_sub(LINK_HEADER_LEN)?;
        self.buffer[start..self.start].copy_from_slice(&header);
        Some(&self.buffer[start..self.start + self.header.len])
    }
}

/// What the sender of a packet is told that was dropped at the last step.
const fn error_of(reason: DropReason) -> Option<IcmpError> {
    match reason {
        DropReason::EndpointDetached
        | DropReason::EndpointSilent
        | DropReason::NoSession
        | DropReason::NoUnderlayAddress => Some(IcmpError::HostUnreachable),
        // Its endpoints are moving right now: an error would make their peers give up in vain.
        _ => None,
    }
}

/// A manager's forwarder.
#[derive(Debug)]
pub struct RouterForwarder {
    peers: Peers<Role>,
    networks: BTreeMap<NetworkId, Network>,
    by_endpoint: HashMap<EndpointId, PeerId>,
    links: BTreeMap<ManagerId, Pair>,
    bring_over: BringOver,
    /// The neighbour over whose link each manager is reached. A link that comes or goes changes this and no endpoint.
    paths: BTreeMap<ManagerId, ManagerId>,
    /// Endpoints that are carried here and were not heard for long, and when that was found.
    silent: HashMap<EndpointId, Instant>,
    drops: DropCounters,
    icmp: icmp::Budgets,
    buffer: Box<[u8]>,
    /// For packets that are made here: fragments and errors. Empty until there is one.
    made: Vec<u8>,
}

impl RouterForwarder {
    /// One that knows nobody yet.
    pub fn new(private_key: &PrivateKey) -> Self {
        Self {
            peers: Peers::new(private_key, true),
            networks: BTreeMap::new(),
            by_endpoint: HashMap::new(),
            links: BTreeMap::new(),
            bring_over: BringOver::default(),
            paths: BTreeMap::new(),
            silent: HashMap::new(),
            drops: DropCounters::default(),
            icmp: icmp::Budgets::default(),
            buffer: vec![0; LINK_HEADER_LEN + sealed_capacity(usize::from(u16::MAX))].into_boxed_slice(),
            made: Vec::new(),
        }
    }

    /// Packets dropped so far, by reason.
    pub fn drops(&self) -> &DropCounters {
        &self.drops
    }

    /// Sends a message to a neighbour.
    pub fn signal(&mut self, to: Neighbour, message: &Message, effects: &mut Effects) {
        let sent = self.peer_of(to).map(|peer| self.peers.signal(peer, message, &mut effects.underlay));
        if let Some(Err(reason)) = sent {
            self.drops.count(reason);
        }
    }

    /// Starts a handshake with a manager.
    pub fn initiate(&mut self, manager: ManagerId, effects: &mut Effects) {
        if let Some(pair) = self.links.get(&manager) {
            self.peers.initiate(pair.present, &mut effects.underlay);
        }
    }

    /// Ends the sessions with an endpoint. It may make another.
    pub fn disconnect(&mut self, endpoint: EndpointId) {
        let Some(&present) = self.by_endpoint.get(&endpoint) else { return };
        let former = self.member(present).and_then(|member| member.former);
        for peer in [Some(present), former].into_iter().flatten() {
            self.peers.disconnect(peer);
        }
    }

    /// A datagram from the underlay: decrypted, checked, routed and encrypted again.
    pub fn handle_underlay(
        &mut self,
        now: Instant,
        path: UnderlayPath,
        datagram: &[u8],
        effects: &mut Effects,
    ) -> RouterArrival {
        let mut buffer = std::mem::take(&mut self.buffer);
        let plain = &mut buffer[LINK_HEADER_LEN..];
        let received = self.peers.receive(now, path, datagram, plain, &mut effects.underlay, &mut self.drops);
        let arrival = match received {
            Received::Packet { from, len } => self.forward(now, from, &mut buffer, len, effects),
            Received::Signal { from, message } => {
                self.neighbour_of(from).map_or(RouterArrival::Nothing, |from| RouterArrival::Signal(from, message))
            }
            Received::Keepalive(from) => self.heard(self.owner(from)),
            Received::Established(_) | Received::Nothing => RouterArrival::Nothing,
        };
        self.buffer = buffer;
        arrival
    }

    /// Handles the next handshake message that waits; `None` if none does.
    pub fn handle_handshake(&mut self, now: Instant, effects: &mut Effects) -> Option<RouterArrival> {
        let handled = self.peers.handle_handshake(now, &mut effects.underlay, &mut self.drops)?;
        let from = match handled {
            Received::Established(from) => self.neighbour_of(from),
            _ => None,
        };
        Some(match from {
            Some(Neighbour::Manager(manager)) => RouterArrival::Established(manager),
            Some(Neighbour::Endpoint(_)) | None => RouterArrival::Nothing,
        })
    }

    /// When to call [`RouterForwarder::handle_handshake`], a few times, and [`RouterForwarder::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.peers.poll_timeout()
    }

    /// Runs the timers of the tunnels and links, and brings links over to new keys. Tunnels are for endpoints to bring over:
    /// they know best which of our keys they have heard of.
    pub fn handle_timeout(&mut self, now: Instant, effects: &mut Effects) {
        self.peers.handle_timeout(now, &mut effects.underlay, &mut self.drops);
        if self.bring_over.take_turn(now) {
            for pair in self.links.values() {
                self.peers.bring_over(*pair, &mut effects.underlay);
            }
        }
    }

    fn forward(
        &mut self,
        now: Instant,
        from: PeerId,
        buffer: &mut [u8],
        len: usize,
        effects: &mut Effects,
    ) -> RouterArrival {
        let from = self.owner(from);
        let forwarded = match self.peers.get(from).map(|peer| &peer.role) {
            Some(Role::Endpoint(_)) => self.forward_from_endpoint(now, from, buffer, len, effects),
            Some(Role::Link(_)) => self.forward_from_link(now, buffer, len, effects),
            Some(Role::Former(_)) | None => return RouterArrival::Nothing,
        };
        if let Err(reason) = forwarded {
            self.drops.count(reason);
        }
        self.heard(from)
    }

    fn forward_from_endpoint(
        &mut self,
        now: Instant,
        from: PeerId,
        buffer: &mut [u8],
        len: usize,
        effects: &mut Effects,
    ) -> Result<(), DropReason> {
        let packet = &buffer[LINK_HEADER_LEN..LINK_HEADER_LEN + len];
        if LinkHeader::is_link_frame(packet) {
            return Err(DropReason::WrongFraming);
        }
        let header = IpHeader::parse(packet)?;
        let member = self.member(from).ok_or(DropReason::UnknownSession)?;
        if !member.allowed.iter().any(|prefix| prefix.contains(&header.source)) {
            return Err(DropReason::ForeignSource);
        }
        if !header.is_unicast() {
            return Err(DropReason::NotUnicast);
        }
        let network = member.network;
        let mut held = Held { buffer, start: LINK_HEADER_LEN, header };
        let routed = self.route(network, &mut held, effects, from);
        if let Err((_, Some(error))) = routed {
            self.tell_sender(now, network, from, &mut held, error, effects);
        }
        routed.map_err(|(reason, _)| reason)
    }

    /// The hop through the virtual router. An error may be one that the sender is told.
    fn route(
        &mut self,
        network: NetworkId,
        held: &mut Held<'_>,
        effects: &mut Effects,
        sender: PeerId,
    ) -> Result<(), (DropReason, Option<IcmpError>)> {
        let network = self.networks.get(&network).ok_or((DropReason::UnknownNetwork, None))?;
        let mtu = network.mtu;
        let header = held.header;
        let target = match network.table.lookup(header.destination) {
            Some(Target::Member(target)) => *target,
            Some(Target::Gateway) => return self.answer_for_gateway(mtu, held, effects, sender),
            None => return Err((DropReason::NoRoute, Some(IcmpError::NoRoute))),
        };
        if header.hop_limit <= 1 {
            return Err((DropReason::HopLimit, Some(IcmpError::HopLimit)));
        }
        if header.len > usize::from(mtu) && !header.may_fragment {
            return Err((DropReason::TooBig, Some(IcmpError::TooBig(mtu))));
        }
        decrement_hop_limit(held.packet());
        clamp_mss(held.packet(), &header, mtu);
        let delivered = if header.len > usize::from(mtu) {
            self.deliver_cut(mtu, target, held, effects)
        } else {
            self.deliver(target, held, MAX_LINK_HOPS, effects)
        };
        delivered.map_err(|reason| (reason, error_of(reason)))
    }

    /// Sends what is larger than the MTU in fragments.
    fn deliver_cut(
        &mut self,
        mtu: u16,
        target: PeerId,
        held: &mut Held<'_>,
        effects: &mut Effects,
    ) -> Result<(), DropReason> {
        let header = held.header;
        let mut buffer = std::mem::take(&mut self.made);
        buffer.resize(LINK_HEADER_LEN + usize::from(mtu), 0);
        let mut fragments = Fragments::new(held.packet(), &header, mtu);
        let mut delivered = Ok(());
        while delivered.is_ok()
            && let Some(len) = fragments.write_next(&mut buffer[LINK_HEADER_LEN..])
        {
            let header = IpHeader { len, ..header };
            let mut fragment = Held { buffer: &mut buffer, start: LINK_HEADER_LEN, header };
            delivered = self.deliver(target, &mut fragment, MAX_LINK_HOPS, effects);
        }
        self.made = buffer;
        delivered
    }

    fn answer_for_gateway(
        &mut self,
        mtu: u16,
        held: &mut Held<'_>,
        effects: &mut Effects,
        sender: PeerId,
    ) -> Result<(), (DropReason, Option<IcmpError>)> {
        let header = held.header;
        if !icmp::echo_reply(held.packet(), &header) {
            return Err((DropReason::NotForGateway, None));
        }
        // What is so large nobody needs an answer to, and an answer would have to be cut.
        if header.len > usize::from(mtu) {
            return Err((DropReason::TooBig, None));
        }
        let session = self.session_with(sender);
        self.peers.send(session, held.packet(), &mut effects.underlay).map_err(|reason| (reason, None))
    }

    fn forward_from_link(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        len: usize,
        effects: &mut Effects,
    ) -> Result<(), DropReason> {
        let frame = &buffer[LINK_HEADER_LEN..LINK_HEADER_LEN + len];
        let (link, packet) = LinkHeader::parse(frame).ok_or(DropReason::WrongFraming)?;
        let network = self.networks.get(&link.network).ok_or(DropReason::UnknownNetwork)?;
        let header = IpHeader::parse(packet)?;
        let target = match network.table.lookup(header.destination) {
            Some(Target::Member(target)) => *target,
            Some(Target::Gateway) => return Err(DropReason::NotForGateway),
            None => return Err(DropReason::NoRoute),
        };
        let mut held = Held { buffer, start: 2 * LINK_HEADER_LEN, header };
        let delivered = self.deliver(target, &mut held, link.hops, effects);
        // That the endpoint is silent only this manager knows, and so it must be the one that tells the sender.
        if let Err(reason @ (DropReason::EndpointSilent | DropReason::NoSession | DropReason::NoUnderlayAddress)) =
            delivered
            && let Some(error) = error_of(reason)
        {
            self.tell_source(now, link.network, &mut held, error, effects);
        }
        delivered
    }

    /// Sends the packet to where the endpoint is, over at most `hops` links.
    ///
    /// Perhaps back to where it came from: the endpoint has just moved there, and the news of it overtook the packet. What
    /// would go in circles ends when it may cross no more links.
    fn deliver(
        &mut self,
        target: PeerId,
        held: &mut Held<'_>,
        hops: u8,
        effects: &mut Effects,
    ) -> Result<(), DropReason> {
        let member = self.member(target).ok_or(DropReason::NoRoute)?;
        match member.place {
            // A stock client may be silent because it has nothing to say: it is knocked at.
            Place::Here if !member.is_client && self.is_silent(member, target) => Err(DropReason::EndpointSilent),
            Place::Here => self.peers.send(self.session_of(member, target), held.packet(), &mut effects.underlay),
            Place::At(manager) => {
                let hops = hops.checked_sub(1).ok_or(DropReason::LinkHops)?;
                let link = self.link_towards(manager).ok_or(DropReason::ManagerUnreachable)?;
                let frame = held.frame(member.network, hops).ok_or(DropReason::TooBig)?;
                self.peers.send(link, frame, &mut effects.underlay)
            }
            Place::Nowhere => Err(DropReason::EndpointDetached),
        }
    }

    /// The link over which a manager is reached.
    fn link_towards(&self, manager: ManagerId) -> Option<PeerId> {
        Some(self.peers.in_use(*self.links.get(self.paths.get(&manager)?)?))
    }

    fn member(&self, peer: PeerId) -> Option<&Member> {
        match &self.peers.get(peer)?.role {
            Role::Endpoint(member) => Some(member),
            Role::Former(_) | Role::Link(_) => None,
        }
    }

    fn heard(&self, from: PeerId) -> RouterArrival {
        match self.peers.get(from).map(|peer| &peer.role) {
            Some(Role::Link(manager)) => RouterArrival::Heard(*manager),
            Some(Role::Endpoint(member)) if member.is_client && member.place != Place::Here => {
                RouterArrival::ClientHere(member.id)
            }
            _ => RouterArrival::Nothing,
        }
    }
}
