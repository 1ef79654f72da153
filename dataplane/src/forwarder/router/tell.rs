//! Errors for those whose packets went no further, and which endpoints are silent.

use std::time::Instant;

use festoon_proto::link::{LINK_HEADER_LEN, MAX_LINK_HOPS};
use festoon_proto::{EndpointId, NetworkId};

use super::{Held, Member, RouterForwarder, Target};
use crate::drop_reason::DropReason;
use crate::node::Effects;
use crate::packet::ip::IpHeader;
use crate::peers::{Peer, PeerId};
use crate::router::icmp::{self, IcmpError};

impl RouterForwarder {
    /// Sets whether an endpoint that is carried here was not heard for long. Packets for an agent are refused then, until
    /// it is heard again; whether it is, is known with every packet.
    pub fn set_silent(&mut self, endpoint: EndpointId, since: Option<Instant>) {
        match since {
            Some(since) => drop(self.silent.insert(endpoint, since)),
            None => drop(self.silent.remove(&endpoint)),
        }
    }

    /// Counts something that was dropped behind the forwarder, for this reason.
    pub fn count_drop(&mut self, reason: DropReason) {
        self.drops.count(reason);
    }

    /// Whether a member, whose own key is that of `owner`, is silent.
    pub(super) fn is_silent(&self, member: &Member, owner: PeerId) -> bool {
        if self.silent.is_empty() {
            return false;
        }
        let heard = |peer| self.peers.get(peer).and_then(Peer::last_heard);
        self.silent.get(&member.id).is_some_and(|&since| {
            let last = [Some(owner), member.former].into_iter().flatten().filter_map(heard).max();
            last.is_none_or(|last| last <= since)
        })
    }

    /// Tells an endpoint at the other end of a tunnel about the packet that came from it.
    pub(super) fn tell_sender(
        &mut self,
        now: Instant,
        network: NetworkId,
        sender: PeerId,
        held: &mut Held<'_>,
        error: IcmpError,
        effects: &mut Effects,
    ) {
        if let Some(reply) = self.error_for(now, network, sender, held, error)
            && let Err(reason) = self.peers.send(self.session_with(sender), &reply, &mut effects.underlay)
        {
            self.drops.count(reason);
        }
    }

    /// Tells the endpoint that owns the source address of a packet, wherever it is. For packets that another manager took
    /// from it, and checked.
    pub(super) fn tell_source(
        &mut self,
        now: Instant,
        network: NetworkId,
        held: &mut Held<'_>,
        error: IcmpError,
        effects: &mut Effects,
    ) {
        let table = self.networks.get(&network).map(|network| &network.table);
        let Some(&Target::Member(sender)) = table.and_then(|table| table.lookup(held.header.source)) else { return };
        let Some(reply) = self.error_for(now, network, sender, held, error) else { return };
        let mut buffer = std::mem::take(&mut self.made);
        buffer.resize(LINK_HEADER_LEN, 0);
        buffer.extend(&reply);
        if let Ok(header) = IpHeader::parse(&reply) {
            let mut held = Held { buffer: &mut buffer, start: LINK_HEADER_LEN, header };
            if let Err(reason) = self.deliver(sender, &mut held, MAX_LINK_HOPS, effects) {
                self.drops.count(reason);
            }
        }
        self.made = buffer;
    }

    /// The error for a sender, if there may be one and its budget has one left.
    fn error_for(
        &mut self,
        now: Instant,
        network: NetworkId,
        sender: PeerId,
        held: &mut Held<'_>,
        error: IcmpError,
    ) -> Option<Vec<u8>> {
        let header = held.header;
        let endpoint = self.member(sender)?.id;
        let gateways = &self.networks.get(&network)?.gateways;
        let gateway = *gateways.iter().find(|gateway| gateway.is_ipv4() == header.source.is_ipv4())?;
        let reply = icmp::error(held.packet(), &header, error, gateway)?;
        self.icmp.take(network, endpoint, now).then_some(reply)
    }
}
