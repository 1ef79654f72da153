//! One or two managers and some endpoints, wired together without a network.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use etherparse::{Icmpv4Type, PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice, icmpv4};
use festoon_proto::map::{
    Changes, EndpointInfo, EndpointKind, EndpointMap, ManagerInfo, ManagerMap, ManagerMapDelta, MapVersion,
    NetworkInfo, Timing,
};
use festoon_proto::{ClusterId, EndpointId, EpochId, ManagerId, NetworkId, PrivateKey, VerifyingKey};

mod limits;
mod rotation;

use super::*;
use crate::batch::Coalesce;
use crate::drop_reason::DropReason;
use crate::node::{Effects, UnderlayPath};
use crate::packet::ip::IpHeader;
use crate::packet::offload::VnetHeader;

const M1: ManagerId = ManagerId(1);
const M2: ManagerId = ManagerId(2);
const RED: NetworkId = NetworkId(1);
const BLUE: NetworkId = NetworkId(2);
const MTU: u16 = 1360;

fn key(kind: u8, number: u8) -> PrivateKey {
    PrivateKey::from_bytes([kind * 16 + number; 32])
}

fn manager_address(manager: ManagerId) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, manager.0 as u8], 51820))
}

fn endpoint_address(endpoint: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, endpoint], 51820))
}

fn network(id: NetworkId) -> NetworkInfo {
    NetworkInfo {
        id,
        name: id.to_string(),
        prefixes: vec!["172.31.0.0/16".parse().unwrap(), "fd00:31::/64".parse().unwrap()],
        gateways: vec!["172.31.0.1".parse().unwrap(), "fd00:31::1".parse().unwrap()],
        mtu: MTU,
        changed: MapVersion(1),
    }
}

fn managers() -> Vec<ManagerInfo> {
    [M1, M2]
        .into_iter()
        .map(|id| ManagerInfo {
            id,
            name: id.to_string(),
            public_key: key(1, id.0 as u8).public_key(),
            previous_key: None,
            signing_key: VerifyingKey([0; 32]),
            underlay: vec![manager_address(id)],
            https: Vec::new(),
            priority: 1,
        })
        .collect()
}

/// Endpoint `number` owns 172.31.0.(10 + address) and fd00:31::(10 + address) in its network.
fn endpoint(number: u8, network: NetworkId, address: u8) -> EndpointInfo {
    EndpointInfo {
        id: EndpointId(number.into()),
        name: format!("e{number}"),
        network,
        public_key: key(2, number).public_key(),
        previous_key: None,
        kind: EndpointKind::Agent,
        allowed: vec![IpAddr::from([172, 31, 0, 10 + address]).into(), v6(address).into()],
        changed: MapVersion(1),
    }
}

fn v6(address: u8) -> IpAddr {
    IpAddr::from([0xfd00, 0x31, 0, 0, 0, 0, 0, 10 + u16::from(address)])
}

fn map(manager: ManagerId, endpoints: &[EndpointInfo]) -> ManagerMap {
    ManagerMap {
        version: MapVersion(1),
        manager,
        networks: vec![network(RED), network(BLUE)],
        endpoints: endpoints.to_vec(),
        managers: managers(),
        managers_changed: MapVersion(1),
        timing: Timing::default(),
    }
}

/// A change of the first manager's map.
fn delta(endpoints: Changes<EndpointId, EndpointInfo>) -> ManagerMapDelta {
    ManagerMapDelta {
        base: MapVersion(1),
        version: MapVersion(2),
        manager: M1,
        networks: Changes::default(),
        endpoints,
        managers: None,
        managers_changed: MapVersion(1),
        timing: Timing::default(),
    }
}

fn effects() -> Effects {
    Effects::new(1, Coalesce::None)
}

struct World {
    now: Instant,
    routers: [RouterForwarder; 2],
    hosts: Vec<HostForwarder>,
    endpoints: Vec<EndpointInfo>,
    /// What each endpoint's device got.
    delivered: Vec<Vec<Vec<u8>>>,
}

