//! What one endpoint can't use up for others, and what becomes of packets for those that do not answer.

use std::time::Duration;

use super::*;

/// Host unreachable (RFC 792).
const UNREACHABLE: Icmpv4Type = Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Host);

/// The payload of fragments, put together by their offsets.
fn joined(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = Vec::new();
    for fragment in fragments {
        let at = usize::from(u16::from_be_bytes([fragment[6], fragment[7]]) & 0x1fff) * 8;
        payload.resize(payload.len().max(at + fragment.len() - 20), 0);
        payload[at..at + fragment.len() - 20].copy_from_slice(&fragment[20..]);
    }
    payload
}

#[test]
fn an_ipv4_packet_above_the_mtu_crosses_in_fragments() {
    for manager in [M1, M2] {
        let mut world = World::new();
        world.place(1, manager);
        for len in [1400, 9000, 62_000] {
            let mut packet = udp(A, B, 64, len);
            packet[6] = 0; // the builder says "don't fragment"
            world.delivered[1].clear();
            world.send_raw(0, &packet);
            let delivered = &world.delivered[1];
            assert!(delivered.len() > 1 && delivered.iter().all(|fragment| fragment.len() <= usize::from(MTU)));
            assert!(delivered.iter().all(|fragment| IpHeader::parse(fragment).unwrap().hop_limit == 63));
            // A pipe in this test world gives them back in another order.
            assert_eq!(joined(delivered), packet[20..], "{len} bytes to {manager}");
        }
    }
}

#[test]
fn an_endpoint_that_is_silent_is_unreachable_until_it_is_heard() {
    for manager in [M1, M2] {
        let mut world = World::new();
        world.place(1, manager);
        let silent = world.endpoints[1].id;
        let carrier = &mut world.routers[usize::from(manager == M2)];
        carrier.set_silent(silent, Some(world.now + Duration::from_secs(5)));
        world.send(0, &udp(A, B, 64, 10));
        assert!(world.delivered[1].is_empty());
        assert_eq!(world.delivered[0].iter().map(|packet| icmp_type(packet)).collect::<Vec<_>>(), [UNREACHABLE]);
        assert_eq!(world.dropped(DropReason::EndpointSilent), 1);

        world.now += Duration::from_secs(6);
        world.send(1, &udp(B, A, 64, 10));
        world.send(0, &udp(A, B, 64, 10));
        assert_eq!(world.delivered[1].len(), 1, "it was heard at {manager}");
    }
}

#[test]
fn a_manager_that_never_heard_an_endpoint_says_that_it_is_unreachable() {
    let mut world = World::new();
    world.endpoints.push(endpoint(4, RED, 4));
    let put = vec![world.endpoints[4].clone()];
    world.routers[0].change_map(&delta(Changes { removed: Vec::new(), put }));
    world.routers[0].set_place(EndpointId(4), Place::Here);
    world.send(0, &udp(A, [172, 31, 0, 14], 64, 10));
    assert_eq!(icmp_type(&world.delivered[0][0]), UNREACHABLE);
    assert_eq!(world.dropped(DropReason::NoUnderlayAddress), 1);
}

#[test]
fn one_endpoint_uses_up_nobody_elses_errors() {
    let mut world = World::new();
    for _ in 0..2000 {
        world.send_raw(0, &udp(A, [172, 31, 9, 9], 64, 10));
    }
    assert_eq!(world.delivered[0].len(), 50);
    let mut large = udp(A, B, 64, 1400);
    large[6] = 0x40; // don't fragment
    world.send_raw(2, &large);
    world.send_raw(1, &udp(B, A, 1, 10));
    assert_eq!((world.delivered[2].len(), world.delivered[1].len()), (1, 1), "in another network, and in its own");
}

#[test]
fn a_huge_echo_request_to_the_gateway_is_not_answered() {
    let mut world = World::new();
    let mut packet = Vec::new();
    PacketBuilder::ipv4(A, GATEWAY, 9).icmpv4_echo_request(1, 2).write(&mut packet, &[1; 60_000]).unwrap();
    world.send_raw(0, &packet);
    assert!(world.nothing_delivered());
    assert_eq!(world.dropped(DropReason::TooBig), 1);
}
