//! One simulated machine with one node on it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use festoon_dataplane::packet::offload::VnetHeader;
use festoon_dataplane::{Effects, Node, UnderlayPath};
use festoon_endpoint::node::{self as endpoint, EndpointNode};
use festoon_manager::node::{self as manager, ManagerNode};

/// What arrives at a node.
#[derive(Debug, Clone)]
pub(super) enum Input {
    Datagram { path: UnderlayPath, bytes: Vec<u8> },
    Unreachable(SocketAddr),
    Packet(Vec<u8>),
    Timeout,
}

/// The node on a host.
#[derive(Debug)]
pub(super) enum Program {
    Manager(Box<ManagerNode>),
    Endpoint(Box<EndpointNode>),
}

/// What a node told its shell.
#[derive(Debug)]
pub(super) enum Told {
    Manager(manager::Event),
    Endpoint(endpoint::Event),
}

/// Whether a host's node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    On,
    Frozen,
    Off { icmp: bool },
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) program: Program,
    pub(super) power: Power,
    pub(super) address: SocketAddr,
    /// What waits for a frozen node.
    pub(super) inbox: Vec<Input>,
    /// When its timer fires, from the beginning of the world.
    pub(super) due: Option<Duration>,
    /// Timeouts since the clock last moved.
    pub(super) turns: u32,
}

impl Host {
    pub(super) fn new(program: Program, address: SocketAddr) -> Self {
        Self { program, power: Power::On, address, inbox: Vec::new(), due: Some(Duration::ZERO), turns: 0 }
    }

    pub(super) fn feed(&mut self, now: Instant, input: Input, effects: &mut Effects) {
        match &mut self.program {
            Program::Manager(node) => feed(&mut **node, now, input, effects),
            Program::Endpoint(node) => feed(&mut **node, now, input, effects),
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<Told> {
        match &mut self.program {
            Program::Manager(node) => node.poll_event().map(Told::Manager),
            Program::Endpoint(node) => node.poll_event().map(Told::Endpoint),
        }
    }

    /// Reads the node's timer anew.
    pub(super) fn wind(&mut self, start: Instant, now: Duration) {
        let timeout = match &self.program {
            Program::Manager(node) => node.poll_timeout(),
            Program::Endpoint(node) => node.poll_timeout(),
        };
        self.due = timeout.map(|at| at.saturating_duration_since(start).max(now));
    }

    /// When the node wants to run, if it can.
    pub(super) fn runs_at(&self) -> Option<Duration> {
        self.due.filter(|_| self.power == Power::On)
    }
}

fn feed<N: Node>(node: &mut N, now: Instant, input: Input, effects: &mut Effects) {
    match input {
        Input::Datagram { path, bytes } => node.handle_underlay(now, path, &bytes, bytes.len(), effects),
        Input::Unreachable(to) => node.handle_unreachable(now, to, effects),
        Input::Packet(mut packet) => node.handle_overlay(now, &VnetHeader::default(), &mut packet, effects),
        Input::Timeout => node.handle_timeout(now, effects),
    }
}
