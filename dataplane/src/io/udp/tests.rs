use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::batch::UnderlayBatch;
use crate::io::testing::{in_namespace, receive_until, run};

fn port(address: IpAddr, segmentation: bool) -> UdpPort {
    let mut port = UdpPort::bind(&UdpConfig { address: Some(address), port: 0, segmentation, mark: None }).unwrap();
    port.register().unwrap();
    port
}

fn everywhere(segmentation: bool) -> UdpPort {
    let mut port = UdpPort::bind(&UdpConfig { address: None, port: 0, segmentation, mark: None }).unwrap();
    port.register().unwrap();
    port
}

fn to(remote: IpAddr, port: &UdpPort) -> UnderlayPath {
    UnderlayPath { remote: SocketAddr::new(remote, port.local_addr().unwrap().port()), local: None }
}

fn send(port: &mut UdpPort, path: UnderlayPath, datagrams: &[Vec<u8>]) -> io::Result<()> {
    let mut batch = UnderlayBatch::new(port.max_segments());
    datagrams.iter().for_each(|datagram| batch.push(path, datagram));
    batch.groups().try_for_each(|group| port.send(&group))
}

fn numbered(count: u8, len: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| vec![number; len]).collect()
}

#[test]
fn datagrams_arrive_whole_and_in_order_with_and_without_segmentation() {
    run(async {
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            for (sending, receiving) in [(true, true), (true, false), (false, true), (false, false)] {
                let (mut a, mut b) = (everywhere(sending), everywhere(receiving));
                assert_eq!(a.max_segments() > 1, sending, "this kernel segments");
                let mut sent = numbered(100, 1200);
                sent.push(vec![7; 300]);
                let path = to(address, &b);
                send(&mut a, path, &sent).unwrap();
                let (received, _) = receive_until(&mut b, |datagrams, _| datagrams.len() >= sent.len()).await;
                assert_eq!(received.iter().map(|(_, datagram)| datagram.clone()).collect::<Vec<_>>(), sent);
                let back = received[0].0;
                assert_eq!(back, UnderlayPath { local: Some(address), ..to(address, &a) });
                send(&mut b, back, &[vec![1, 2, 3]]).unwrap();
                let (answer, _) = receive_until(&mut a, |datagrams, _| !datagrams.is_empty()).await;
                assert_eq!(answer[0], (UnderlayPath { local: Some(address), ..path }, vec![1, 2, 3]));
            }
        }
    });
}

#[test]
fn more_than_a_turn_takes_is_announced_again() {
    run(async {
        let (mut a, mut b) = (everywhere(false), everywhere(false));
        let sent = numbered(200, 100);
        let path = to(Ipv4Addr::LOCALHOST.into(), &b);
        send(&mut a, path, &sent).unwrap();
        let (received, _) = receive_until(&mut b, |datagrams, _| datagrams.len() >= sent.len()).await;
        assert_eq!(received.len(), sent.len());
    });
}

#[test]
fn a_closed_port_is_reported_and_harms_nobody_else() {
    run(async {
        let (mut a, mut alive) = (everywhere(true), everywhere(true));
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let dead = to(address, &port(address, true));
            let living = to(address, &alive);
            for round in 0..10 {
                // The error of the first may hit the second call; its datagram goes out all the same.
                send(&mut a, dead, &[vec![0; 10]]).unwrap();
                send(&mut a, living, &[vec![round; 10]]).unwrap();
            }
            let (datagrams, _) = receive_until(&mut alive, |datagrams, _| datagrams.len() >= 10).await;
            assert_eq!(datagrams.iter().map(|(_, datagram)| datagram[0]).collect::<Vec<_>>(), Vec::from_iter(0..10));
            let (_, unreachable) = receive_until(&mut a, |_, unreachable| !unreachable.is_empty()).await;
            assert!(unreachable.iter().all(|address| *address == dead.remote), "{unreachable:?}");
        }
    });
}

#[test]
fn an_address_that_is_gone_neither_stops_traffic_nor_segmentation() {
    run(async {
        for (address, gone) in [("127.0.0.1", "192.0.2.1"), ("::1", "2001:db8::1")] {
            let (mut a, mut b) = (everywhere(true), everywhere(true));
            let path = UnderlayPath { local: gone.parse().ok(), ..to(address.parse().unwrap(), &b) };
            let sent = numbered(20, 1000);
            send(&mut a, path, &sent).unwrap();
            let (received, _) = receive_until(&mut b, |datagrams, _| datagrams.len() >= 20).await;
            assert_eq!(received.into_iter().map(|(_, datagram)| datagram).collect::<Vec<_>>(), sent);
            assert!(a.max_segments() > 1);
        }
    });
}

#[test]
fn a_datagram_that_is_too_large_is_an_error_of_its_own() {
    run(async {
        let (mut a, mut b) = (everywhere(true), everywhere(true));
        let path = to(Ipv4Addr::LOCALHOST.into(), &b);
        assert!(send(&mut a, path, &[vec![0; 65_535]]).is_err());
        send(&mut a, path, &numbered(3, 1000)).unwrap();
        receive_until(&mut b, |datagrams, _| datagrams.len() == 3).await;
        assert!(a.max_segments() > 1);
    });
}

#[test]
fn a_port_in_use_is_refused() {
    let first = UdpPort::bind(&UdpConfig { address: None, port: 0, segmentation: true, mark: None }).unwrap();
    let port = first.local_addr().unwrap().port();
    let second = UdpPort::bind(&UdpConfig { address: None, port, segmentation: true, mark: None });
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn a_small_mtu_fragments_and_loses_nothing() {
    in_namespace("io::udp::tests::a_small_mtu_fragments_and_loses_nothing", &["ip link set lo mtu 1280 up"], || {
        run(async {
            for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
                let (mut a, mut b) = (everywhere(true), everywhere(true));
                let sent = numbered(30, 1500);
                let path = to(address, &b);
                send(&mut a, path, &sent).unwrap();
                let (received, _) = receive_until(&mut b, |datagrams, _| datagrams.len() >= sent.len()).await;
                assert_eq!(received.into_iter().map(|(_, datagram)| datagram).collect::<Vec<_>>(), sent);
            }
        });
    });
}
