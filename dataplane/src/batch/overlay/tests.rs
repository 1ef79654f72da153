use proptest::prelude::*;

use super::*;
use crate::batch::join::{self, Class};
use crate::packet::offload::split;
use crate::packet::testing::{Large, large_packet};

/// A packet for the device, as it would arrive there.
type Written = (VnetHeader, Vec<u8>);

fn written(batch: &mut OverlayBatch) -> Vec<Written> {
    batch.packets().map(|packet| (packet.header, packet.bytes.to_vec())).collect()
}

fn joined(packets: &[Vec<u8>], coalesce: Coalesce) -> Vec<Written> {
    let mut batch = OverlayBatch::new(coalesce);
    packets.iter().for_each(|packet| batch.push(packet));
    assert_eq!(batch.len(), batch.packets().count());
    written(&mut batch)
}

fn split_all((header, bytes): &Written) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    split(header, &mut bytes.clone(), |packet| packets.push(packet.to_vec())).unwrap();
    packets
}

fn split_large(large: &Large) -> Vec<Vec<u8>> {
    split_all(&(large.header, large.bytes.clone()))
}

fn tcp(change: impl Fn(usize, &mut [u8])) -> Vec<Vec<u8>> {
    let mut packets = split_large(&Large::new(false, false, 1000, false, 100, &[7; 400]));
    for (index, packet) in packets.iter_mut().enumerate() {
        change(index, packet);
        packet[36..38].copy_from_slice(&[0, 0]);
        let sum = crate::packet::checksum::pseudo_header(&packet[12..20], 6, packet.len() - 20);
        let checksum = sum.with(&packet[20..]).checksum();
        packet[36..38].copy_from_slice(&checksum.to_be_bytes());
        crate::packet::offload::write_ipv4_checksum(&mut packet[..20]);
    }
    packets
}

/// How many packets of 100 bytes payload each written one stands for.
fn lengths(packets: &[Vec<u8>]) -> Vec<usize> {
    let written = joined(packets, Coalesce::TcpAndUdp);
    assert_eq!(written.iter().flat_map(split_all).collect::<Vec<_>>(), packets, "splitting gives the packets back");
    written.iter().map(|(_, bytes)| bytes.len() / 100).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_split_is_joined_to_the_same_bytes(large in large_packet()) {
        let written = joined(&split_large(&large), Coalesce::TcpAndUdp);
        prop_assert_eq!(written.len(), 1);
        prop_assert_eq!(&written[0], &(large.header, large.bytes));
    }

    /// Flows that are cut into each other, packets that are lost, repeated or damaged, and what is no flow at all.
    #[test]
    fn flows_keep_their_packets_and_their_order(
        flows in proptest::collection::vec(large_packet(), 1..12),
        picks in proptest::collection::vec((any::<proptest::sample::Index>(), 0u8..20, any::<u16>()), 1..300),
    ) {
        let mut sources: Vec<_> = flows.iter().map(|flow| split_large(flow).into_iter()).collect();
        let mut sent = Vec::new();
        for (pick, fate, bit) in picks {
            let flow = pick.index(sources.len());
            let Some(mut packet) = sources[flow].next() else { continue };
            // Each flow gets ports of its own; the checksum stays right because both ports change against each other.
            let transport = if packet[0] >> 4 == 4 { 20 } else { 40 };
            packet[transport + 1] = packet[transport + 1].wrapping_add(flow as u8);
            packet[transport + 3] = packet[transport + 3].wrapping_sub(flow as u8);
            match fate {
                0 => continue,
                1 => sent.push(packet.clone()),
                2 => sent.push(vec![bit as u8; 30]),
                3 => {
                    let at = usize::from(bit) % packet.len();
                    packet[at] ^= 1 << (bit % 8);
                }
                _ => {}
            }
            sent.push(packet);
        }
        let mut received: Vec<_> = joined(&sent, Coalesce::TcpAndUdp).iter().flat_map(split_all).collect();
        sent.iter_mut().chain(&mut received).for_each(|packet| forget_identification(packet));
        let mut sorted = (sent.clone(), received.clone());
        sorted.0.sort();
        sorted.1.sort();
        prop_assert_eq!(sorted.0, sorted.1);
        for flow in sent.iter().filter_map(|packet| flow_of(packet)) {
            let of_flow = |packets: &[Vec<u8>]| -> Vec<Vec<u8>> {
                packets.iter().filter(|packet| flow_of(packet).is_none_or(|other| other == flow)).cloned().collect()
            };
            prop_assert_eq!(of_flow(&sent), of_flow(&received));
        }
    }

    #[test]
    fn junk_passes_as_it_is(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 1..20)) {
        let expected: Vec<_> = packets.iter().map(|packet| (VnetHeader::default(), packet.clone())).collect();
        prop_assert_eq!(joined(&packets, Coalesce::TcpAndUdp), expected);
    }
}

/// Addresses and ports of a packet that shows them; no packet may overtake one that does not, nor the other way round.
fn flow_of(packet: &[u8]) -> Option<Vec<u8>> {
    match (join::classify(packet, Coalesce::None), packet[0] >> 4) {
        (Class::Unknown, _) => None,
        (_, 4) => Some([&packet[9..10], &packet[12..24]].concat()),
        (_, _) => Some([&packet[6..7], &packet[8..44]].concat()),
    }
}

