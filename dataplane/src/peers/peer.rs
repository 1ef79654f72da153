//! One peer: asleep or awake.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use festoon_proto::PublicKey;
use festoon_proto::address::link_local;

use crate::batch::UnderlayBatch;
use crate::node::UnderlayPath;
use crate::tunnel::{MIN_BUFFER, Tunnel};

/// Another node, and the tunnel to it.
#[derive(Debug)]
pub struct Peer<R> {
    /// What it is to this node.
    pub role: R,
    pub(super) key: PublicKey,
    pub(super) contact: Contact,
    /// None while it sleeps.
    pub(super) tunnel: Option<Box<Tunnel>>,
}

/// Where a peer is, and what came and went.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) link_local: Ipv6Addr,
    pub(super) path: Option<UnderlayPath>,
    pub(super) candidates: Vec<SocketAddr>,
    pub(super) next_candidate: usize,
    pub(super) last_heard: Option<Instant>,
    pub(super) rx_bytes: u64,
    pub(super) tx_bytes: u64,
}

impl<R> Peer<R> {
    pub(super) fn new(key: PublicKey, role: R) -> Self {
        let contact = Contact {
            link_local: link_local(&key),
            path: None,
            candidates: Vec::new(),
            next_candidate: 0,
            last_heard: None,
            rx_bytes: 0,
            tx_bytes: 0,
        };
        Self { role, key, contact, tunnel: None }
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
        self.tunnel.as_ref()?.session_age()
    }

    /// Runs the timers of its tunnel.
    pub(super) fn handle_timeout(&mut self, underlay: &mut UnderlayBatch) {
        let Some(tunnel) = &mut self.tunnel else { return };
        let mut buffer = [0; MIN_BUFFER];
        let len = tunnel.handle_timeout(&mut buffer);
        if let (Some(path), 1..) = (self.contact.path, len) {
            underlay.push(path, &buffer[..len]);
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
