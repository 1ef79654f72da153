//! IP packets, checked once when they come in; offsets are kept.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{Ipv4HeaderSlice, Ipv6Header, Ipv6HeaderSlice};

use crate::drop_reason::DropReason;

/// ICMP for IPv4 (RFC 792).
pub const ICMPV4: u8 = 1;
/// TCP (RFC 9293).
pub const TCP: u8 = 6;
/// UDP (RFC 768).
pub const UDP: u8 = 17;
/// ICMP for IPv6 (RFC 4443).
pub const ICMPV6: u8 = 58;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// Extension headers that are followed; more than any sound packet has.
const MAX_EXTENSIONS: usize = 8;

/// Where the transport header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transport {
    /// Its protocol number.
    pub protocol: u8,
    /// Its offset from the start of the packet.
    pub offset: usize,
    /// Whether it is really there: fragments but the first have none.
    pub is_present: bool,
}

/// What a node needs to know of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpHeader {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// Hops left: time to live in IPv4, hop limit in IPv6.
    pub hop_limit: u8,
    /// The length of the whole packet in bytes, as its header says.
    pub len: usize,
    /// Whether routers on the way may fragment it.
    pub may_fragment: bool,
    /// Where the transport header is.
    pub transport: Transport,
}

impl IpHeader {
    /// Checks `packet` and finds its fields. Bytes behind the length its header says are ignored.
    ///
    /// Refuses what is malformed, and what prescribes its own route: source route options (RFC 7126 section 4.4) and
    /// routing headers of type 0 (RFC 5095).
    pub fn parse(packet: &[u8]) -> Result<Self, DropReason> {
        match packet.first().map(|byte| byte >> 4) {
            Some(4) => parse_v4(packet),
            Some(6) => parse_v6(packet),
            _ => Err(DropReason::MalformedPacket),
        }
    }

    /// Whether the packet is addressed to one host.
    pub fn is_unicast(&self) -> bool {
        match self.destination {
            IpAddr::V4(address) => !address.is_multicast() && !address.is_broadcast() && !address.is_unspecified(),
            IpAddr::V6(address) => !address.is_multicast() && !address.is_unspecified(),
        }
    }
}

fn parse_v4(packet: &[u8]) -> Result<IpHeader, DropReason> {
    let header = Ipv4HeaderSlice::from_slice(packet).map_err(|_| DropReason::MalformedPacket)?;
    let (header_len, len) = (header.slice().len(), usize::from(header.total_len()));
    if len < header_len || len > packet.len() {
        return Err(DropReason::MalformedPacket);
    }
    if header_len > 20 && has_source_route(header.options()) {
        return Err(DropReason::SourceRouted);
    }
    Ok(IpHeader {
        source: Ipv4Addr::from(header.source()).into(),
        destination: Ipv4Addr::from(header.destination()).into(),
        hop_limit: header.ttl(),
        len,
        may_fragment: !header.dont_fragment(),
        transport: Transport {
            protocol: header.protocol().0,
            offset: header_len,
            is_present: header.fragments_offset().value() == 0,
        },
    })
}

/// Walks the options of RFC 791 section 3.1. Options that cannot be walked hide what they are: as good as a route.
fn has_source_route(mut options: &[u8]) -> bool {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_ROUTE: u8 = 131;
    const STRICT_ROUTE: u8 = 137;
    while let Some(&kind) = options.first() {
        let len = match kind {
            END => return false,
            NO_OPERATION => 1,
            LOOSE_ROUTE | STRICT_ROUTE => return true,
            _ => options.get(1).map_or(0, |&len| usize::from(len)),
        };
        if len == 0 || (len == 1 && kind != NO_OPERATION) || len > options.len() {
            return true;
        }
        options = &options[len..];
    }
    false
}

fn parse_v6(packet: &[u8]) -> Result<IpHeader, DropReason> {
    let header = Ipv6HeaderSlice::from_slice(packet).map_err(|_| DropReason::MalformedPacket)?;
    let len = Ipv6Header::LEN + usize::from(header.payload_length());
    if len > packet.len() {
        return Err(DropReason::MalformedPacket);
    }
    Ok(IpHeader {
        source: Ipv6Addr::from(header.source()).into(),
        destination: Ipv6Addr::from(header.destination()).into(),
        hop_limit: header.hop_limit(),
        len,
        may_fragment: false,
        transport: skip_extensions(&packet[..len], header.next_header().0)?,
    })
}

