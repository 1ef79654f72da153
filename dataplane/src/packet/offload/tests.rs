use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;
use crate::packet::testing::{Large, large_packet};

fn split_all(header: &VnetHeader, frame: &[u8]) -> Result<Vec<Vec<u8>>, SplitError> {
    let mut packets = Vec::new();
    split(header, &mut frame.to_vec(), |packet| packets.push(packet.to_vec()))?;
    Ok(packets)
}

/// The payload of a packet whose lengths and checksums are all right.
fn checked_payload(packet: &[u8]) -> Vec<u8> {
    let sliced = SlicedPacket::from_ip(packet).unwrap();
    let (payload, expected, found) = match (&sliced.net, &sliced.transport) {
        (Some(NetSlice::Ipv4(ip)), Some(transport)) => {
            let header = ip.header().to_header();
            assert_eq!(usize::from(header.total_len), packet.len());
            assert_eq!(header.calc_header_checksum(), header.header_checksum);
            match transport {
                TransportSlice::Tcp(tcp) => {
                    let sum = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).unwrap();
                    (tcp.payload(), sum, tcp.checksum())
                }
                TransportSlice::Udp(udp) => {
                    let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
                    (udp.payload(), sum, udp.checksum())
                }
                other => panic!("{other:?}"),
            }
        }
        (Some(NetSlice::Ipv6(ip)), Some(transport)) => {
            let header = ip.header().to_header();
            assert_eq!(usize::from(header.payload_length) + 40, packet.len());
            match transport {
                TransportSlice::Tcp(tcp) => {
                    let sum = tcp.to_header().calc_checksum_ipv6(&header, tcp.payload()).unwrap();
                    (tcp.payload(), sum, tcp.checksum())
                }
                TransportSlice::Udp(udp) => {
                    let sum = udp.to_header().calc_checksum_ipv6(&header, udp.payload()).unwrap();
                    (udp.payload(), sum, udp.checksum())
                }
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(expected, found, "checksum");
    payload.to_vec()
}

fn tcp(packet: &[u8]) -> etherparse::TcpHeader {
    match SlicedPacket::from_ip(packet).unwrap().transport {
        Some(TransportSlice::Tcp(tcp)) => tcp.to_header(),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn every_packet_is_valid_and_the_payload_is_all_there(large in large_packet()) {
        let packets = split_all(&large.header, &large.bytes).unwrap();
        let payloads: Vec<_> = packets.iter().map(|packet| checked_payload(packet)).collect();
        prop_assert_eq!(payloads.concat(), &large.bytes[usize::from(large.header.hdr_len)..]);
        let (last, others) = payloads.split_last().unwrap();
        prop_assert!(last.len() <= usize::from(large.header.gso_size));
        prop_assert!(others.iter().all(|payload| payload.len() == usize::from(large.header.gso_size)));
    }

    #[test]
    fn the_sequence_runs_on_and_flags_stand_where_they_belong(large in large_packet(), flags in 0u8..64) {
        prop_assume!(large.header.gso_type & !GSO_ECN != GSO_UDP_L4);
        let Large { header, mut bytes } = large;
        let transport = usize::from(header.csum_start);
        bytes[transport + 13] = flags & 0x39 | 0x80;
        let packets = split_all(&header, &bytes).unwrap();
        let first = tcp(&packets[0]);
        for (index, packet) in packets.iter().enumerate() {
            let this = tcp(packet);
            let offset = index as u32 * u32::from(header.gso_size);
            prop_assert_eq!(this.sequence_number, first.sequence_number.wrapping_add(offset));
            prop_assert_eq!(this.acknowledgment_number, first.acknowledgment_number);
            let last = index + 1 == packets.len();
            prop_assert_eq!(this.cwr, index == 0);
            prop_assert_eq!(this.psh, last && flags & 8 != 0);
            prop_assert_eq!(this.fin, last && flags & 1 != 0);
        }
    }

    #[test]
    fn junk_never_panics(
        mut frame in proptest::collection::vec(any::<u8>(), 0..400),
        first in prop_oneof![Just(0x45u8), Just(0x60), any::<u8>()],
        raw: [u8; VNET_HEADER_LEN],
        gso_type in prop_oneof![Just(GSO_NONE), Just(GSO_TCPV4), Just(GSO_TCPV6), Just(GSO_UDP_L4), any::<u8>()],
        csum_start in prop_oneof![Just(20u16), Just(40), 0u16..500],
        csum_offset in prop_oneof![Just(16u16), Just(6), any::<u16>()],
    ) {
        if let Some(byte) = frame.first_mut() {
            *byte = first;
        }
        let mut header = VnetHeader::parse(&mut raw.to_vec()).unwrap().0;
        for flags in [header.flags, NEEDS_CSUM] {
            header = VnetHeader { flags, gso_type, csum_start, csum_offset, ..header };
            let _ = split_all(&header, &frame);
        }
    }

    #[test]
    fn a_header_survives_the_device(raw: [u8; VNET_HEADER_LEN]) {
        prop_assert_eq!(VnetHeader::parse(&mut raw.to_vec()).unwrap().0.encode(), raw);
    }
}

#[test]
fn a_small_packet_gets_its_checksum_completed() {
    let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1, 2);
    let mut whole = Vec::new();
    builder.write(&mut whole, b"hello").unwrap();
    let pseudo = crate::packet::checksum::pseudo_header(&whole[12..20], 17, 13).fold();
    let mut partial = whole.clone();
    partial[26..28].copy_from_slice(&pseudo.to_be_bytes());
    let header = VnetHeader { flags: NEEDS_CSUM, csum_start: 20, csum_offset: 6, ..VnetHeader::default() };
    assert_eq!(split_all(&header, &partial), Ok(vec![whole.clone()]));
    assert_eq!(split_all(&VnetHeader::default(), &whole), Ok(vec![whole]));
}

#[test]
fn ipv4_identifications_count_up() {
    let large = Large::tcp_v4(4 * 100, 100);
    let ids: Vec<_> = split_all(&large.header, &large.bytes)
        .unwrap()
        .iter()
        .map(|packet| u16::from_be_bytes([packet[4], packet[5]]))
        .collect();
    assert_eq!(ids.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn what_was_not_offered_is_refused_by_name() {
    let large = Large::tcp_v4(300, 100);
    let fragments = VnetHeader { gso_type: 3, ..large.header };
    assert_eq!(split_all(&fragments, &large.bytes).unwrap_err(), SplitError::Type(3));
    let wrong_version = VnetHeader { gso_type: GSO_TCPV6, ..large.header };
    assert_eq!(split_all(&wrong_version, &large.bytes).unwrap_err(), SplitError::Mismatch);
    let whole_checksum = VnetHeader { flags: 0, ..large.header };
    assert_eq!(split_all(&whole_checksum, &large.bytes).unwrap_err(), SplitError::Mismatch);
    assert_eq!(split_all(&large.header, &large.bytes[..40]).unwrap_err(), SplitError::Truncated);
}
