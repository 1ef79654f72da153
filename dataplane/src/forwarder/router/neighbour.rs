//! Who is at the other end, and over which of its keys.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use festoon_proto::{EndpointId, ManagerId, PublicKey};

use super::{Member, Neighbour, Role, RouterForwarder};
use crate::peers::{Pair, Peer, PeerId};

/// What is known of the tunnel or link to a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourStats {
    /// Where its datagrams go now.
    pub underlay: Option<SocketAddr>,
    /// The age of the session with it.
    pub session_age: Option<Duration>,
    /// When its last authentic datagram came.
    pub last_heard: Option<Instant>,
    /// Bytes of packets received from it.
    pub rx_bytes: u64,
    /// Bytes of packets sent to it.
    pub tx_bytes: u64,
}

impl NeighbourStats {
    fn of(peer: &Peer<Role>) -> Self {
        Self {
            underlay: peer.underlay(),
            session_age: peer.session_age(),
            last_heard: peer.last_heard(),
            rx_bytes: peer.rx_bytes(),
            tx_bytes: peer.tx_bytes(),
        }
    }
}

impl RouterForwarder {
    /// The underlay address, session age, last sign of life and bytes of a neighbour.
    pub fn neighbour(&self, neighbour: Neighbour) -> Option<NeighbourStats> {
        self.peers.get(self.peer_of(neighbour)?).map(NeighbourStats::of)
    }

    /// The key of an endpoint.
    pub fn key_of(&self, endpoint: EndpointId) -> Option<&PublicKey> {
        self.peers.get(self.owner_of(endpoint)?).map(Peer::key)
    }

    /// The managers whose underlay address is `address`.
    pub fn managers_at(&self, address: SocketAddr) -> impl Iterator<Item = ManagerId> + '_ {
        let is_there = move |peer| self.peers.get(peer).and_then(Peer::underlay) == Some(address);
        self.links.iter().filter(move |(_, pair)| is_there(self.peers.in_use(**pair))).map(|(&manager, _)| manager)
    }

    /// The neighbour that a peer is, with whichever of its keys.
    pub(super) fn neighbour_of(&self, peer: PeerId) -> Option<Neighbour> {
        self.peers.get(peer).map(|peer| match &peer.role {
            Role::Endpoint(member) => Neighbour::Endpoint(member.id),
            Role::Former(endpoint) => Neighbour::Endpoint(*endpoint),
            Role::Link(manager) => Neighbour::Manager(*manager),
        })
    }

    /// The peer to send to for a neighbour.
    pub(super) fn peer_of(&self, neighbour: Neighbour) -> Option<PeerId> {
        match neighbour {
            Neighbour::Endpoint(endpoint) => self.owner_of(endpoint).map(|owner| self.session_with(owner)),
            Neighbour::Manager(manager) => self.links.get(&manager).map(|pair| self.peers.in_use(*pair)),
        }
    }

    /// The peer with an endpoint's own key.
    fn owner_of(&self, endpoint: EndpointId) -> Option<PeerId> {
        self.by_endpoint.get(&endpoint).copied()
    }

    /// The peer with the own key of the endpoint that `peer` is; `peer` itself if it is no endpoint.
    pub(super) fn owner(&self, peer: PeerId) -> PeerId {
        match self.peers.get(peer).map(|peer| &peer.role) {
            Some(Role::Former(endpoint)) => self.owner_of(*endpoint).unwrap_or(peer),
            _ => peer,
        }
    }

    /// The peer to send to for the endpoint whose own key is that of `owner`: that, unless there is a session with the key
    /// it had before and none with its own yet.
    pub(super) fn session_with(&self, owner: PeerId) -> PeerId {
        self.member(owner).map_or(owner, |member| self.session_of(member, owner))
    }

    /// As [`session_with`](Self::session_with), for who has the member at hand already.
    pub(super) fn session_of(&self, member: &Member, owner: PeerId) -> PeerId {
        self.peers.in_use(Pair { present: owner, former: member.former })
    }
}