impl World {
    /// Two managers; endpoints 0 and 1 in red, 2 and 3 in blue with the very same addresses. All at the first manager.
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
        let now = Instant::now();
        let endpoints = vec![endpoint(0, RED, 0), endpoint(1, RED, 1), endpoint(2, BLUE, 0), endpoint(3, BLUE, 1)];
        let routers = [M1, M2].map(|manager| {
            let mut router = RouterForwarder::new(&key(1, manager.0 as u8));
            router.change_map(&map(manager, &endpoints).replacing(MapVersion(0), [], []));
            router.set_paths([M1, M2].map(|other| (other, other)));
            router
        });
        let hosts = endpoints.iter().enumerate().map(|(number, info)| host(number as u8, info)).collect();
        let mut world = Self { now, routers, hosts, delivered: vec![Vec::new(); endpoints.len()], endpoints };
        for number in 0..world.hosts.len() {
            world.place(number, M1);
            let mut effects = effects();
            world.hosts[number].initiate(M1, &mut effects);
            world.settle(endpoint_address(number as u8), &effects);
        }
        let mut effects = effects();
        world.routers[0].initiate(M2, &mut effects);
        world.settle(manager_address(M1), &effects);
        world
    }

    /// Tells everyone that `manager` carries an endpoint.
    fn place(&mut self, number: usize, manager: ManagerId) {
        let id = self.endpoints[number].id;
        self.hosts[number].set_active(Some(manager));
        for (router, me) in self.routers.iter_mut().zip([M1, M2]) {
            router.set_place(id, if me == manager { Place::Here } else { Place::At(manager) });
        }
        // Nobody is answered twice at once.
        self.now += Duration::from_millis(100);
        let mut effects = effects();
        self.hosts[number].initiate(manager, &mut effects);
        self.settle(endpoint_address(number as u8), &effects);
    }

    /// Changes the first manager's map.
    fn change(&mut self, removed: &[usize], put: &[EndpointInfo]) {
        let removed = removed.iter().map(|&number| self.endpoints[number].id).collect();
        self.routers[0].change_map(&delta(Changes { removed, put: put.to_vec() }));
    }

    /// Carries datagrams to where they go, and those they cause, until none is left.
    fn settle(&mut self, from: SocketAddr, effects: &Effects) {
        let mut queue: Vec<(SocketAddr, SocketAddr, Vec<u8>)> = datagrams(from, effects);
        while let Some((from, to, datagram)) = queue.pop() {
            let mut effects = self::effects();
            let path = UnderlayPath { remote: from, local: None };
            if let Some(index) = [M1, M2].iter().position(|&manager| manager_address(manager) == to) {
                self.routers[index].handle_underlay(self.now, path, &datagram, &mut effects);
                while self.routers[index].handle_handshake(self.now, &mut effects).is_some() {}
            } else {
                let number = (0..self.hosts.len()).find(|&n| endpoint_address(n as u8) == to).unwrap();
                self.hosts[number].handle_underlay(self.now, path, &datagram, &mut effects);
                while self.hosts[number].handle_handshake(self.now, &mut effects).is_some() {}
                self.delivered[number].extend(effects.overlay.packets().map(|packet| packet.bytes.to_vec()));
            }
            queue.extend(datagrams(to, &effects));
        }
    }

    /// Sends a packet through the front door: the endpoint's device.
    fn send(&mut self, number: usize, packet: &[u8]) {
        let mut effects = effects();
        self.hosts[number].handle_overlay(&VnetHeader::default(), &mut packet.to_vec(), &mut effects);
        self.settle(endpoint_address(number as u8), &effects);
    }

    /// Sends a packet as a hostile endpoint would: straight into the tunnel, past its own checks.
    fn send_raw(&mut self, number: usize, packet: &[u8]) {
        let mut effects = effects();
        self.hosts[number].send_unchecked(packet, &mut effects);
        self.settle(endpoint_address(number as u8), &effects);
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.routers.iter().map(|router| router.drops().get(reason)).sum()
    }

    fn nothing_delivered(&self) -> bool {
        self.delivered.iter().all(Vec::is_empty)
    }
}

fn host(number: u8, info: &EndpointInfo) -> HostForwarder {
    host_with(&key(2, number), info)
}

fn host_with(key: &PrivateKey, info: &EndpointInfo) -> HostForwarder {
    let mut host = HostForwarder::new(key);
    host.set_map(&endpoint_map(info, managers()));
    host
}

fn endpoint_map(info: &EndpointInfo, managers: Vec<ManagerInfo>) -> EndpointMap {
    EndpointMap {
        version: MapVersion(1),
        cluster: ClusterId([0; 16]),
        endpoint: info.id,
        name: info.name.clone(),
        network: network(info.network),
        addresses: info.allowed.iter().map(ipnet::IpNet::addr).collect(),
        given: Vec::new(),
        routes: Vec::new(),
        own_routes: Vec::new(),
        is_key_due: false,
        managers,
        epoch: EpochId::FIRST,
        recovery_key: None,
        authorities: Vec::new(),
        timing: Timing::default(),
    }
}

