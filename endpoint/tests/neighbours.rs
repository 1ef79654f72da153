//! What neighbours, containers and routers of a host get past its packet filter, with a real kernel, in network namespaces that
//! end with the test. Counters behind the filter say what came through.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::disallowed_methods, reason = "a deadline needs the clock")]

mod namespace;
mod sample;

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use festoon_endpoint::host::{Choice, Consent, Desired, Home, Host, Plan, Protection, plan};
use ipnet::IpNet;
use namespace::{in_fresh_namespace, ip};
use socket2::{Domain, Protocol, Socket, Type};

const DEADLINE: Duration = Duration::from_secs(10);
const PACKETS: &str = "FESTOON_TEST_PACKETS";

/// Another machine: a namespace that lives as long as a process in it.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine {
    fn start() -> Self {
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let machine = Self(Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap());
        let there = format!("/proc/{}/ns/net", machine.0.id());
        let start = Instant::now();
        while std::fs::read_link(&there).ok().is_none_or(|it| it == own) {
            assert!(start.elapsed() < DEADLINE);
        }
        machine.ip("link set lo up");
        machine
    }

    fn command(&self, program: &str, arguments: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.0.id().to_string(), "--", program]);
        command.args(arguments.split_whitespace());
        command
    }

    fn ip(&self, arguments: &str) -> String {
        let output = self.command("ip", arguments).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Connects it to the host by a cable: `here` on the host, `eth0` on the machine, with these addresses.
    fn connect(&self, here: &str, addresses: &[&str]) {
        ip(&format!("link add {here} type veth peer name eth0 netns {}", self.0.id()));
        ip(&format!("link set {here} up"));
        self.ip("link set eth0 up");
        for address in addresses {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            self.ip(&format!("address add {address} dev eth0 {nodad}"));
        }
    }

    /// Whether a ping is answered, from one of its addresses if one is named.
    fn reaches(&self, to: &str, from: Option<&str>) -> bool {
        let from = from.map_or_else(String::new, |from| format!("-I {from}"));
        let ping = self.command("ping", &format!("-c 3 -i 0.1 -W 1 {from} {to}")).output().unwrap();
        ping.status.success()
    }

    /// Sends whole IP packets by its cable.
    fn send(&self, packets: &[Vec<u8>]) {
        let hex = |packet: &Vec<u8>| packet.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let packets: Vec<String> = packets.iter().map(hex).collect();
        let me = std::env::current_exe().unwrap();
        let mut command = self.command(&me.to_string_lossy(), "--exact sends_packets_for_the_other_tests");
        let output = command.env(PACKETS, packets.join(",")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Not a test by itself: the others run it in the namespace that packets are to come from.
#[test]
fn sends_packets_for_the_other_tests() {
    let Ok(packets) = std::env::var(PACKETS) else { return };
    for text in packets.split(',') {
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        let packet: Vec<u8> = (0..text.len()).step_by(2).map(byte).collect();
        let (domain, to): (Domain, IpAddr) = if packet[0] >> 4 == 4 {
            (Domain::IPV4, <[u8; 4]>::try_from(&packet[16..20]).unwrap().into())
        } else {
            (Domain::IPV6, <[u8; 16]>::try_from(&packet[24..40]).unwrap().into())
        };
        // 255 is IPPROTO_RAW: the IP header is ours (raw(7)).
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(255))).unwrap();
        socket.bind_device(Some(b"eth0")).unwrap();
        socket.send_to(&packet, &SocketAddr::new(to, 0).into()).unwrap();
    }
}

fn nft(script: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{script}");
}

/// Counts what matches and gets into the host or is routed through it.
fn count(expression: &str) {
    nft(&format!(
        "add table inet seen\ndelete table inet seen\ntable inet seen {{
            chain input {{ type filter hook input priority 0; {expression} counter; }}
            chain forward {{ type filter hook forward priority 0; {expression} counter; }}
        }}\n"
    ));
}

