//! `raw-send`: whole IP packets as they are, whatever they claim.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::junk::parse_hex;
use super::stop::Stop;

/// The kernel then leaves the IP header to us (raw(7)).
const IPPROTO_RAW: i32 = 255;

/// `raw-send`.
#[derive(Debug, Args)]
pub struct RawArgs {
    /// The device they leave by, if the routes do not say.
    #[arg(long)]
    device: Option<String>,
    /// The packets, IP header first, in hexadecimal.
    #[arg(long, value_delimiter = ',', required = true)]
    packets: Vec<String>,
    /// How often each.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
}

/// What `raw-send` sent.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawReport {
    /// Packets the kernel took.
    pub sent: u64,
    /// Packets the kernel refused.
    pub refused: u64,
}

/// Runs `raw-send`.
///
/// # Errors
/// When no raw socket can be opened or a packet is none.
pub fn send(args: &RawArgs, stop: &Stop) -> anyhow::Result<RawReport> {
    let packets: Vec<Vec<u8>> = args.packets.iter().map(|text| parse_hex(text)).collect::<Result<_, _>>()?;
    let sockets = [open(Domain::IPV4, args.device.as_deref())?, open(Domain::IPV6, args.device.as_deref())?];
    let mut report = RawReport::default();
    for _ in 0..args.rounds {
        for packet in &packets {
            if stop.is_due() {
                return Ok(report);
            }
            let to = destination(packet).context("this is no IP packet")?;
            let socket = &sockets[usize::from(to.is_ipv6())];
            match socket.send_to(packet, &SocketAddr::new(to, 0).into()) {
                Ok(_) => report.sent += 1,
                Err(error) => {
                    eprintln!("to {to}: {error}");
                    report.refused += 1;
                }
            }
        }
    }
    Ok(report)
}

fn open(domain: Domain, device: Option<&str>) -> anyhow::Result<Socket> {
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))
        .context("cannot open a raw socket (are you root?)")?;
    if let Some(device) = device {
        socket.bind_device(Some(device.as_bytes())).with_context(|| format!("there is no device {device}"))?;
    }
    Ok(socket)
}

fn destination(packet: &[u8]) -> anyhow::Result<IpAddr> {
    let version = packet.first().map(|first| first >> 4);
    let (v4, v6) = (packet.get(16..20), packet.get(24..40));
    match (version, v4, v6) {
        (Some(4), Some(bytes), _) => Ok(Ipv4Addr::from(<[u8; 4]>::try_from(bytes)?).into()),
        (Some(6), _, Some(bytes)) => Ok(Ipv6Addr::from(<[u8; 16]>::try_from(bytes)?).into()),
        _ => bail!("neither IPv4 nor IPv6, or too short"),
    }
}