/// With "don't fragment" the identification means nothing (RFC 6864) and is not kept.
fn forget_identification(packet: &mut [u8]) {
    if packet[0] == 0x45 && packet[6] == 0x40 && flow_of(packet).is_some() {
        packet[4..6].copy_from_slice(&[0, 0]);
        crate::packet::offload::write_ipv4_checksum(&mut packet[..20]);
    }
}

#[test]
fn only_what_was_asked_for_is_joined() {
    for (v6, udp, coalesce, count) in [
        (false, false, Coalesce::Tcp, 1),
        (true, false, Coalesce::Tcp, 1),
        (false, true, Coalesce::Tcp, 4),
        (false, false, Coalesce::None, 4),
        (true, true, Coalesce::TcpAndUdp, 1),
    ] {
        let packets = split_large(&Large::new(v6, udp, 1, false, 100, &[1; 400]));
        assert_eq!(joined(&packets, coalesce).len(), count, "{v6} {udp} {coalesce:?}");
    }
}

#[test]
fn a_push_or_a_short_segment_ends_a_train() {
    assert_eq!(lengths(&tcp(|_, _| {})), [4]);
    assert_eq!(lengths(&tcp(|index, packet| packet[33] |= if index == 1 { 8 } else { 0 })), [2, 2]);
    let mut packets = split_large(&Large::new(false, false, 0, false, 100, &[1; 150]));
    packets.extend(split_large(&Large::new(false, false, 150, false, 100, &[1; 150])));
    assert_eq!(joined(&packets, Coalesce::Tcp).len(), 2);
}

#[test]
fn any_difference_keeps_segments_apart() {
    let odd = |at: usize, change: u8| {
        move |index: usize, packet: &mut [u8]| packet[at] ^= if index == 2 { change } else { 0 }
    };
    for (what, at, bits) in [
        ("TOS", 1, 4),
        ("identification", 5, 0x10),
        ("don't fragment", 6, 0x40),
        ("TTL", 8, 1),
        ("sequence", 27, 1),
        ("acknowledgement", 31, 1),
        ("FIN", 33, 1),
        ("SYN", 33, 2),
        ("RST", 33, 4),
        ("URG", 33, 0x20),
        ("ECE", 33, 0x40),
        ("CWR", 33, 0x80),
        ("window", 35, 1),
        ("a timestamp", 51, 1),
    ] {
        // Without "don't fragment", so that the identification counts.
        let packets = tcp(|index, packet| {
            packet[6] = 0;
            odd(at, bits)(index, packet);
        });
        assert!(lengths(&packets).len() >= 3, "{what}");
    }
    assert!(lengths(&tcp(|index, packet| odd(20, 1)(index, packet))).len() >= 2, "ports");
}

#[test]
fn with_dont_fragment_the_identification_means_nothing() {
    assert_eq!(lengths(&tcp(|_, packet| packet[6] = 0x40)), [4]);
    let written = joined(&tcp(|_, packet| packet[4..7].copy_from_slice(&[0, 0, 0x40])), Coalesce::Tcp);
    assert_eq!(written.len(), 1);
}

#[test]
fn a_wrong_checksum_is_left_to_the_receiver() {
    for at in [10, 36, 60] {
        let mut packets = tcp(|_, _| {});
        packets[1][at] ^= 1;
        let written = joined(&packets, Coalesce::Tcp);
        assert_eq!(written[1], (VnetHeader::default(), packets[1].clone()), "byte {at}");
    }
}

#[test]
fn a_pure_acknowledgement_passes_alone_and_nothing_overtakes_it() {
    let mut packets = tcp(|_, _| {});
    let mut ack = packets[1][..52].to_vec();
    ack[2..4].copy_from_slice(&[0, 52]);
    packets.insert(2, ack.clone());
    let written = joined(&packets, Coalesce::Tcp);
    assert_eq!(written.len(), 3);
    assert_eq!(written[1].1, ack);
}

#[test]
fn no_train_is_longer_than_an_ip_packet() {
    let packets: Vec<_> = (0..3u32)
        .flat_map(|part| split_large(&Large::new(false, false, part * 60_000, false, 1000, &[1; 60_000])))
        .collect();
    let written = joined(&packets, Coalesce::Tcp);
    assert!(written.iter().all(|(_, bytes)| bytes.len() <= 65_535));
    assert!(written.len() <= 4, "{}", written.len());
}

#[test]
fn a_reservation_that_came_to_nothing_leaves_no_trace() {
    let packets = tcp(|_, _| {});
    let mut batch = OverlayBatch::new(Coalesce::Tcp);
    for packet in &packets {
        batch.reserve(2000).fill(0xee);
        batch.push(packet);
        batch.reserve(2000).fill(0xee);
        batch.commit(0);
    }
    batch.reserve(2000).fill(0xee);
    assert_eq!(written(&mut batch), joined(&packets, Coalesce::Tcp));
    batch.clear();
    batch.commit(5);
    assert!(batch.is_empty());
}

#[test]
fn a_batch_that_is_used_again_needs_no_new_memory() {
    let packets = tcp(|_, _| {});
    let mut batch = OverlayBatch::new(Coalesce::Tcp);
    let fill = |batch: &mut OverlayBatch| {
        packets.iter().for_each(|packet| batch.push(packet));
        let at = batch.packets().map(|packet| packet.bytes.as_ptr()).collect::<Vec<_>>();
        batch.clear();
        at
    };
    assert_eq!(fill(&mut batch), fill(&mut batch));
}