fn datagrams(from: SocketAddr, effects: &Effects) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
    effects.underlay.groups().map(|group| (from, group.path.remote, group.bytes.to_vec())).collect()
}

fn udp(source: [u8; 4], destination: [u8; 4], hops: u8, len: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(source, destination, hops).udp(7, 9).write(&mut packet, &vec![5; len]).unwrap();
    packet
}

fn udp_v6(source: IpAddr, destination: IpAddr, len: usize) -> Vec<u8> {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (source, destination) else { panic!("not IPv6") };
    let mut packet = Vec::new();
    PacketBuilder::ipv6(source.octets(), destination.octets(), 9).udp(7, 9).write(&mut packet, &vec![5; len]).unwrap();
    packet
}

const A: [u8; 4] = [172, 31, 0, 10];
const B: [u8; 4] = [172, 31, 0, 11];
const GATEWAY: [u8; 4] = [172, 31, 0, 1];

fn icmp_type(packet: &[u8]) -> Icmpv4Type {
    let Some(TransportSlice::Icmpv4(icmp)) = SlicedPacket::from_ip(packet).unwrap().transport else {
        panic!("no ICMP")
    };
    icmp.icmp_type()
}

#[test]
fn a_packet_crosses_one_manager_and_loses_one_hop() {
    let mut world = World::new();
    world.send(0, &udp(A, B, 64, 100));
    assert_eq!(world.delivered[1], [udp(A, B, 63, 100)]);
    world.send(1, &udp_v6(v6(1), v6(0), 100));
    assert_eq!(IpHeader::parse(&world.delivered[0][0]).unwrap().hop_limit, 8);
}

#[test]
fn networks_with_the_same_addresses_never_meet() {
    let mut world = World::new();
    world.place(3, M2);
    world.send(0, &udp(A, B, 64, 1));
    world.send(2, &udp(A, B, 64, 2));
    assert_eq!(world.delivered[1], [udp(A, B, 63, 1)]);
    assert_eq!(world.delivered[3], [udp(A, B, 63, 2)]);
}

#[test]
fn a_packet_crosses_a_link_and_loses_one_hop_in_all() {
    let mut world = World::new();
    world.place(1, M2);
    world.send(0, &udp(A, B, 64, 1300));
    assert_eq!(world.delivered[1], [udp(A, B, 63, 1300)]);
    world.send(1, &udp(B, A, 64, 1300));
    assert_eq!(world.delivered[0], [udp(B, A, 63, 1300)]);
}

#[test]
fn managers_that_disagree_do_not_send_a_packet_round_for_ever() {
    let mut world = World::new();
    let id = world.endpoints[1].id;
    world.routers[0].set_place(id, Place::At(M2));
    world.routers[1].set_place(id, Place::At(M1));
    world.send(0, &udp(A, B, 64, 1));
    assert_eq!(world.dropped(DropReason::LinkHops), 1);
    assert!(world.nothing_delivered());
}

#[test]
fn spoofed_sources_are_dropped_in_every_disguise() {
    let mut world = World::new();
    let other = v6(1);
    let mut fragment = udp(B, B, 64, 80);
    fragment[6] = 0x20;
    let mut late_fragment = udp(B, B, 64, 80);
    late_fragment[7] = 10;
    let mut extended = udp_v6(other, other, 24);
    extended[6] = 60; // destination options, padding only
    extended[40..48].copy_from_slice(&[17, 0, 1, 4, 0, 0, 0, 0]);
    let mut v6_fragment = extended.clone();
    v6_fragment[6] = 44;
    let spoofed = [
        udp(B, B, 64, 10),
        udp([8, 8, 8, 8], B, 64, 10),
        udp([0, 0, 0, 0], B, 64, 10),
        udp([127, 0, 0, 1], B, 64, 10),
        udp([224, 0, 0, 1], B, 64, 10),
        udp(GATEWAY, B, 64, 10),
        udp_v6(other, other, 10),
        udp_v6("::1".parse().unwrap(), other, 10),
        udp_v6("fe80::1".parse().unwrap(), other, 10),
        fragment,
        late_fragment,
        extended,
        v6_fragment,
    ];
    for packet in &spoofed {
        world.send_raw(0, packet);
    }
    assert_eq!(world.dropped(DropReason::ForeignSource), spoofed.len() as u64);
    assert!(world.nothing_delivered());
}

