use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Instant;

use tokio::sync::mpsc;

use super::*;
use crate::batch::{Coalesce, UnderlayGroup};
use crate::io::testing::{PATIENCE, command, in_namespace, receive_until, run};
use crate::io::{Priority, UdpConfig, UdpPort, UnderlayPort as _, spawn};
use crate::packet::offload::split;
use crate::{Effects, Node, UnderlayPath};

const STREAM: usize = 32 << 20;

/// Sends every packet back with its addresses swapped. So a host that connects to its neighbour on the device reaches
/// itself, and the kernel's own TCP judges what was split and joined. (Swapping leaves the checksums right.)
struct Mirror {
    split: u64,
    joined_away: u64,
}

impl Node for Mirror {
    type Command = ();
    type Event = ();

    fn handle_overlay(&mut self, _: Instant, header: &VnetHeader, frame: &mut [u8], effects: &mut Effects) {
        let before = effects.overlay.len() as u64;
        let mut count = 0;
        let _ = split(header, frame, |packet| {
            let mirrored = effects.overlay.reserve(packet.len());
            mirrored.copy_from_slice(packet);
            let (from, to) = if packet[0] >> 4 == 4 { (12..16, 16) } else { (8..24, 24) };
            mirrored[to..to + from.len()].copy_from_slice(&packet[from.clone()]);
            mirrored[from.clone()].copy_from_slice(&packet[to..to + from.len()]);
            effects.overlay.commit(packet.len());
            count += 1;
        });
        self.split += count;
        self.joined_away += before + count - effects.overlay.len() as u64;
    }

    fn handle_underlay(&mut self, _: Instant, _: UnderlayPath, _: &[u8], _: usize, _: &mut Effects) {}
    fn handle_unreachable(&mut self, _: Instant, _: SocketAddr, _: &mut Effects) {}
    fn handle_timeout(&mut self, _: Instant, _: &mut Effects) {}
    fn handle_command(&mut self, _: Instant, (): (), _: &mut Effects) {}
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    fn poll_event(&mut self) -> Option<()> {
        None
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index / 251 + index) as u8).collect()
}

/// A stream from us to `neighbour`, which the mirror makes a stream to ourselves.
fn stream(own: IpAddr, neighbour: IpAddr) {
    let listener = TcpListener::bind((own, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let sender = thread::spawn(move || {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(neighbour, port), PATIENCE).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&pattern(STREAM)).unwrap();
    });
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut received = Vec::new();
    let start = Instant::now();
    stream.read_to_end(&mut received).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    println!("{own}: {:.2} Gbit/s", STREAM as f64 * 8e-9 / seconds);
    assert!(received == pattern(STREAM), "the stream is damaged");
    sender.join().unwrap();
}

fn datagrams(own: IpAddr, neighbour: IpAddr) {
    let socket = UdpSocket::bind((own, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for len in [1, 100, 1372, 1373, 3000] {
        socket.send_to(&pattern(len), (neighbour, port)).unwrap();
        let mut received = [0; 4000];
        let (got, from) = socket.recv_from(&mut received).unwrap();
        assert_eq!((&received[..got], from.ip()), (&pattern(len)[..], neighbour));
    }
}

/// A group of datagrams that the kernel leaves to the device to split, if it may.
async fn group(own: IpAddr, neighbour: IpAddr, segmentation: bool) {
    let mut port = UdpPort::bind(&UdpConfig { address: Some(own), port: 0, segmentation, mark: None }).unwrap();
    port.register().unwrap();
    let remote = SocketAddr::new(neighbour, port.local_addr().unwrap().port());
    let sent: Vec<_> = (0..40).map(|number| vec![number; 1000]).collect();
    let path = UnderlayPath { remote, local: None };
    port.send(&UnderlayGroup { path, segment_size: 1000, bytes: &sent.concat() }).unwrap();
    let (received, _) = receive_until(&mut port, |datagrams, _| datagrams.len() >= sent.len()).await;
    assert_eq!(received.into_iter().map(|(_, datagram)| datagram).collect::<Vec<_>>(), sent);
}

fn mirror(segmentation: bool) {
    run(async {
        let config = TunConfig { name: "fest%d".to_owned(), mtu: 1400, segmentation };
        let tun = TunPort::open(&config).unwrap();
        assert_eq!(tun.name(), "fest0");
        assert_eq!(tun.coalesce() != Coalesce::None, segmentation);
        command("ip addr add 10.99.0.1/24 dev fest0");
        command("ip addr add fd00:99::1/64 dev fest0 nodad");
        let udp = UdpPort::bind(&UdpConfig { address: None, port: 0, segmentation, mark: None }).unwrap();
        let driver =
            spawn(Mirror { split: 0, joined_away: 0 }, udp, Some(tun), mpsc::channel(1).0, Priority::Normal).unwrap();
        for (own, neighbour) in [("10.99.0.1", "10.99.0.2"), ("fd00:99::1", "fd00:99::2")] {
            let (own, neighbour) = (own.parse().unwrap(), neighbour.parse().unwrap());
            datagrams(own, neighbour);
            group(own, neighbour, segmentation).await;
            stream(own, neighbour);
        }
        let counts = driver.counters().counts();
        let node = driver.shutdown().await.unwrap();
        println!("{} packets, {} joined, {counts:?}", node.split, node.joined_away);
        assert_eq!(counts.overlay_lost, 0);
        assert_eq!(node.joined_away > node.split / 2, segmentation, "most of a stream is joined, if anything is");
    });
}

#[test]
fn a_stream_survives_splitting_and_joining() {
    in_namespace("io::tun::tests::a_stream_survives_splitting_and_joining", &["ip link set lo up"], || mirror(true));
}

#[test]
fn a_stream_passes_without_segmentation() {
    in_namespace("io::tun::tests::a_stream_passes_without_segmentation", &["ip link set lo up"], || mirror(false));
}

#[test]
fn a_name_that_is_too_long_is_refused() {
    let config = TunConfig { name: "a-name-that-is-too-long".to_owned(), mtu: 1400, segmentation: true };
    let error = TunPort::open(&config).unwrap_err().to_string();
    assert!(error.contains("a-name-that-is-too-long"), "{error}");
}
