//! One end of a tunnel to a manager, in the hands of somebody who holds the key and says what no program of ours says.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, ensure};
use festoon_dataplane::UnderlayPath;
use festoon_dataplane::batch::UnderlayBatch;
use festoon_dataplane::drop_reason::DropCounters;
use festoon_dataplane::peers::{PeerId, Peers, Received};
use festoon_proto::signal::Message;
use festoon_proto::{PrivateKey, PublicKey};

use super::stop::POLL;
use crate::clock::now;

/// Room for any datagram and the packet in it.
const LARGEST_DATAGRAM: usize = 66_000;

/// The end of a tunnel.
pub(super) struct Tunnel {
    pub(super) socket: UdpSocket,
    peers: Peers<()>,
    manager: PeerId,
    /// The manager's underlay address.
    pub(super) at: SocketAddr,
    /// Where datagrams go.
    pub(super) to: SocketAddr,
    buffer: Vec<u8>,
    plain: Vec<u8>,
    /// Datagrams that the kernel took.
    pub(super) sent: u64,
    /// Datagrams that it refused.
    pub(super) refused: u64,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing, or an ICMP error did.
    Nothing,
    /// Something that is of the tunnel itself.
    Protocol,
    /// A packet.
    Packet,
    /// A signal message.
    Signal(Message),
}

impl Tunnel {
    /// To the manager with this key at this address, by whoever has this private key.
    pub(super) fn open(own: &PrivateKey, manager: PublicKey, at: SocketAddr) -> anyhow::Result<Self> {
        let any: SocketAddr = if at.is_ipv6() { "[::]:0".parse()? } else { "0.0.0.0:0".parse()? };
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(POLL))?;
        let mut peers = Peers::new(own, false);
        let manager = peers.insert(manager, ()).context("no room for a manager")?;
        peers.set_candidates(manager, &[at]);
        let (buffer, plain) = (vec![0; LARGEST_DATAGRAM], vec![0; LARGEST_DATAGRAM]);
        Ok(Self { socket, peers, manager, at, to: at, buffer, plain, sent: 0, refused: 0 })
    }

    /// Says something. Without a session it waits for one.
    pub(super) fn say(&mut self, message: &Message) -> anyhow::Result<()> {
        self.send_made(|peers, manager, batch| peers.signal(manager, message, batch).is_ok())
    }

    /// Sends a packet.
    pub(super) fn send(&mut self, packet: &[u8]) -> anyhow::Result<()> {
        self.send_made(|peers, manager, batch| peers.send(manager, packet, batch).is_ok())
    }

    fn send_made(
        &mut self,
        make: impl FnOnce(&mut Peers<()>, PeerId, &mut UnderlayBatch) -> bool,
    ) -> anyhow::Result<()> {
        let mut batch = UnderlayBatch::new(1);
        ensure!(make(&mut self.peers, self.manager, &mut batch), "a packet was not encrypted: the session is lost");
        self.transmit(&batch);
        Ok(())
    }

    fn transmit(&mut self, batch: &UnderlayBatch) {
        for datagram in batch.groups().flat_map(|group| group.datagrams().collect::<Vec<_>>()) {
            match self.socket.send_to(datagram, self.to) {
                Ok(_) => self.sent += 1,
                Err(_) => self.refused += 1,
            }
        }
    }

    /// Takes a datagram, if there is one.
    pub(super) fn receive(&mut self) -> anyhow::Result<Heard> {
        let Ok((len, remote)) = self.socket.recv_from(&mut self.buffer) else { return Ok(Heard::Nothing) };
        let (mut batch, mut drops) = (UnderlayBatch::new(1), DropCounters::default());
        let path = UnderlayPath { remote, local: None };
        let datagram = self.buffer.get(..len).context("more than the buffer holds")?;
        let heard = match self.peers.receive(now(), path, datagram, &mut self.plain, &mut batch, &mut drops) {
            Received::Packet { .. } => Heard::Packet,
            Received::Signal { message, .. } => Heard::Signal(message),
            _ => Heard::Protocol,
        };
        while self.peers.handle_handshake(now(), &mut batch, &mut drops).is_some() {}
        self.transmit(&batch);
        Ok(heard)
    }
}
