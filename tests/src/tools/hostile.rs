//! An endpoint that was let in and turned hostile: it has an agent's identity, and says and sends what no agent does.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use festoon_proto::map::EndpointMap;
use festoon_proto::signal::{Attach, Detach, Message, MoveReason};
use festoon_proto::{Attachment, Generation, ManagerId, PrivateKey};
use serde::{Deserialize, Serialize};

use super::stop::Stop;
use super::tunnel::{Heard, Tunnel};
use crate::clock::now;

/// How long it takes to have a session and to be carried, at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// The protocol of the payload: UDP.
const UDP: u8 = 17;

/// `hostile`.
#[derive(Debug, Args)]
pub struct HostileArgs {
    /// The state directory of an agent that does not run.
    #[arg(long)]
    state_dir: PathBuf,
    /// Which of the managers in its map to bother, by id.
    #[arg(long)]
    manager: u16,
    /// What to do.
    #[arg(long)]
    what: Flood,
    /// Overlay addresses to send packets to; several values take turns.
    #[arg(long, value_delimiter = ',')]
    targets: Vec<Ipv4Addr>,
    /// Bytes in each packet.
    #[arg(long, default_value_t = 62_000)]
    size: u16,
    /// How often in a second.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Send to this port of the manager instead, once there is a session: the control, whose packets nobody takes.
    #[arg(long)]
    port: Option<u16>,
}

/// What a hostile endpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Flood {
    /// Packets that may be fragmented, to the targets in turn.
    Packets,
    /// Attaches and leaves, each with a higher generation.
    Attaches,
    /// Attaches once with the highest generation that there is, and then with the lowest, again and again.
    Generations,
}

/// What `hostile` did.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostileReport {
    /// Datagrams the kernel took.
    pub sent: u64,
    /// Datagrams the kernel refused.
    pub refused: u64,
    /// Packets that came back, as ICMP errors do.
    pub packets_back: u64,
    /// Answers to attaches.
    pub attach_replies: u64,
}

/// Runs `hostile`.
///
/// # Errors
/// When the agent's state cannot be read, or the manager does not carry it.
pub fn run(args: &HostileArgs, stop: &Stop) -> anyhow::Result<HostileReport> {
    ensure!(args.what != Flood::Packets || !args.targets.is_empty(), "--what packets needs --targets");
    let mut endpoint = Endpoint::open(&args.state_dir, ManagerId(args.manager))?;
    eprintln!("carried as {}", endpoint.settle(stop)?.generation);
    let interval = Duration::try_from_secs_f64(1.0 / args.rate).context("--rate is no rate")?;
    let at = endpoint.tunnel.at;
    endpoint.tunnel.to = args.port.map_or(at, |port| SocketAddr::new(at.ip(), port));
    (endpoint.tunnel.sent, endpoint.tunnel.refused) = (0, 0);
    endpoint.report = HostileReport::default();
    endpoint.tunnel.socket.set_nonblocking(true)?;
    let mut due = now();
    for number in 0_u64.. {
        if !stop.pause_until(due) {
            break;
        }
        endpoint.act(args, number)?;
        while endpoint.receive()? {}
        due += interval;
    }
    let Tunnel { sent, refused, .. } = endpoint.tunnel;
    Ok(HostileReport { sent, refused, ..endpoint.report })
}

/// An endpoint that has an agent's identity.
struct Endpoint {
    tunnel: Tunnel,
    id: ManagerId,
    source: Ipv4Addr,
    generation: Generation,
    known: Option<Attachment>,
    report: HostileReport,
}

impl Endpoint {
    fn open(state: &Path, id: ManagerId) -> anyhow::Result<Self> {
        let read = |file: &str| fs::read(state.join(file)).with_context(|| format!("no {file} in {}", state.display()));
        let identity: serde_json::Value = serde_json::from_slice(&read("identity.json")?)?;
        let key: PrivateKey = identity["private_key"].as_str().context("identity.json has no key")?.parse()?;
        let map: EndpointMap = serde_json::from_slice(&read("map.json")?)?;
        let manager = map.managers.iter().find(|manager| manager.id == id).context("no such manager in map.json")?;
        let at = *manager.underlay.first().context("the manager has no address")?;
        let v4 = |address: &IpAddr| if let IpAddr::V4(address) = address { Some(*address) } else { None };
        let source = map.addresses.iter().find_map(v4).context("the endpoint has no IPv4 address")?;
        let tunnel = Tunnel::open(&key, manager.public_key, at)?;
        let (generation, report) = (Generation(1), HostileReport::default());
        Ok(Self { tunnel, id, source, generation, known: None, report })
    }

    /// Waits until the manager carries it: one that knows a higher generation says which, and the next is above it.
    fn settle(&mut self, stop: &Stop) -> anyhow::Result<Attachment> {
        let end = now() + PATIENCE;
        while now() < end && !stop.is_due() {
            self.attach(self.generation)?;
            self.receive()?;
            match self.known {
                Some(known) if known.manager == self.id && known.generation == self.generation => return Ok(known),
                Some(known) if known.generation >= self.generation => self.generation = known.generation.next(),
                _ => {}
            }
        }
        bail!("the manager at {} does not carry this endpoint", self.tunnel.at)
    }

    fn act(&mut self, args: &HostileArgs, number: u64) -> anyhow::Result<()> {
        match args.what {
            Flood::Packets => {
                let target = args.targets[usize::try_from(number)? % args.targets.len()];
                self.tunnel.send(&packet(self.source, target, args.size, number as u16))
            }
            Flood::Attaches if number % 2 == 1 => {
                let generation = self.generation;
                self.tunnel.say(&Message::Detach(Detach { generation }))
            }
            Flood::Attaches => {
                self.generation = self.generation.next();
                self.attach(self.generation)
            }
            Flood::Generations if number == 0 => self.attach(Generation(u64::MAX)),
            Flood::Generations => self.attach(Generation(0)),
        }
    }

    fn attach(&mut self, generation: Generation) -> anyhow::Result<()> {
        self.tunnel.say(&Message::Attach(Attach { generation, why: MoveReason::Started, gap_ms: None }))
    }

    /// Takes a datagram, if there is one.
    fn receive(&mut self) -> anyhow::Result<bool> {
        match self.tunnel.receive()? {
            Heard::Nothing => return Ok(false),
            Heard::Packet => self.report.packets_back += 1,
            Heard::Signal(Message::AttachReply(reply)) => {
                self.report.attach_replies += 1;
                self.known = Some(reply.attachment);
            }
            Heard::Signal(_) | Heard::Protocol => {}
        }
        Ok(true)
    }
}

/// A UDP packet of `len` bytes that any router may cut into fragments. Neither checksum matters to a manager.
fn packet(from: Ipv4Addr, to: Ipv4Addr, len: u16, identification: u16) -> Vec<u8> {
    let len = len.max(28);
    let mut packet = vec![0x45, 0];
    packet.extend(len.to_be_bytes());
    packet.extend(identification.to_be_bytes());
    packet.extend([0, 0, 64, UDP, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend([0x13, 0x88, 0x13, 0x89]);
    packet.extend((len - 20).to_be_bytes());
    packet.resize(usize::from(len), 0);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_its_length_and_may_be_cut() {
        let packet = packet(Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST, 62_000, 7);
        assert_eq!((packet.len(), packet[6]), (62_000, 0));
        assert_eq!(u16::from_be_bytes([packet[2], packet[3]]), 62_000);
        assert_eq!(u16::from_be_bytes([packet[24], packet[25]]), 61_980);
    }
}
