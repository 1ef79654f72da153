//! Datagrams that mean nothing, or only begin as if they did: for a receiver that must shrug them off.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::stop::Stop;
use crate::clock::now;

/// The most that fits a UDP datagram over IPv4: 65,535 less the two headers.
pub const LARGEST: usize = 65_507;

/// `udp-junk`.
#[derive(Debug, Args)]
pub struct JunkArgs {
    /// Where to.
    #[arg(long)]
    to: SocketAddr,
    /// Bytes in a datagram; several values take turns.
    #[arg(long, value_delimiter = ',', default_value = "0,1,32,148,1472,65507")]
    sizes: Vec<usize>,
    /// How many datagrams.
    #[arg(long, default_value_t = 100)]
    count: u64,
    /// Bytes that every datagram begins with, in hexadecimal; the rest is random.
    #[arg(long, default_value = "")]
    head: String,
    /// Seed of the random bytes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Microseconds between datagrams.
    #[arg(long, default_value_t = 0)]
    interval_us: u64,
}

/// What `udp-junk` sent.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JunkReport {
    /// Datagrams the kernel took.
    pub sent: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams the kernel refused (for one, because an ICMP error came back for an earlier one).
    pub refused: u64,
}

/// Runs `udp-junk`.
///
/// # Errors
/// When no socket can be opened, a size is above [`LARGEST`], or the head is not hexadecimal.
pub fn send(args: &JunkArgs, stop: &Stop) -> anyhow::Result<JunkReport> {
    ensure!(args.sizes.iter().all(|&size| size <= LARGEST), "a datagram holds at most {LARGEST} bytes");
    let head = parse_hex(&args.head)?;
    let any: SocketAddr = if args.to.is_ipv6() { "[::]:0".parse()? } else { "0.0.0.0:0".parse()? };
    let socket = UdpSocket::bind(any)?;
    let mut random = StdRng::seed_from_u64(args.seed);
    let mut report = JunkReport::default();
    let mut due = now();
    for (_, &size) in (0..args.count).zip(args.sizes.iter().cycle()) {
        if !stop.pause_until(due) {
            break;
        }
        let datagram = fill(&mut random, &head, size);
        match socket.send_to(&datagram, args.to) {
            Ok(bytes) => {
                report.sent += 1;
                report.bytes += bytes as u64;
            }
            Err(_) => report.refused += 1,
        }
        due += Duration::from_micros(args.interval_us);
    }
    Ok(report)
}

fn fill(random: &mut StdRng, head: &[u8], size: usize) -> Vec<u8> {
    let mut datagram = vec![0; size];
    random.fill_bytes(&mut datagram);
    let known = head.len().min(size);
    datagram[..known].copy_from_slice(&head[..known]);
    datagram
}

pub(super) fn parse_hex(text: &str) -> anyhow::Result<Vec<u8>> {
    ensure!(text.is_ascii() && text.len().is_multiple_of(2), "bytes are an even number of hexadecimal digits");
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16);
    (0..text.len()).step_by(2).map(byte).collect::<Result<_, _>>().context("bytes are not hexadecimal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junk_begins_with_its_head_and_repeats_with_its_seed() {
        let make = || fill(&mut StdRng::seed_from_u64(3), &[1, 0, 0, 0], 148);
        assert_eq!(make(), make());
        assert_eq!(make()[..4], [1, 0, 0, 0]);
        assert_eq!(fill(&mut StdRng::seed_from_u64(3), &[1, 0, 0, 0], 2), [1, 0]);
    }

    #[test]
    fn hexadecimal_is_checked() {
        assert_eq!(parse_hex("0400ff").expect("valid"), [4, 0, 255]);
        assert!(parse_hex("040").is_err() && parse_hex("0x").is_err() && parse_hex("é").is_err());
    }
}
