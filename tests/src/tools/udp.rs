//! The echo run over UDP, and the echo itself.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::echo::{self, EchoSocket, Schedule};
use super::outcome::EchoReport;
use super::stop::{POLL, Stop};

/// `udp-ping`.
#[derive(Debug, Args)]
pub struct UdpPingArgs {
    /// Where `udp-echo` listens.
    #[arg(long)]
    to: SocketAddr,
    /// Bytes of payload, at least 16.
    #[arg(long, default_value_t = 64)]
    size: usize,
    #[command(flatten)]
    schedule: Schedule,
}

/// `udp-echo`.
#[derive(Debug, Args)]
pub struct UdpEchoArgs {
    /// Address and port to answer on.
    #[arg(long)]
    listen: SocketAddr,
}

/// What `udp-echo` saw.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpEchoReport {
    /// Datagrams that arrived.
    pub received: u64,
    /// Datagrams sent back.
    pub answered: u64,
}

/// Runs `udp-ping`.
///
/// # Errors
/// When no socket can be opened.
pub fn ping(args: &UdpPingArgs, stop: &Stop) -> anyhow::Result<EchoReport> {
    let any: SocketAddr = if args.to.is_ipv6() { "[::]:0".parse()? } else { "0.0.0.0:0".parse()? };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(POLL))?;
    let socket = UdpProbe { socket, to: args.to, identity: rand::random(), size: args.size.max(16) };
    echo::run(&socket, &args.schedule, stop)
}

struct UdpProbe {
    socket: UdpSocket,
    to: SocketAddr,
    identity: u64,
    size: usize,
}

impl EchoSocket for UdpProbe {
    fn send(&self, sequence: u64) -> io::Result<()> {
        let mut datagram = [self.identity.to_be_bytes(), sequence.to_be_bytes()].concat();
        datagram.resize(self.size, 0);
        self.socket.send_to(&datagram, self.to).map(drop)
    }

    fn receive(&self) -> Option<u64> {
        let mut buffer = [0; 65_536];
        let (length, _) = self.socket.recv_from(&mut buffer).ok()?;
        let (identity, rest) = buffer.get(..length)?.split_first_chunk()?;
        let sequence = u64::from_be_bytes(*rest.first_chunk()?);
        (u64::from_be_bytes(*identity) == self.identity).then_some(sequence)
    }
}

/// Runs `udp-echo`.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve(args: &UdpEchoArgs, stop: &Stop) -> anyhow::Result<UdpEchoReport> {
    let socket = UdpSocket::bind(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    socket.set_read_timeout(Some(POLL))?;
    eprintln!("listening on {}", args.listen);
    let mut buffer = [0; 65_536];
    let mut report = UdpEchoReport::default();
    while !stop.is_due() {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        report.received += 1;
        report.answered += u64::from(socket.send_to(&buffer[..length], from).is_ok());
    }
    Ok(report)
}