/// Follows the extension headers of RFC 8200 section 4 to the transport header.
fn skip_extensions(packet: &[u8], mut protocol: u8) -> Result<Transport, DropReason> {
    let mut offset = Ipv6Header::LEN;
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS) {
            return Ok(Transport { protocol, offset, is_present: true });
        }
        let extension = packet.get(offset..offset + 8).ok_or(DropReason::MalformedPacket)?;
        if protocol == ROUTING && extension[2] == 0 {
            return Err(DropReason::SourceRouted);
        }
        let is_fragment = protocol == FRAGMENT;
        protocol = extension[0];
        if is_fragment {
            offset += 8;
            if u16::from_be_bytes([extension[2], extension[3]]) >> 3 != 0 {
                return Ok(Transport { protocol, offset, is_present: false });
            }
        } else {
            offset += 8 + usize::from(extension[1]) * 8;
        }
        if offset > packet.len() {
            return Err(DropReason::MalformedPacket);
        }
    }
    Err(DropReason::MalformedPacket)
}

/// Takes one hop off a packet that [`IpHeader::parse`] accepted. The caller has checked that there is one left.
pub fn decrement_hop_limit(packet: &mut [u8]) {
    if packet[0] >> 4 == 6 {
        packet[7] = packet[7].saturating_sub(1);
        return;
    }
    let before = u16::from_be_bytes([packet[8], packet[9]]);
    packet[8] = packet[8].saturating_sub(1);
    let after = u16::from_be_bytes([packet[8], packet[9]]);
    adjust_checksum(packet, 10, before, after);
}

