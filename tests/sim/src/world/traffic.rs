//! Applications: packets that go in and come out.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use festoon_proto::EndpointId;

use super::{Event, Input, NodeId, World};
use crate::observation::{Delivered, Observation, Sent};
use crate::packet;

/// An application that sends a packet every so often, over IPv4 and IPv6 in turn.
#[derive(Debug)]
pub(super) struct Flow {
    from: EndpointId,
    to: [IpAddr; 2],
    every: Duration,
    left: u64,
}

impl World {
    /// Starts an application on `from` that sends `count` packets to the endpoint `to`, one every `every`. The endpoint
    /// may be of another network: then its addresses mean somebody else, or nobody.
    pub fn start_flow(&mut self, from: EndpointId, to: EndpointId, every: Duration, count: u64) {
        let Some(to) = self.cluster.agent(to).map(|agent| agent.addresses) else { return };
        self.flows.push(Flow { from, to, every, left: count });
        let phase = self.random.duration(Duration::ZERO..every);
        self.schedule(phase, Event::Flow(self.flows.len() - 1));
    }

    /// All packets sent so far; the position of each is its id.
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    pub(super) fn continue_flow(&mut self, index: usize) {
        let Some(flow) = self.flows.get_mut(index).filter(|flow| flow.left > 0) else { return };
        flow.left -= 1;
        let (from, to, every) = (flow.from, flow.to[usize::from(flow.left % 2 == 1)], flow.every);
        self.send(from, to);
        self.schedule(every, Event::Flow(index));
    }

    fn send(&mut self, from: EndpointId, to: IpAddr) {
        let Some(agent) = self.cluster.agent(from) else { return };
        let source = agent.addresses[usize::from(to.is_ipv6())];
        let (id, network) = (self.sent.len() as u64, agent.network);
        let owner = self.cluster.owner(network, to);
        let sent = Sent { id, from, to: owner, network, at: self.now };
        self.sent.push(sent);
        self.observe(Observation::Sent(sent));
        self.feed(NodeId::Endpoint(from), Input::Packet(packet::build(source, to, id)));
    }

    pub(super) fn deliver(&mut self, at: NodeId, cause: Option<SocketAddr>, packet: &[u8]) {
        // What is not from an application is an ICMP error of the virtual router.
        let sent = packet::id_of(packet).and_then(|id| self.sent.get(usize::try_from(id).ok()?).copied());
        let (Some(sent), NodeId::Endpoint(to)) = (sent, at) else { return };
        let by = cause.and_then(|address| self.addresses.get(&address)).and_then(|node| match node {
            NodeId::Manager(manager) => Some(*manager),
            NodeId::Endpoint(_) => None,
        });
        self.mix(&[self.now.as_nanos() as u64, sent.id, to.0]);
        self.observe(Observation::Delivered(Delivered { sent, to, by }));
    }
}
