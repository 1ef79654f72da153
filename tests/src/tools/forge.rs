//! Packets of every shape an address check must see through: fragments, options, extension headers. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const UDP: u8 = 17;
const ICMP: u8 = 1;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// A port that nothing listens on. The checksum is left out, as UDP over IPv4 may.
const DATAGRAM: [u8; 16] = [0x11, 0x5c, 0x11, 0x5c, 0, 16, 0, 0, b'f', b'o', b'r', b'g', b'e', b'd', 0, 0];
/// An echo request, checksum included.
const ECHO: [u8; 8] = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
/// An extension header of eight bytes: the next header goes in front, and `PadN` fills the rest.
const PADDED: [u8; 7] = [0, 1, 4, 0, 0, 0, 0];

/// One packet of each kind between two addresses of one family; none for two families.
#[must_use]
pub fn forge_all(from: IpAddr, to: IpAddr) -> Vec<Vec<u8>> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => forge_v4(from, to),
        (IpAddr::V6(from), IpAddr::V6(to)) => forge_v6(from, to),
        _ => Vec::new(),
    }
}

/// A datagram; an echo request; the first and a later fragment; options (record route); a loose source route.
fn forge_v4(from: Ipv4Addr, to: Ipv4Addr) -> Vec<Vec<u8>> {
    let record_route = [7, 7, 4, 0, 0, 0, 0, 0];
    let hop = to.octets();
    let loose_source_route = [131, 7, 4, hop[0], hop[1], hop[2], hop[3], 0];
    vec![
        v4(from, to, UDP, 0, &[], &DATAGRAM),
        v4(from, to, ICMP, 0, &[], &ECHO),
        v4(from, to, UDP, 0x2000, &[], &DATAGRAM),
        v4(from, to, UDP, 0x0002, &[], &DATAGRAM),
        v4(from, to, UDP, 0, &record_route, &DATAGRAM),
        v4(from, to, UDP, 0, &loose_source_route, &DATAGRAM),
    ]
}

/// The header's checksum is left to the kernel (RFC 791 section 3.1).
fn v4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let length = u16::try_from(header + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let words = u8::try_from(header / 4).unwrap_or(15);
    let mut packet = vec![0x40 | words, 0, length[0], length[1], 0x46, 0x53];
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(options);
    packet.extend(payload);
    packet
}

/// A datagram; the same behind each kind of extension header, and behind all; the first and a later fragment; a routing
/// header of type 0.
fn forge_v6(from: Ipv6Addr, to: Ipv6Addr) -> Vec<Vec<u8>> {
    let padded = |next: u8| [&[next][..], &PADDED].concat();
    let fragment = |next: u8, offset_and_more: u16| {
        let [high, low] = offset_and_more.to_be_bytes();
        vec![next, 0, high, low, 0, 0, 0x46, 0x53]
    };
    let routing = [&[UDP, 2, 0, 1, 0, 0, 0, 0][..], &to.octets()].concat();
    let all = [padded(DESTINATION_OPTIONS), padded(FRAGMENT), fragment(UDP, 1)].concat();
    vec![
        v6(from, to, UDP, &[]),
        v6(from, to, HOP_BY_HOP, &padded(UDP)),
        v6(from, to, DESTINATION_OPTIONS, &padded(UDP)),
        v6(from, to, FRAGMENT, &fragment(UDP, 1)),
        v6(from, to, FRAGMENT, &fragment(UDP, 16)),
        v6(from, to, ROUTING, &routing),
        v6(from, to, HOP_BY_HOP, &all),
    ]
}

/// RFC 8200 section 3, with what follows the header in `extensions`, and then a datagram.
fn v6(from: Ipv6Addr, to: Ipv6Addr, next: u8, extensions: &[u8]) -> Vec<u8> {
    let length = u16::try_from(extensions.len() + DATAGRAM.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(extensions);
    packet.extend(DATAGRAM);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_addresses_are_right() {
        let four = forge_all(Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(192, 0, 2, 2).into());
        for packet in &four {
            assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
            assert_eq!((packet[0] >> 4, &packet[12..16]), (4, &[192, 0, 2, 1][..]));
        }
        let six = forge_all(Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into());
        for packet in &six {
            assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])) + 40, packet.len());
            assert_eq!((packet[0] >> 4, packet[23]), (6, 1));
        }
        assert_eq!((four.len(), six.len()), (6, 7));
        assert!(forge_all(Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()).is_empty());
    }
}