/// Changes the internet checksum at `offset` for a 16-bit word that was `before` and is `after` (RFC 1624, equation 3).
pub fn adjust_checksum(packet: &mut [u8], offset: usize, before: u16, after: u16) {
    let checksum = u16::from_be_bytes([packet[offset], packet[offset + 1]]);
    let mut sum = u32::from(!checksum) + u32::from(!before) + u32::from(after);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[offset..offset + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// Lowers the MSS option of a TCP SYN so that its segments fit in `mtu` (RFC 4821 calls the need for it a black hole).
pub fn clamp_mss(packet: &mut [u8], header: &IpHeader, mtu: u16) {
    const SYN: u8 = 0x02;
    let start = header.transport.offset;
    if header.transport.protocol != TCP || !header.transport.is_present || header.len < start + 20 {
        return;
    }
    if packet[start + 13] & SYN == 0 {
        return;
    }
    let ip_header = if header.source.is_ipv4() { 20 } else { 40 };
    let largest = mtu.saturating_sub(ip_header + 20);
    let end = start + usize::from(packet[start + 12] >> 4) * 4;
    // A header that is longer than its packet is nobody's to repair, and its last word would not be there.
    if end < start + 20 || end > header.len {
        return;
    }
    if let Some(at) = find_mss(&packet[..end], start + 20) {
        let mss = u16::from_be_bytes([packet[at], packet[at + 1]]);
        if mss > largest {
            lower_mss(packet, start, at, largest);
        }
    }
}

/// The offset of the value of the MSS option (RFC 9293 section 3.2), in a packet that ends where its TCP header does.
fn find_mss(packet: &[u8], mut at: usize) -> Option<usize> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const MSS: u8 = 2;
    loop {
        match *packet.get(at)? {
            END => return None,
            NO_OPERATION => at += 1,
            kind => {
                let len = usize::from(*packet.get(at + 1)?);
                if len < 2 || at + len > packet.len() {
                    return None;
                }
                if kind == MSS && len == 4 {
                    return Some(at + 2);
                }
                at += len;
            }
        }
    }
}

/// Writes a new MSS at `at`, which may lie across two 16-bit words of the checksum.
fn lower_mss(packet: &mut [u8], tcp: usize, at: usize, mss: u16) {
    let first = at - (at - tcp) % 2;
    let last = at + 1 - (at + 1 - tcp) % 2;
    for word in [first, last].into_iter().take(if first == last { 1 } else { 2 }) {
        let before = u16::from_be_bytes([packet[word], packet[word + 1]]);
        for (index, byte) in mss.to_be_bytes().into_iter().enumerate() {
            if (word..word + 2).contains(&(at + index)) {
                packet[at + index] = byte;
            }
        }
        let after = u16::from_be_bytes([packet[word], packet[word + 1]]);
        adjust_checksum(packet, tcp + 16, before, after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice};
    use proptest::prelude::*;

    fn syn(mss: u16, padding: usize) -> Vec<u8> {
        let mut options = vec![TcpOptionElement::Noop; padding];
        options.push(TcpOptionElement::MaximumSegmentSize(mss));
        let builder =
            PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(1, 2, 3, 4).syn().options(&options).unwrap();
        let mut packet = Vec::new();
        builder.write(&mut packet, &[]).unwrap();
        packet
    }

    fn tcp_checksum_is_valid(packet: &[u8]) -> bool {
        let sliced = SlicedPacket::from_ip(packet).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { return false };
        tcp.calc_checksum_ipv4([10, 0, 0, 1], [10, 0, 0, 2]).unwrap() == tcp.checksum()
    }

    #[test]
    fn a_large_mss_is_lowered_wherever_it_stands_and_a_small_one_kept() {
        for padding in 0..4 {
            let mut packet = syn(1460, padding);
            let header = IpHeader::parse(&packet).unwrap();
            clamp_mss(&mut packet, &header, 1360);
            assert!(tcp_checksum_is_valid(&packet), "padding {padding}");
            let at = find_mss(&packet, 40).unwrap();
            assert_eq!(packet[at..at + 2], 1320_u16.to_be_bytes());
        }
        let mut packet = syn(536, 0);
        let before = packet.clone();
        let header = IpHeader::parse(&packet).unwrap();
        clamp_mss(&mut packet, &header, 1360);
        assert_eq!(packet, before);
    }

    #[test]
    fn a_tcp_header_that_is_longer_than_its_packet_is_left_alone() {
        let mut packet = syn(1460, 1);
        packet.truncate(45);
        packet[3] = 45;
        packet[32] = 7 << 4;
        packet[40..45].copy_from_slice(&[1, 2, 4, 0xff, 0xff]);
        let (header, before) = (IpHeader::parse(&packet).unwrap(), packet.clone());
        clamp_mss(&mut packet, &header, 1360);
        assert_eq!(packet, before);
    }

    #[test]
    fn taking_a_hop_keeps_the_checksum_right() {
        for hops in [2, 64, 255] {
            let mut packet = Vec::new();
            PacketBuilder::ipv4([1, 2, 3, 4], [5, 6, 7, 8], hops).udp(1, 2).write(&mut packet, &[9]).unwrap();
            decrement_hop_limit(&mut packet);
            let header = Ipv4HeaderSlice::from_slice(&packet).unwrap().to_header();
            assert_eq!(header.time_to_live, hops - 1);
            assert_eq!(header.calc_header_checksum(), header.header_checksum);
        }
    }

    #[test]
    fn source_routes_of_both_families_are_refused() {
        let mut packet = vec![0x46, 0, 0, 24, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 131, 4, 4, 0];
        assert_eq!(IpHeader::parse(&packet), Err(DropReason::SourceRouted));
        packet[20] = 7; // record route is harmless
        assert!(IpHeader::parse(&packet).is_ok());
        packet[21] = 0; // an option without a length
        assert_eq!(IpHeader::parse(&packet), Err(DropReason::SourceRouted));

        let mut packet = vec![0; 48];
        packet[0] = 0x60;
        packet[5] = 8;
        packet[6] = ROUTING;
        packet[40] = UDP;
        assert_eq!(IpHeader::parse(&packet), Err(DropReason::SourceRouted));
        packet[42] = 4; // segment routing is not type 0
        assert_eq!(IpHeader::parse(&packet).unwrap().transport.offset, 48);
    }

    #[test]
    fn fragments_are_known_in_both_families() {
        let mut packet = vec![0; 56];
        packet[0] = 0x60;
        packet[5] = 16;
        packet[6] = FRAGMENT;
        packet[40] = UDP;
        assert!(IpHeader::parse(&packet).unwrap().transport.is_present);
        packet[43] = 8;
        assert!(!IpHeader::parse(&packet).unwrap().transport.is_present);
        let mut packet =
            vec![0x45, 0, 0, 28, 0, 0, 0, 1, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(!IpHeader::parse(&packet).unwrap().transport.is_present);
        packet[3] = 60;
        assert_eq!(IpHeader::parse(&packet), Err(DropReason::MalformedPacket));
    }

    proptest! {
        #[test]
        fn junk_never_panics(mut packet in proptest::collection::vec(any::<u8>(), 0..200), first in 0_u8..4) {
            if let (Some(byte), 1..) = (packet.first_mut(), first) {
                *byte = [0x45, 0x46, 0x60][usize::from(first) - 1];
            }
            if packet.len() > 4 { let len = packet.len() as u16; packet[2..4].copy_from_slice(&len.to_be_bytes()); }
            if let Ok(header) = IpHeader::parse(&packet) {
                prop_assert!(header.len <= packet.len());
                packet.truncate(header.len);
                clamp_mss(&mut packet, &header, 1280);
                decrement_hop_limit(&mut packet);
            }
        }
    }
}
