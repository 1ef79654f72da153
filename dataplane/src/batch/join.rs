//! Which packets may be joined into one large segment, and what the large one says of itself.
//!
//! The rules are those of the kernel's receive offload: what is joined and split again is what arrived, byte for byte
//! but for the IPv4 identification where that means nothing.

use super::Coalesce;
use crate::packet::checksum::{Sum, pseudo_header};
use crate::packet::offload::{
    GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, TCP_CHECKSUM, UDP_CHECKSUM, VnetHeader, write_ipv4_checksum,
};

/// The longest headers of a packet that is joined: IPv6 and TCP with all its options.
pub(super) const MAX_HEADERS: usize = 40 + 60;

/// The largest IP packet.
const MAX_PACKET: usize = 65_535;

/// The kernel splits no UDP packet into more (`UDP_MAX_SEGMENTS`).
const MAX_UDP_SEGMENTS: usize = 64;

const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const UDP_HEADER_LEN: usize = 8;
const TCP_PSH: u8 = 0x08;
/// Flags of segments that are joined: ACK, and perhaps ECE and PSH (RFC 9293 section 3.1, RFC 3168).
const TCP_ACK: u8 = 0x10;
const TCP_ECE: u8 = 0x40;

/// What a packet is to those before and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// May be joined with others of its flow.
    Joinable(Shape),
    /// Belongs to a flow and must keep its place in it, but stands alone.
    Single(Shape),
    /// Belongs to any flow: nothing may overtake it.
    Unknown,
}

/// Where the parts of a TCP or UDP packet are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    udp: bool,
    /// Where the TCP or UDP header begins: behind 20 bytes of IPv4 or 40 of IPv6.
    transport: usize,
    /// Where the payload begins.
    pub(super) headers: usize,
}

/// Looks at a packet as it was decrypted.
pub(super) fn classify(packet: &[u8], coalesce: Coalesce) -> Class {
    let Some((protocol, transport)) = ip_fits(packet) else { return Class::Unknown };
    let segment = &packet[transport..];
    let (udp, joinable, header) = match protocol {
        PROTOCOL_TCP if segment.len() >= 20 => {
            let header = usize::from(segment[12] >> 4) * 4;
            (false, coalesce != Coalesce::None && tcp_fits(segment, header), header)
        }
        PROTOCOL_UDP if segment.len() >= UDP_HEADER_LEN => {
            (true, coalesce == Coalesce::TcpAndUdp && udp_fits(segment), UDP_HEADER_LEN)
        }
        _ => return Class::Unknown,
    };
    let shape = Shape { udp, transport, headers: transport + header };
    if joinable && shape.pseudo(packet).with(segment).checksum() == 0 {
        Class::Joinable(shape)
    } else {
        Class::Single(shape)
    }
}

/// The protocol and the length of an IP header without options, fragments or contradictions.
fn ip_fits(packet: &[u8]) -> Option<(u8, usize)> {
    let length = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    match packet.first()? {
        0x45 if packet.len() >= 20 => {
            let unfragmented = packet[6] & !0x40 == 0 && packet[7] == 0;
            let fits = unfragmented && length(2) == packet.len() && Sum::of(&packet[..20]).checksum() == 0;
            fits.then_some((packet[9], 20))
        }
        0x60..=0x6f if packet.len() >= 40 => (length(4) + 40 == packet.len()).then_some((packet[6], 40)),
        _ => None,
    }
}

fn tcp_fits(segment: &[u8], header: usize) -> bool {
    header >= 20 && segment.len() > header && segment[13] & !(TCP_PSH | TCP_ECE) == TCP_ACK
}

fn udp_fits(segment: &[u8]) -> bool {
    let length = usize::from(u16::from_be_bytes([segment[4], segment[5]]));
    let has_checksum = segment[UDP_CHECKSUM..UDP_CHECKSUM + 2] != [0, 0];
    has_checksum && length == segment.len() && length > UDP_HEADER_LEN
}

impl Shape {
    /// Whether packets that begin with these headers, `one` of this shape, belong to one flow: the same version,
    /// addresses, protocol and ports.
    pub(super) fn same_flow(&self, one: &[u8], other: &[u8]) -> bool {
        let (protocol, addresses) = if self.transport == 20 { (9, 12..24) } else { (6, 8..44) };
        one[0] >> 4 == other[0] >> 4 && one[protocol] == other[protocol] && one[addresses.clone()] == other[addresses]
    }