fn counted() -> u64 {
    let output = Command::new("nft").args(["list", "table", "inet", "seen"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == "packets").map(|pair| pair[1].parse::<u64>().unwrap()).sum()
}

fn set_sysctl(name: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{name}"), value).unwrap();
}

/// A host that believes and forwards everything, and whose overlay device is there.
fn make_host() {
    for (name, value) in [("all/rp_filter", "0"), ("default/rp_filter", "0"), ("all/forwarding", "1")] {
        set_sysctl(&format!("net/ipv4/conf/{name}"), value);
    }
    set_sysctl("net/ipv6/conf/all/forwarding", "1");
    ip("tuntap add dev festoon0 mode tun");
}

/// Makes the host what the plan says, with these prefixes behind it; what it is.
async fn protect(host: &mut Host, behind: &[&str]) -> Desired {
    let sight = host.look().await.unwrap();
    let forward_from = behind.iter().map(|prefix| prefix.parse::<IpNet>().unwrap()).collect();
    let choice = Choice { local: Vec::new(), forward_from, consents: vec![Consent::Private] };
    let Plan { desired, .. } = plan(&sample::map(), &Home::of(&sight.facts, Vec::new()), &choice, &sight.facts);
    let problems = host.set(&desired, &sight, true).await.unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    desired
}

fn inner(desired: &Desired) -> Vec<&str> {
    desired.inner_bridges.iter().map(|bridge| &*bridge.name).collect()
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(test);
}

/// The host of an agent in a container, or of virtual machines: the bridge has virtual ports, and the network is behind one.
#[test]
fn neighbours_behind_a_bridge_of_virtual_ports_do_not_get_in() {
    if !in_fresh_namespace("neighbours_behind_a_bridge_of_virtual_ports_do_not_get_in") {
        return;
    }
    make_host();
    let neighbour = Machine::start();
    neighbour.connect("port0", &["192.168.50.66/24", "192.168.60.66/24", "fd50::66/64"]);
    ip("link add br0 type bridge");
    ip("link set br0 up");
    ip("link set port0 master br0");
    // br1 has a network that leads nowhere, but is connected to br0.
    ip("link add br1 type bridge");
    ip("link set br1 up");
    ip("link add between0 type veth peer name between1");
    for (port, bridge) in [("between0", "br0"), ("between1", "br1")] {
        ip(&format!("link set {port} master {bridge}"));
        ip(&format!("link set {port} up"));
    }
    ip("address add 192.168.50.2/24 dev br0");
    ip("address add fd50::2/64 dev br0 nodad");
    ip("route add default via 192.168.50.66");
    ip("address add 192.168.60.2/24 dev br1");
    neighbour.ip("route add fd00::/64 via fd50::2");
    run(async {
        let mut open = Host::open("festoon0", Protection::Off).await.unwrap();
        protect(&mut open, &[]).await;
        neighbour.ip("route replace 172.31.0.0/16 via 192.168.50.2");
        assert!(neighbour.reaches("172.31.0.5", None), "without protection it does");
        drop(open);
        let mut host = Host::open("festoon0", Protection::Require).await.unwrap();
        let desired = protect(&mut host, &[]).await;
        assert!(inner(&desired).is_empty(), "{:?}", desired.inner_bridges);
        count("ip daddr 172.31.0.5");
        for over in ["192.168.50.2", "192.168.60.2"] {
            neighbour.ip(&format!("route replace 172.31.0.0/16 via {over}"));
            assert!(!neighbour.reaches("172.31.0.5", None), "over {over}");
            assert!(neighbour.reaches(over, None), "the network itself is the host's");
        }
        assert!(!neighbour.reaches("fd00::5", None));
        assert_eq!(counted(), 0);
    });
}

#[test]
fn containers_use_the_overlay_with_their_own_addresses_alone() {
    if !in_fresh_namespace("containers_use_the_overlay_with_their_own_addresses_alone") {
        return;
    }
    make_host();
    let container = Machine::start();
    container.connect("port0", &["172.17.0.2/16", "10.1.2.3/32"]);
    ip("link add docker0 type bridge");
    ip("link set docker0 up");
    ip("link set port0 master docker0");
    ip("address add 172.17.0.1/16 dev docker0");
    container.ip("route add default via 172.17.0.1");
    run(async {
        let mut host = Host::open("festoon0", Protection::Require).await.unwrap();
        assert_eq!(inner(&protect(&mut host, &[]).await), ["docker0"]);
        assert!(container.reaches("172.31.0.5", None), "the host itself");
        count("ip daddr 172.31.9.9");
        container.reaches("172.31.9.9", None);
        assert!(counted() > 0, "it may send to others");
        count("ip daddr 172.31.0.0/16");
        for to in ["172.31.0.5", "172.31.9.9"] {
            container.reaches(to, Some("10.1.2.3"));
        }
        assert_eq!(counted(), 0, "with another address");
        // Errors about connections of the host, which the container has no part in.
        let error = icmp_v4([172, 17, 0, 2], [172, 17, 0, 1], ([172, 31, 0, 5], [172, 31, 9, 9], 17, 9));
        count("icmp type destination-unreachable");
        container.send(&[error]);
        assert_eq!(counted(), 0);
        // And about what it got itself.
        container.send(&[icmp_v4([172, 17, 0, 2], [172, 31, 9, 9], ([172, 31, 9, 9], [172, 17, 0, 2], 17, 9))]);
        wait_until("an answer of the container passes", || counted() == 1);
    });
}

#[test]
fn only_where_packets_leave_for_whoever_is_behind_the_host_do_they_come_in() {
    if !in_fresh_namespace("only_where_packets_leave_for_whoever_is_behind_the_host_do_they_come_in") {
        return;
    }
    make_host();
    let (neighbour, site) = (Machine::start(), Machine::start());
    neighbour.connect("lan0", &["192.168.50.66/24", "192.168.77.9/32", "fd50::66/64"]);
    site.connect("site0", &["192.168.77.9/24", "fd77::9/64"]);
    ip("address add 192.168.50.2/24 dev lan0");
    ip("address add fd50::2/64 dev lan0 nodad");
    ip("address add 192.168.77.1/24 dev site0");
    ip("address add fd77::1/64 dev site0 nodad");
    neighbour.ip("route add 172.31.0.0/16 via 192.168.50.2");
    neighbour.ip("address add fd77::9/128 dev lo");
    neighbour.ip("route add fd00::/64 via fd50::2");
    site.ip("route add 172.31.0.0/16 via 192.168.77.1");
    site.ip("route add fd00::/64 via fd77::1");
    run(async {
        let mut host = Host::open("festoon0", Protection::Require).await.unwrap();
        protect(&mut host, &["192.168.77.0/24", "fd77::/64"]).await;
        for (to, from) in [("172.31.9.9", "192.168.77.9"), ("fd00::9", "fd77::9")] {
            count(if from.contains(':') { "ip6 saddr fd77::9" } else { "ip saddr 192.168.77.9" });
            neighbour.reaches(to, Some(from));
            assert_eq!(counted(), 0, "{from} is not there");
            site.reaches(to, Some(from));
            assert!(counted() > 0, "{from} is there");
        }
    });
}

type Quote<const N: usize> = ([u8; N], [u8; N], u8, u16);

/// "Fragmentation needed" from one address to another, about a packet between two, of a protocol and to a port.
fn icmp_v4(from: [u8; 4], to: [u8; 4], (source, destination, protocol, port): Quote<4>) -> Vec<u8> {
    let port = port.to_be_bytes();
    let ports = [0x11, 0x5c, port[0], port[1], 0, 8, 0, 0];
    let quoted = [&[0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, protocol, 0, 0][..], &source, &destination, &ports].concat();
    let mut icmp = [&[3, 4, 0, 0, 0, 0, 2, 0][..], &quoted].concat();
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    v4(from, to, 0, &icmp)
}

/// With `part` as the second half of the word for fragments.
fn v4(from: [u8; 4], to: [u8; 4], part: u16, icmp: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + icmp.len()).unwrap().to_be_bytes();
    let part = part.to_be_bytes();
    [&[0x45, 0, length[0], length[1], 0, 1, part[0], part[1], 64, 1, 0, 0][..], &from, &to, icmp].concat()
}

