//! ICMP echo (RFC 792, RFC 4443 section 4). Unprivileged where the kernel allows it (`net.ipv4.ping_group_range`), else with a
//! raw socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

const HEADER: usize = 8;
/// Bytes behind the header, as `ping` has them.
const PAYLOAD: usize = 56;
const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;

/// Asks one address.
#[derive(Debug)]
pub(super) struct Echo {
    /// It is none of UDP, but sending and receiving are the same.
    socket: UdpSocket,
    v6: bool,
    /// A raw socket for IPv4 also hands over the IP header.
    has_ip_header: bool,
    /// Tells our replies from those to other pings.
    identity: u64,
}

impl Echo {
    /// Prepares to ask `target`.
    pub(super) fn open(target: IpAddr) -> io::Result<Self> {
        let (domain, protocol) = match target {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let unprivileged = Socket::new(domain, Type::DGRAM, Some(protocol));
        let is_raw = unprivileged.is_err();
        let socket = unprivileged.or_else(|_| Socket::new(domain, Type::RAW, Some(protocol)))?;
        socket.set_nonblocking(true)?;
        socket.connect(&SocketAddr::new(target, 0).into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let v6 = target.is_ipv6();
        Ok(Self { socket, v6, has_ip_header: is_raw && !v6, identity: rand::random() })
    }

    /// Asks once. `None` if no answer comes in time.
    pub(super) async fn ask(&self, sequence: u32, patience: Duration) -> io::Result<Option<Duration>> {
        let start = Instant::now();
        self.socket.send(&request(self.v6, self.identity, sequence)).await?;
        match timeout_at(start + patience, self.answer(sequence)).await {
            Ok(answered) => answered.map(|()| Some(start.elapsed())),
            Err(_) => Ok(None),
        }
    }

    async fn answer(&self, sequence: u32) -> io::Result<()> {
        let mut buffer = [0; 2048];
        loop {
            let length = self.socket.recv(&mut buffer).await?;
            if is_reply(self.v6, self.has_ip_header, self.identity, sequence, &buffer[..length]) {
                return Ok(());
            }
        }
    }
}

fn request(v6: bool, identity: u64, sequence: u32) -> [u8; HEADER + PAYLOAD] {
    let mut packet = [0; HEADER + PAYLOAD];
    packet[0] = if v6 { REQUEST_V6 } else { REQUEST_V4 };
    packet[4..6].copy_from_slice(&identity.to_be_bytes()[..2]);
    packet[6..8].copy_from_slice(&sequence.to_be_bytes()[2..]);
    packet[8..16].copy_from_slice(&identity.to_be_bytes());
    packet[16..20].copy_from_slice(&sequence.to_be_bytes());
    // The kernel fills in the checksum of ICMPv6, for it covers the addresses.
    if !v6 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// Whether `packet` is the answer to our request. The header's identifier may be the kernel's choice, so the payload counts.
fn is_reply(v6: bool, has_ip_header: bool, identity: u64, sequence: u32, packet: &[u8]) -> bool {
    let skip = match packet.first() {
        Some(first) if has_ip_header => usize::from(first & 0x0f) * 4,
        _ => 0,
    };
    let Some(icmp) = packet.get(skip..) else { return false };
    icmp.first() == Some(if v6 { &REPLY_V6 } else { &REPLY_V4 })
        && icmp.get(8..16) == Some(&identity.to_be_bytes())
        && icmp.get(16..20) == Some(&sequence.to_be_bytes())
}

/// RFC 1071.
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)));
    let sum = words.fold(0u32, u32::wrapping_add);
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_known_by_what_the_request_carried() {
        for v6 in [false, true] {
            let mut packet = request(v6, 7, 70_000);
            assert!(v6 || checksum(&packet) == 0);
            assert!(!is_reply(v6, false, 7, 70_000, &packet), "the request itself");
            packet[0] = if v6 { REPLY_V6 } else { REPLY_V4 };
            // As an unprivileged socket's kernel does.
            packet[4..6].copy_from_slice(&[9, 9]);
            assert!(is_reply(v6, false, 7, 70_000, &packet));
            assert!(!is_reply(v6, false, 8, 70_000, &packet) && !is_reply(v6, false, 7, 70_001, &packet));
            assert!(!is_reply(v6, false, 7, 70_000, &packet[..19]) && !is_reply(v6, false, 7, 70_000, &[]));
            let with_ip_header = [&[0x46; 24][..], &packet].concat();
            assert!(is_reply(v6, true, 7, 70_000, &with_ip_header));
            assert!(!is_reply(v6, true, 7, 70_000, &[0x4f; 20]));
        }
    }
}