    fn pseudo(&self, packet: &[u8]) -> Sum {
        let (addresses, protocol) = if self.transport == 20 { (12..20, packet[9]) } else { (8..40, packet[6]) };
        pseudo_header(&packet[addresses], protocol, packet.len() - self.transport)
    }
}

/// A packet that others were joined to, or may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Train {
    pub(super) shape: Shape,
    /// Payload bytes of each packet in it but the last.
    size: usize,
    segments: usize,
}

/// Whether a train may take further packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    Open,
    Ended,
}

impl Train {
    /// The train that the joinable `packet` begins.
    pub(super) fn begin(shape: Shape, packet: &[u8]) -> (Self, Growth) {
        let train = Self { shape, size: packet.len() - shape.headers, segments: 1 };
        let pushed = !shape.udp && packet[shape.transport + 13] & TCP_PSH != 0;
        (train, if pushed { Growth::Ended } else { Growth::Open })
    }

    /// Whether a joinable packet of the same flow with headers `next` and `payload` bytes behind them continues this
    /// train of `len` bytes, which begins with the headers `first`.
    pub(super) fn continues(&self, first: &[u8], len: usize, next: &[u8], payload: usize) -> bool {
        let Shape { udp, transport, headers } = self.shape;
        next.len() == headers
            && payload <= self.size
            && len + payload <= MAX_PACKET
            && (!udp || self.segments < MAX_UDP_SEGMENTS)
            && self.same_ip(first, next)
            && (udp || self.same_tcp(&first[transport..headers], &next[transport..], len - headers))
    }

    fn same_ip(&self, first: &[u8], next: &[u8]) -> bool {
        if self.shape.transport == 40 {
            return first[..4] == next[..4] && first[7] == next[7];
        }
        // With "don't fragment" the identification means nothing (RFC 6864); without, it counts.
        let id = |header: &[u8]| u16::from_be_bytes([header[4], header[5]]);
        let counts = first[6] & 0x40 != 0 || id(next) == id(first).wrapping_add(self.segments as u16);
        first[1] == next[1] && first[6] == next[6] && first[8] == next[8] && counts
    }

    /// The sequence runs on, and all else but the checksum and PSH is the same, options included.
    fn same_tcp(&self, first: &[u8], next: &[u8], offset: usize) -> bool {
        let sequence = |header: &[u8]| u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        sequence(next) == sequence(first).wrapping_add(offset as u32)
            && first[8..13] == next[8..13]
            && (first[13] ^ next[13]) & !TCP_PSH == 0
            && first[14..16] == next[14..16]
            && first[18..] == next[18..]
    }

    /// A packet with headers `next` and `payload` bytes was put at the end of `packet`, the whole train.
    pub(super) fn extend(&mut self, packet: &mut [u8], next: &[u8], payload: usize) -> Growth {
        let Shape { udp, transport, .. } = self.shape;
        let pushed = if udp { 0 } else { next[transport + 13] & TCP_PSH };
        self.segments += 1;
        if !udp {
            packet[transport + 13] |= pushed;
        }
        self.write_lengths(packet);
        if pushed != 0 || payload < self.size { Growth::Ended } else { Growth::Open }
    }

    /// Makes the headers right for the length, with a checksum that covers only the pseudo-header.
    fn write_lengths(&self, packet: &mut [u8]) {
        let Shape { udp, transport, .. } = self.shape;
        let partial = self.shape.pseudo(packet).fold();
        let length = packet.len();
        if transport == 20 {
            packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            write_ipv4_checksum(&mut packet[..20]);
        } else {
            packet[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
        }
        if udp {
            packet[transport + 4..transport + 6].copy_from_slice(&((length - transport) as u16).to_be_bytes());
        }
        packet[transport + self.checksum_offset()..][..2].copy_from_slice(&partial.to_be_bytes());
    }

    /// What the device must know of the train.
    pub(super) fn vnet_header(&self) -> VnetHeader {
        let Shape { udp, transport, headers } = self.shape;
        if self.segments == 1 {
            return VnetHeader::default();
        }
        let gso_type = match (udp, transport) {
            (true, _) => GSO_UDP_L4,
            (false, 20) => GSO_TCPV4,
            (false, _) => GSO_TCPV6,
        };
        VnetHeader {
            flags: NEEDS_CSUM,
            gso_type,
            hdr_len: headers as u16,
            gso_size: self.size as u16,
            csum_start: transport as u16,
            csum_offset: self.checksum_offset() as u16,
        }
    }

    fn checksum_offset(&self) -> usize {
        if self.shape.udp { UDP_CHECKSUM } else { TCP_CHECKSUM }
    }
}