#[test]
fn what_is_no_packet_of_an_endpoint_is_counted_and_goes_nowhere() {
    let mut world = World::new();
    let mut routed = udp(A, B, 64, 10);
    routed.splice(20..20, [131, 4, 4, 0]);
    routed[0] = 0x46;
    routed[3] += 4;
    let link_frame =
        [0x40, 8, 0, 30, 0, 0, 0, 2, 0x45, 0, 0, 22, 0, 0, 0, 0, 9, 17, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0];
    let cases = [
        (routed, DropReason::SourceRouted),
        (link_frame.to_vec(), DropReason::WrongFraming),
        (udp(A, [255, 255, 255, 255], 64, 1), DropReason::NotUnicast),
        (udp(A, [224, 0, 0, 251], 64, 1), DropReason::NotUnicast),
        (udp(A, [10, 0, 0, 1], 64, 1), DropReason::NoRoute),
        (udp(A, GATEWAY, 64, 1), DropReason::NotForGateway),
        (vec![0x55; 60], DropReason::MalformedPacket),
    ];
    for (packet, reason) in cases {
        let before = world.dropped(reason);
        world.send_raw(0, &packet);
        assert_eq!(world.dropped(reason), before + 1, "{reason}");
    }
    assert!(world.delivered[1..].iter().all(Vec::is_empty));
}

#[test]
fn senders_are_told_why() {
    let mut world = World::new();
    world.send(0, &udp(A, B, 1, 10));
    assert_eq!(
        icmp_type(&world.delivered[0][0]),
        Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit)
    );
    assert_eq!(IpHeader::parse(&world.delivered[0][0]).unwrap().source, IpAddr::from(GATEWAY));

    let mut large = udp(A, B, 64, 1400);
    large[6] = 0x40; // don't fragment
    world.send_raw(0, &large);
    let too_big = icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: MTU };
    assert_eq!(icmp_type(&world.delivered[0][1]), Icmpv4Type::DestinationUnreachable(too_big));

    world.send_raw(0, &udp(A, [172, 31, 9, 9], 64, 10));
    let no_route = icmpv4::DestUnreachableHeader::Network;
    assert_eq!(icmp_type(&world.delivered[0][2]), Icmpv4Type::DestinationUnreachable(no_route));

    world.send_raw(0, &udp_v6(v6(0), v6(1), 1400));
    let reply = &world.delivered[0][3];
    assert_eq!((reply[40], u32::from_be_bytes(reply[44..48].try_into().unwrap())), (2, u32::from(MTU)));
}

#[test]
fn every_manager_answers_for_the_gateway() {
    for manager in [M1, M2] {
        let mut world = World::new();
        world.place(0, manager);
        let mut packet = Vec::new();
        PacketBuilder::ipv4(A, GATEWAY, 1).icmpv4_echo_request(1, 2).write(&mut packet, b"ping").unwrap();
        world.send(0, &packet);
        assert!(matches!(icmp_type(&world.delivered[0][0]), Icmpv4Type::EchoReply(_)));
    }
}

#[test]
fn tcp_learns_the_mtu_from_the_handshake() {
    let mut world = World::new();
    let mut packet = Vec::new();
    PacketBuilder::ipv4(A, B, 64)
        .tcp(1, 2, 3, 4)
        .syn()
        .options(&[TcpOptionElement::MaximumSegmentSize(1460)])
        .unwrap()
        .write(&mut packet, &[])
        .unwrap();
    world.send(0, &packet);
    let sliced = SlicedPacket::from_ip(&world.delivered[1][0]).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
    assert_eq!(tcp.options_iterator().next(), Some(Ok(TcpOptionElement::MaximumSegmentSize(MTU - 40))));
    assert_eq!(tcp.calc_checksum_ipv4(A, B).unwrap(), tcp.checksum());
}

#[test]
fn an_endpoint_accepts_from_managers_only_what_is_meant_for_it() {
    let mut world = World::new();
    // The manager is wrong about who owns the address.
    let mut wrong = world.endpoints.clone();
    wrong[1].allowed.push("172.31.0.99/32".parse().unwrap());
    world.change(&[], &wrong[1..2]);
    world.send(0, &udp(A, [172, 31, 0, 99], 64, 1));
    assert_eq!(world.hosts[1].drops().get(DropReason::ForeignDestination), 1);
    assert!(world.nothing_delivered());
}

#[test]
fn an_endpoint_that_left_the_map_is_cut_off_at_once() {
    let mut world = World::new();
    world.change(&[0], &[]);
    world.send(0, &udp(A, B, 64, 1));
    assert_eq!(world.dropped(DropReason::UnknownSession), 1);
    world.send(1, &udp(B, A, 64, 1));
    assert_eq!(world.dropped(DropReason::NoRoute), 1);
    world.send(2, &udp(A, B, 64, 1));
    assert_eq!(world.delivered[3].len(), 1, "the others' sessions live on");
}