/// The same packet in two fragments: what it quotes is in the second.
fn in_two(packet: &[u8]) -> [Vec<u8>; 2] {
    let address = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).unwrap();
    let (from, to) = (address(12), address(16));
    [v4(from, to, 0x2000, &packet[20..28]), v4(from, to, 1, &packet[28..])]
}

/// "Packet too big", likewise.
fn icmp_v6(from: [u8; 16], to: [u8; 16], (source, destination, protocol, port): Quote<16>) -> Vec<u8> {
    let port = port.to_be_bytes();
    let ports = [0x11, 0x5c, port[0], port[1], 0, 8, 0, 0];
    let quoted = [&[0x60, 0, 0, 0, 0, 8, protocol, 64][..], &source, &destination, &ports].concat();
    let mut icmp = [&[2, 0, 0, 0, 0, 0, 5, 0][..], &quoted].concat();
    let length = u16::try_from(icmp.len()).unwrap().to_be_bytes();
    let pseudo = [&from[..], &to, &[0, 0], &length, &[0, 0, 0, 58], &icmp].concat();
    let sum = checksum(&pseudo);
    icmp[2..4].copy_from_slice(&sum);
    [&[0x60, 0, 0, 0, length[0], length[1], 58, 64][..], &from, &to, &icmp].concat()
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

fn v6(text: &str) -> [u8; 16] {
    text.parse::<std::net::Ipv6Addr>().unwrap().octets()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "{what}");
    }
}

