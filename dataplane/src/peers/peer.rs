//! One peer: asleep or awake.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use festoon_proto::PublicKey;
use festoon_proto::address::link_local;

use super::admission::Origin;
use super::own_keys::{OwnKey, Place};
use super::refusals::Refusals;
use super::stamps::Newest;
use crate::batch::UnderlayBatch;
use crate::node::UnderlayPath;
use crate::tunnel::{MIN_BUFFER, Opened, Tunnel};

/// Another node, and the tunnel to it.
#[derive(Debug)]
pub struct Peer<R> {
    /// What it is to this node.
    pub role: R,
    pub(super) key: PublicKey,
    /// Its newest initiations. They outlive its lines.
    pub(super) newest: Newest,
    pub(super) contact: Contact,
    /// A line for each of our own keys, as far as there is one; none at all while the peer sleeps.
    pub(super) lines: [Option<Box<Line>>; 2],
    /// The place of the line that packets go through: that on which the last session was made.
    pub(super) used: Place,
}

/// A tunnel between one of our keys and the peer's.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) tunnel: Tunnel,
    /// Our address for signals in it.
    pub(super) link_local: Ipv6Addr,
    /// When we last answered a handshake on it.
    pub(super) answered: Option<Instant>,
    /// We answered a handshake on it while another line was in use. The first packet shows that the peer has our answer.
    is_offered: bool,
    pub(super) refusals: Refusals,
}

/// Where a peer is, and what came and went.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) link_local: Ipv6Addr,
    pub(super) path: Option<UnderlayPath>,
    pub(super) candidates: Vec<SocketAddr>,
    pub(super) next_candidate: usize,
    pub(super) last_heard: Option<Instant>,
    /// The address in whose bucket it counts.
    pub(super) counted: Option<Origin>,
    pub(super) rx_bytes: u64,
    pub(super) tx_bytes: u64,
}

impl<R> Peer<R> {
    pub(super) fn new(key: PublicKey, role: R, used: Place, newest: Newest) -> Self {
        let contact = Contact {
            link_local: link_local(&key),
            path: None,
            candidates: Vec::new(),
            next_candidate: 0,
            last_heard: None,
            counted: None,
            rx_bytes: 0,
            tx_bytes: 0,
        };
        Self { role, key, newest, contact, lines: [None, None], used }
    }

    /// Its identity.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Where its datagrams go now.
    pub fn underlay(&self) -> Option<SocketAddr> {
        self.contact.path.map(|path| path.remote)
    }

    /// Where it may be found, first of all.
    #[cfg(test)]
    pub(crate) fn first_candidate(&self) -> Option<SocketAddr> {
        self.contact.candidates.first().copied()
    }

    /// When its last authentic datagram came.
    pub fn last_heard(&self) -> Option<Instant> {
        self.contact.last_heard
    }

    /// Bytes of packets received from it.
    pub fn rx_bytes(&self) -> u64 {
        self.contact.rx_bytes
    }

    /// Bytes of packets sent to it.
    pub fn tx_bytes(&self) -> u64 {
        self.contact.tx_bytes
    }

    /// The age of the session with it; `None` without one.
    pub fn session_age(&self) -> Option<Duration> {
        self.lines[self.used.index()].as_ref()?.tunnel.session_age()
    }

    /// Whether there is a session with it.
    pub(super) fn has_session(&self) -> bool {
        self.lines[self.used.index()].as_ref().is_some_and(|line| line.tunnel.has_session())
    }

    pub(super) fn is_awake(&self) -> bool {
        self.lines.iter().any(Option::is_some)
    }

    /// The line made with `own`, made now if there is none.
    pub(super) fn wake(&mut self, own: &OwnKey, number: u32) -> (&mut Contact, &mut Line) {
        let line = self.lines[own.place.index()].get_or_insert_with(|| {
            let tunnel = Tunnel::new(&own.identity, &self.key, own.place.to_wire(number));
            Box::new(Line {
                tunnel,
                link_local: own.link_local,
                answered: None,
                is_offered: false,
                refusals: Refusals::default(),
            })
        });
        (&mut self.contact, line)
    }

    /// Forgets all lines, and where it was heard.
    pub(super) fn disconnect(&mut self) {
        self.lines = [None, None];
        self.contact.path = None;
        self.contact.last_heard = None;
    }

    /// Forgets the line in `place`, and goes on with the other one.
    pub(super) fn cut(&mut self, place: Place, instead: Place) {
        self.lines[place.index()] = None;
        if self.used == place {
            self.used = instead;
        }
    }

    /// Runs the timers of its lines. One that is not in use forgets its sessions when they are old, and begins none: it would
    /// take over again.
    pub(super) fn handle_timeout(&mut self, underlay: &mut UnderlayBatch) {
        let mut buffer = [0; MIN_BUFFER];
        for (index, line) in self.lines.iter_mut().enumerate() {
            let len = line.as_mut().map_or(0, |line| line.tunnel.handle_timeout(&mut buffer));
            if let (true, Some(path), 1..) = (index == self.used.index(), self.contact.path, len) {
                underlay.push(path, &buffer[..len]);
            }
        }
    }
}

impl Line {
    /// Whether what was received on this line, which is not in use, shows that both ends have a new session on it.
    pub(super) fn takes_over(&mut self, opened: Opened) -> bool {
        match opened {
            Opened::Reply(_) => {
                self.is_offered = true;
                false
            }
            Opened::Established(_) => true,
            Opened::Packet(_) | Opened::Keepalive => std::mem::take(&mut self.is_offered),
            Opened::CookieTaken | Opened::Dropped(_) => false,
        }
    }
}

impl Contact {
    /// Where to try a handshake: at the next of the addresses where it may be found, or where it is.
    pub(super) fn next_path(&mut self) -> Option<UnderlayPath> {
        if !self.candidates.is_empty() {
            let remote = self.candidates[self.next_candidate % self.candidates.len()];
            self.next_candidate = self.next_candidate.wrapping_add(1);
            if self.path.is_none_or(|path| path.remote != remote) {
                self.path = Some(UnderlayPath { remote, local: None });
            }
        }
        self.path
    }
}
