//! What a router says to senders: ICMP (RFC 792, RFC 1812 section 4.3) and ICMPv6 (RFC 4443).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use etherparse::icmpv4::{DestUnreachableHeader, TimeExceededCode as TimeExceededV4};
use etherparse::icmpv6::{DestUnreachableCode, TimeExceededCode as TimeExceededV6};
use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder};
use festoon_proto::{EndpointId, NetworkId};

use crate::bucket::{Buckets, Rate};
use crate::packet::ip::{self, IpHeader, adjust_checksum};

/// Bytes of the offending packet that an ICMP error quotes: RFC 1812 section 4.3.2.3 allows 576 in all for IPv4, and
/// RFC 4443 section 3.1 1,280 for IPv6.
const QUOTE_V4: usize = 576 - 28;
const QUOTE_V6: usize = 1280 - 48;

const HOP_LIMIT: u8 = 64;

/// Why a packet could not be carried on, for its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpError {
    /// The hop limit ran out.
    HopLimit,
    /// Nothing is known of the destination.
    NoRoute,
    /// The destination is known but cannot be reached now.
    HostUnreachable,
    /// The packet is larger than this MTU.
    TooBig(u16),
}

/// The packet that tells the sender of `packet` about `error`, from `gateway`.
///
/// `None` where RFC 1122 section 3.2.2 and RFC 4443 section 2.4 forbid one: about an ICMP error, a fragment but the
/// first, or a packet whose source or destination is not one host; and where `gateway` is of the other family.
pub fn error(packet: &[u8], header: &IpHeader, error: IcmpError, gateway: IpAddr) -> Option<Vec<u8>> {
    if !header.transport.is_present || !header.is_unicast() || is_icmp_error(packet, header) {
        return None;
    }
    let quote = |limit: usize| &packet[..header.len.min(limit)];
    let mut reply = Vec::with_capacity(QUOTE_V6 + 48);
    match (gateway, header.source) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), HOP_LIMIT)
            .icmpv4(type_v4(error))
            .write(&mut reply, quote(QUOTE_V4)),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), HOP_LIMIT)
            .icmpv6(type_v6(error))
            .write(&mut reply, quote(QUOTE_V6)),
        _ => return None,
    }
    .ok()?;
    Some(reply)
}

fn type_v4(error: IcmpError) -> Icmpv4Type {
    match error {
        IcmpError::HopLimit => Icmpv4Type::TimeExceeded(TimeExceededV4::TtlExceededInTransit),
        IcmpError::NoRoute => Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Network),
        IcmpError::HostUnreachable => Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Host),
        IcmpError::TooBig(mtu) => {
            Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu })
        }
    }
}

fn type_v6(error: IcmpError) -> Icmpv6Type {
    match error {
        IcmpError::HopLimit => Icmpv6Type::TimeExceeded(TimeExceededV6::HopLimitExceeded),
        IcmpError::NoRoute => Icmpv6Type::DestinationUnreachable(DestUnreachableCode::NoRoute),
        IcmpError::HostUnreachable => Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Address),
        IcmpError::TooBig(mtu) => Icmpv6Type::PacketTooBig { mtu: u32::from(mtu) },
    }
}

fn is_icmp_error(packet: &[u8], header: &IpHeader) -> bool {
    let kind = packet.get(header.transport.offset).copied();
    match header.transport.protocol {
        ip::ICMPV4 => !matches!(kind, Some(0 | 8 | 13..=18)),
        ip::ICMPV6 => !matches!(kind, Some(128..)),
        _ => false,
    }
}

/// Makes an echo request to the gateway the reply to it, in place. `false` if it is none.
///
/// Fragments are turned round one by one: only the first holds the type, and the checksum is adjusted, not computed.
pub fn echo_reply(packet: &mut [u8], header: &IpHeader) -> bool {
    const REQUEST_V4: u8 = 8;
    const REQUEST_V6: u8 = 128;
    let at = header.transport.offset;
    let (protocol, request, reply) = match header.destination {
        IpAddr::V4(_) => (ip::ICMPV4, REQUEST_V4, 0),
        IpAddr::V6(_) => (ip::ICMPV6, REQUEST_V6, 129),
    };
    if header.transport.protocol != protocol || header.len < at + 8 {
        return false;
    }
    if header.transport.is_present {
        if packet[at] != request {
            return false;
        }
        let before = u16::from_be_bytes([packet[at], packet[at + 1]]);
        packet[at] = reply;
        let after = u16::from_be_bytes([packet[at], packet[at + 1]]);
        adjust_checksum(packet, at + 2, before, after);
    }
    turn_round(packet);
    true
}

