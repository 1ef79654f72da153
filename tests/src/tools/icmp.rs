//! ICMP echo, v4 (RFC 792) and v6 (RFC 4443).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::Context;
use clap::Args;
use socket2::{Domain, Protocol, Socket, Type};

use super::echo::{self, EchoSocket, Schedule};
use super::outcome::EchoReport;
use super::stop::{POLL, Stop};

const HEADER: usize = 8;
const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;

/// `ping`.
#[derive(Debug, Args)]
pub struct PingArgs {
    /// Whom to ask.
    #[arg(long)]
    target: IpAddr,
    /// Bytes of payload, at least 16.
    #[arg(long, default_value_t = 56)]
    size: usize,
    #[command(flatten)]
    schedule: Schedule,
}

/// Runs `ping`.
///
/// # Errors
/// When no raw socket can be opened.
pub fn ping(args: &PingArgs, stop: &Stop) -> anyhow::Result<EchoReport> {
    let socket = IcmpSocket::new(args.target, args.size).context("cannot open a raw ICMP socket (are you root?)")?;
    echo::run(&socket, &args.schedule, stop)
}

/// Not connected: a connected raw socket would keep the source address of the moment.
struct IcmpSocket {
    socket: UdpSocket,
    target: IpAddr,
    /// Tells our replies from those to other pings: only 16 bits of it fit the header, so all of it is in the payload.
    identity: u64,
    size: usize,
}

impl IcmpSocket {
    fn new(target: IpAddr, size: usize) -> io::Result<Self> {
        let (domain, protocol) = match target {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.set_read_timeout(Some(POLL))?;
        socket.set_recv_buffer_size(1 << 20)?;
        Ok(Self { socket: socket.into(), target, identity: rand::random(), size: size.max(16) })
    }
}

impl EchoSocket for IcmpSocket {
    fn send(&self, sequence: u64) -> io::Result<()> {
        let request = build(self.target.is_ipv6(), self.identity, sequence, self.size);
        self.socket.send_to(&request, SocketAddr::new(self.target, 0)).map(drop)
    }

    fn receive(&self) -> Option<u64> {
        let mut buffer = [0; 65_536];
        let (length, from) = self.socket.recv_from(&mut buffer).ok()?;
        let packet = buffer.get(..length).filter(|_| from.ip() == self.target)?;
        parse(self.target.is_ipv6(), self.identity, packet)
    }
}

fn build(v6: bool, identity: u64, sequence: u64, size: usize) -> Vec<u8> {
    let mut packet = vec![0; HEADER + size];
    packet[0] = if v6 { REQUEST_V6 } else { REQUEST_V4 };
    packet[4..6].copy_from_slice(&identity.to_be_bytes()[..2]);
    packet[6..8].copy_from_slice(&sequence.to_be_bytes()[6..]);
    packet[8..16].copy_from_slice(&identity.to_be_bytes());
    packet[16..24].copy_from_slice(&sequence.to_be_bytes());
    // The kernel fills in the checksum of ICMPv6, and of ICMPv6 only.
    if !v6 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The sequence number in a reply to us. A v4 raw socket also hands over the IP header.
fn parse(v6: bool, identity: u64, packet: &[u8]) -> Option<u64> {
    let header = if v6 { 0 } else { usize::from(packet.first()? & 0x0f) * 4 };
    let icmp = packet.get(header..)?;
    let wanted = if v6 { REPLY_V6 } else { REPLY_V4 };
    let ours = icmp.get(8..16)? == identity.to_be_bytes();
    let sequence = u64::from_be_bytes(icmp.get(16..24)?.try_into().ok()?);
    (*icmp.first()? == wanted && ours).then_some(sequence)
}

/// RFC 1071.
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)));
    let mut sum = words.fold(0u32, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_checks_out_and_its_reply_parses() {
        let mut packet = build(false, 7, 300, 56);
        assert_eq!(checksum(&packet), 0);
        packet[0] = REPLY_V4;
        let with_ip_header = [vec![0x45; 20], packet].concat();
        assert_eq!(parse(false, 7, &with_ip_header), Some(300));
        assert_eq!(parse(false, 8, &with_ip_header), None);
        assert_eq!(parse(false, 7, &with_ip_header[..30]), None);
    }
}
