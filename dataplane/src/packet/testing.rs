//! Large packets as a TUN device hands them over, for the tests of splitting and joining.

use etherparse::{IpNumber, Ipv4Header, Ipv6Header, TcpHeader, UdpHeader};
use proptest::prelude::*;

use super::checksum::pseudo_header;
use super::offload::{GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, VnetHeader, write_ipv4_checksum};

/// A packet with its offload header.
#[derive(Debug, Clone)]
pub(crate) struct Large {
    pub(crate) header: VnetHeader,
    pub(crate) bytes: Vec<u8>,
}

impl Large {
    /// A TCP flow over IPv4 with `payload` bytes in segments of `size`.
    pub(crate) fn tcp_v4(payload: usize, size: u16) -> Self {
        Self::new(false, false, 1000, true, size, &vec![0xa5; payload])
    }

    /// `psh` stands for the more volatile parts of a TCP header.
    pub(crate) fn new(v6: bool, udp: bool, number: u32, psh: bool, size: u16, payload: &[u8]) -> Self {
        let transport = if udp { udp_header(payload.len()) } else { tcp_header(number, psh) };
        let length = transport.len() + payload.len();
        let protocol = if udp { IpNumber::UDP } else { IpNumber::TCP };
        let mut bytes = if v6 { ipv6_header(protocol, length) } else { ipv4_header(protocol, length, number as u16) };
        let csum_start = bytes.len();
        let addresses = if v6 { &bytes[8..40] } else { &bytes[12..20] };
        let partial = pseudo_header(addresses, protocol.0, length).fold();
        bytes.extend_from_slice(&transport);
        let hdr_len = bytes.len();
        bytes.extend_from_slice(payload);
        let csum_offset = if udp { 6 } else { 16 };
        bytes[csum_start + csum_offset..][..2].copy_from_slice(&partial.to_be_bytes());
        let gso_type = match (udp, v6) {
            (true, _) => GSO_UDP_L4,
            (false, false) => GSO_TCPV4,
            (false, true) => GSO_TCPV6,
        };
        let header = VnetHeader {
            flags: NEEDS_CSUM,
            gso_type,
            hdr_len: hdr_len as u16,
            gso_size: size,
            csum_start: csum_start as u16,
            csum_offset: csum_offset as u16,
        };
        Self { header, bytes }
    }
}

fn ipv4_header(protocol: IpNumber, payload: usize, id: u16) -> Vec<u8> {
    let mut header = Ipv4Header::new(payload as u16, 64, protocol, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
    header.identification = id;
    header.dont_fragment = id & 1 == 0;
    let mut bytes = Vec::new();
    header.write(&mut bytes).unwrap();
    write_ipv4_checksum(&mut bytes);
    bytes
}

fn ipv6_header(protocol: IpNumber, payload: usize) -> Vec<u8> {
    let header = Ipv6Header {
        payload_length: payload as u16,
        next_header: protocol,
        hop_limit: 64,
        source: [1; 16],
        destination: [2; 16],
        ..Ipv6Header::default()
    };
    header.to_bytes().to_vec()
}

fn tcp_header(sequence: u32, psh: bool) -> Vec<u8> {
    let mut header = TcpHeader::new(4000, 5000, sequence, 1234);
    header.ack = true;
    header.psh = psh;
    header.acknowledgment_number = 77;
    header.set_options_raw(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]).unwrap();
    header.to_bytes().to_vec()
}

fn udp_header(payload: usize) -> Vec<u8> {
    UdpHeader { source_port: 4000, destination_port: 5000, length: payload as u16 + 8, checksum: 0 }.to_bytes().to_vec()
}

/// Any large TCP or UDP packet over IPv4 or IPv6, of at least two and (as the kernel demands of UDP) at most 64 segments.
pub(crate) fn large_packet() -> impl Strategy<Value = Large> {
    let sizes = (1u16..1500, 2usize..64).prop_flat_map(|(size, segments)| {
        let most = (usize::from(size) * segments).min(65_000);
        (Just(size), usize::from(size) + 1..=most)
    });
    (any::<[bool; 3]>(), any::<u32>(), any::<u8>(), sizes).prop_map(|([v6, udp, psh], number, seed, (size, len))| {
        let payload: Vec<_> = (0..len).map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed)).collect();
        Large::new(v6, udp, number, psh, size, &payload)
    })
}