/// Exchanges source and destination, which no checksum notices, and gives the packet its hops anew.
fn turn_round(packet: &mut [u8]) {
    if packet[0] >> 4 == 6 {
        let (source, destination) = packet[8..40].split_at_mut(16);
        source.swap_with_slice(destination);
        packet[7] = HOP_LIMIT;
        return;
    }
    let (source, destination) = packet[12..20].split_at_mut(4);
    source.swap_with_slice(destination);
    let before = u16::from_be_bytes([packet[8], packet[9]]);
    packet[8] = HOP_LIMIT;
    let after = u16::from_be_bytes([packet[8], packet[9]]);
    adjust_checksum(packet, 10, before, after);
}

/// How many ICMP errors a node sends (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 (f)): each endpoint has a rate of its
/// own, so that none uses up what is for others, and each network has one, so that all of its endpoints together do not
/// either.
#[derive(Debug, Default)]
pub struct Budgets {
    endpoints: Buckets<EndpointId>,
    networks: Buckets<NetworkId>,
}

impl Budgets {
    const ENDPOINT: Rate = Rate { burst: 50, every: Duration::from_millis(20) };
    const NETWORK: Rate = Rate { burst: 1000, every: Duration::from_millis(1) };

    /// Takes one for an endpoint in a network, if both have one left.
    pub fn take(&mut self, network: NetworkId, endpoint: EndpointId, now: Instant) -> bool {
        // The endpoint first: what it has no right to must not cost its network anything.
        self.endpoints.take(endpoint, Self::ENDPOINT, now).is_ok()
            && self.networks.take(network, Self::NETWORK, now).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{SlicedPacket, TransportSlice};

    fn udp_v4() -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 9, 9], 1).udp(1, 2).write(&mut packet, &[7; 900]).unwrap();
        packet
    }

    #[test]
    fn an_error_quotes_the_packet_and_none_answers_an_error() {
        let packet = udp_v4();
        let header = IpHeader::parse(&packet).unwrap();
        let gateway = "10.0.0.254".parse().unwrap();
        let reply = error(&packet, &header, IcmpError::TooBig(1360), gateway).unwrap();
        assert_eq!(reply.len(), 576);
        let sliced = SlicedPacket::from_ip(&reply).unwrap();
        let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!("no ICMP") };
        assert_eq!(icmp.icmp_type(), type_v4(IcmpError::TooBig(1360)));
        assert_eq!(icmp.payload(), &packet[..548]);
        assert_eq!(icmp.icmp_type().calc_checksum(icmp.payload()), icmp.checksum());

        let header = IpHeader::parse(&reply).unwrap();
        assert_eq!(error(&reply, &header, IcmpError::NoRoute, gateway), None);
        let other = "fd00::1".parse().unwrap();
        assert_eq!(error(&packet, &IpHeader::parse(&packet).unwrap(), IcmpError::NoRoute, other), None);
    }

    #[test]
    fn the_gateway_answers_echo_requests_of_both_families() {
        let (a, b) = ([10, 0, 0, 1], [10, 0, 0, 254]);
        let mut packet = Vec::new();
        PacketBuilder::ipv4(a, b, 3).icmpv4_echo_request(5, 6).write(&mut packet, b"hello").unwrap();
        let header = IpHeader::parse(&packet).unwrap();
        assert!(echo_reply(&mut packet, &header));
        let mut expected = Vec::new();
        PacketBuilder::ipv4(b, a, 64).icmpv4_echo_reply(5, 6).write(&mut expected, b"hello").unwrap();
        assert_eq!(packet, expected);

        let (a, b) = ([0xfd; 16], [0xfc; 16]);
        let mut packet = Vec::new();
        PacketBuilder::ipv6(a, b, 3).icmpv6_echo_request(5, 6).write(&mut packet, b"hello").unwrap();
        let header = IpHeader::parse(&packet).unwrap();
        assert!(echo_reply(&mut packet, &header));
        let mut expected = Vec::new();
        PacketBuilder::ipv6(b, a, 64).icmpv6_echo_reply(5, 6).write(&mut expected, b"hello").unwrap();
        assert_eq!(packet, expected);

        let mut packet = udp_v4();
        let header = IpHeader::parse(&packet).unwrap();
        assert!(!echo_reply(&mut packet, &header));
    }

    #[test]
    fn nobody_uses_up_the_errors_of_others() {
        #[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
        let now = Instant::now();
        let mut budgets = Budgets::default();
        let mut taken = |network, endpoint, now| {
            (0..10_000).filter(|_| budgets.take(NetworkId(network), EndpointId(endpoint), now)).count()
        };
        assert_eq!(taken(1, 1, now), 50);
        assert_eq!(taken(1, 2, now), 50, "another endpoint of the network");
        assert_eq!(taken(2, 3, now), 50, "another network");
        assert_eq!(taken(1, 1, now + Duration::from_millis(500)), 25, "it recovers");
        assert_eq!(
            (100..200).map(|endpoint| taken(3, endpoint, now)).sum::<usize>(),
            1000,
            "a network has a limit too"
        );
        assert_eq!(taken(4, 300, now), 50);
    }
}