#[test]
fn a_neighbour_has_nothing_to_say_of_overlay_packets() {
    if !in_fresh_namespace("a_neighbour_has_nothing_to_say_of_overlay_packets") {
        return;
    }
    make_host();
    let neighbour = Machine::start();
    neighbour.connect("lan0", &["192.168.50.66/24", "fd50::66/64"]);
    ip("address add 192.168.50.2/24 dev lan0");
    ip("address add fd50::2/64 dev lan0 nodad");
    run(async {
        let mut host = Host::open("festoon0", Protection::Require).await.unwrap();
        protect(&mut host, &[]).await;
        let (lan, own, other, host4, manager) =
            ([192, 168, 50, 66], [172, 31, 0, 5], [172, 31, 9, 9], [192, 168, 50, 2], [192, 0, 2, 1]);
        let four = |source, destination, protocol, port| icmp_v4(lan, host4, (source, destination, protocol, port));
        let six = |source: &str, destination: &str| {
            icmp_v6(v6("fd50::66"), v6("fd50::2"), (v6(source), v6(destination), 17, 9))
        };
        count("icmp type destination-unreachable");
        neighbour.send(&[
            four(own, other, 17, 9),
            four(own, other, 6, 9),
            four(host4, other, 17, 9),
            four(own, lan, 17, 9),
            // To a manager in the overlay's addresses, but not by the tunnel.
            four(host4, manager, 17, 51_821),
            four(host4, manager, 6, 51_820),
        ]);
        neighbour.send(&in_two(&four(own, other, 17, 9)));
        // These are its own affair, and that of the host's way to a manager. They come after the others.
        neighbour.send(&[four(host4, lan, 17, 9), four(host4, manager, 17, 51_820)]);
        wait_until("an error about another packet arrives", || counted() >= 2);
        assert_eq!(counted(), 2);

        count("icmpv6 type packet-too-big");
        neighbour.send(&[six("fd00::5", "fd00::9"), six("fd50::2", "fd00::9"), six("fd00::5", "fd50::66")]);
        neighbour.send(&[six("fd50::2", "fd50::66")]);
        wait_until("an error about another packet arrives", || counted() >= 1);
        assert_eq!(counted(), 1);
    });
}

#[test]
fn a_neighbour_is_not_told_which_overlay_address_the_host_has() {
    if !in_fresh_namespace("a_neighbour_is_not_told_which_overlay_address_the_host_has") {
        return;
    }
    make_host();
    let neighbour = Machine::start();
    neighbour.connect("lan0", &["192.168.50.66/24"]);
    ip("address add 192.168.50.2/24 dev lan0");
    run(async {
        let mut host = Host::open("festoon0", Protection::Require).await.unwrap();
        protect(&mut host, &[]).await;
        neighbour.ip("route add 172.31.0.0/16 dev eth0");
        neighbour.reaches("172.31.0.5", None);
        let known = neighbour.ip("neigh show 172.31.0.5");
        assert!(!known.contains("lladdr"), "{known}");
        assert!(neighbour.reaches("192.168.50.2", None), "the host's own address is no secret");
    });
}

/// Where br_netfilter is on, which it is by default once it is loaded.
#[test]
fn what_is_only_bridged_through_the_host_is_none_of_its_business() {
    if !in_fresh_namespace("what_is_only_bridged_through_the_host_is_none_of_its_business") {
        return;
    }
    if !std::path::Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists() {
        eprintln!("this kernel has no br_netfilter: nothing to see");
        return;
    }
    make_host();
    set_sysctl("net/bridge/bridge-nf-call-iptables", "1");
    set_sysctl("net/bridge/bridge-nf-call-ip6tables", "1");
    let (one, other) = (Machine::start(), Machine::start());
    ip("link add br0 type bridge");
    ip("link set br0 up");
    for (machine, port, addresses) in [
        (&one, "port0", ["172.31.7.1/24", "192.168.50.66/24", "fd00::7:1/64"]),
        (&other, "port1", ["172.31.7.2/24", "192.168.50.67/24", "fd00::7:2/64"]),
    ] {
        machine.connect(port, &addresses);
        ip(&format!("link set {port} master br0"));
    }
    ip("address add 192.168.50.2/24 dev br0");
    ip("route add default via 192.168.50.66");
    run(async {
        let mut host = Host::open("festoon0", Protection::Require).await.unwrap();
        let desired = protect(&mut host, &[]).await;
        assert_eq!((inner(&desired), &*desired.bridged), (vec![], &["br0".to_owned()][..]));
        assert!(one.reaches("172.31.7.2", None) && one.reaches("fd00::7:2", None), "between two others");
        // But into the host, and through it into the tunnel, nothing comes.
        count("iifname br0 oifname != br0 ip saddr 172.31.0.0/16");
        one.reaches("192.168.50.2", Some("172.31.7.1"));
        one.ip("route add 172.31.9.0/24 via 192.168.50.2");
        one.ip("route add 172.31.0.5/32 via 192.168.50.2");
        one.reaches("172.31.9.9", Some("172.31.7.1"));
        assert_eq!(counted(), 0);
        count("iifname br0 oifname != br0 ip daddr 172.31.0.0/16");
        one.reaches("172.31.9.9", Some("192.168.50.66"));
        assert!(!one.reaches("172.31.0.5", Some("192.168.50.66")));
        assert_eq!(counted(), 0);
        assert!(one.reaches("192.168.50.2", Some("192.168.50.66")));
    });
}
