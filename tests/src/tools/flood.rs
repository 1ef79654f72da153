//! A steady flood of datagrams at a high rate, from several addresses: bytes that mean nothing, or handshakes with a cookie.
//!
//! The kernel takes up to 64 datagrams in one call (GSO), so that one core reaches rates at which a receiver feels it. The
//! report says which rate was reached.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use quinn_udp::{Transmit, UdpSocketState};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::handshake::{Forger, LEN};
use super::stop::Stop;
use crate::clock::now;

/// Datagrams in one call.
const BATCH: usize = 64;
/// How long cookies are asked for, and how long one round waits for answers.
const COOKIES_WITHIN: Duration = Duration::from_secs(10);
const ROUND: Duration = Duration::from_millis(20);

/// `udp-flood`.
#[derive(Debug, Args)]
pub struct FloodArgs {
    /// Where to.
    #[arg(long)]
    to: SocketAddr,
    /// Datagrams in a second.
    #[arg(long)]
    rate: u32,
    /// Our addresses, which take turns; any by default.
    #[arg(long, value_delimiter = ',')]
    from: Vec<IpAddr>,
    /// Bytes in a datagram, unless it is a handshake.
    #[arg(long, default_value_t = LEN)]
    size: usize,
    /// Send handshakes for the node with this public key, with cookies, instead of random bytes.
    #[arg(long)]
    key: Option<String>,
    /// Where that node gives out cookies, if the handshakes go elsewhere.
    #[arg(long, requires = "key")]
    cookies_from: Option<SocketAddr>,
    /// Seed of the random bytes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What `udp-flood` sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FloodReport {
    /// Datagrams the kernel took.
    pub sent: u64,
    /// Datagrams the kernel refused.
    pub refused: u64,
    /// Addresses that had a cookie.
    pub cookies: u64,
    /// Datagrams that came back during the flood.
    pub answers: u64,
    /// How long it took, in seconds, without the time for cookies.
    pub seconds: f64,
    /// Datagrams in a second, as reached.
    pub rate: f64,
}

/// Runs `udp-flood`. Says "flooding" on standard error once it has its cookies.
///
/// # Errors
/// When a socket cannot be opened, or an address gets no cookie.
pub fn send(args: &FloodArgs, stop: &Stop) -> anyhow::Result<FloodReport> {
    ensure!(args.rate > 0 && (1..=1000).contains(&args.size), "a rate, and datagrams of 1 to 1000 bytes");
    let mut random = StdRng::seed_from_u64(args.seed);
    let any: IpAddr = if args.to.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
    let from = if args.from.is_empty() { vec![any] } else { args.from.clone() };
    let mut sources = Vec::with_capacity(from.len());
    for address in from {
        sources.push(Source::new(address, args, &mut random)?);
    }
    if args.key.is_some() {
        get_cookies(&mut sources, args.cookies_from.unwrap_or(args.to), stop)?;
    }
    eprintln!("flooding");
    let cookies = sources.iter().filter(|source| source.has_cookie()).count() as u64;
    let mut report = FloodReport { cookies, ..FloodReport::default() };
    let start = now();
    flood(&mut sources, args, stop, &mut report)?;
    report.seconds = start.elapsed().as_secs_f64();
    report.rate = report.sent as f64 / report.seconds.max(f64::EPSILON);
    Ok(report)
}

fn flood(sources: &mut [Source], args: &FloodArgs, stop: &Stop, report: &mut FloodReport) -> anyhow::Result<()> {
    let pause = Duration::from_secs(1) * BATCH as u32 / args.rate;
    let mut due = now();
    for index in (0..sources.len()).cycle() {
        if !wait(stop, due) {
            break;
        }
        let source = &mut sources[index];
        source.fill(args.size)?;
        match source.send(args.to) {
            Ok(()) => report.sent += BATCH as u64,
            Err(_) => report.refused += BATCH as u64,
        }
        report.answers += source.receive();
        due += pause;
    }
    Ok(())
}

/// Without a pause for what is late.
fn wait(stop: &Stop, due: Instant) -> bool {
    if now() < due { stop.pause_until(due) } else { !stop.is_due() }
}

/// Asks for cookies from every source, as fast as it takes until a node wants to see some.
fn get_cookies(sources: &mut [Source], from: SocketAddr, stop: &Stop) -> anyhow::Result<()> {
    let deadline = now() + COOKIES_WITHIN;
    while !sources.iter().all(Source::has_cookie) {
        ensure!(now() < deadline, "an address got no cookie from {from} within {COOKIES_WITHIN:?}");
        for source in sources.iter_mut().filter(|source| !source.has_cookie()) {
            source.fill(LEN)?;
            source.send(from).with_context(|| format!("cannot send to {from}"))?;
        }
        ensure!(stop.pause_until(now() + ROUND), "stopped before every address had a cookie");
        for source in &mut *sources {
            source.receive();
        }
    }
    Ok(())
}

struct Source {
    socket: UdpSocket,
    state: UdpSocketState,
    forger: Option<Forger>,
    random: StdRng,
    batch: Vec<u8>,
    size: usize,
}

impl Source {
    fn new(address: IpAddr, args: &FloodArgs, random: &mut StdRng) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((address, 0)).with_context(|| format!("cannot send from {address}"))?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        let forger = args.key.as_ref().map(|text| {
            let key = STANDARD.decode(text).ok().and_then(|key| <[u8; 32]>::try_from(key).ok());
            let key = key.context("--key is no public key")?;
            let mut seed = [0; 32];
            random.fill_bytes(&mut seed);
            anyhow::Ok(Forger::new(&key, seed))
        });
        let random = StdRng::from_rng(random);
        Ok(Self { socket, state, forger: forger.transpose()?, random, batch: Vec::new(), size: 0 })
    }

    fn has_cookie(&self) -> bool {
        self.forger.as_ref().is_some_and(Forger::has_cookie)
    }

    /// Makes the next datagrams.
    fn fill(&mut self, size: usize) -> anyhow::Result<()> {
        self.size = if self.forger.is_some() { LEN } else { size };
        self.batch.resize(BATCH * self.size, 0);
        let Some(forger) = &mut self.forger else {
            self.random.fill_bytes(&mut self.batch);
            return Ok(());
        };
        let (messages, _) = self.batch.as_chunks_mut::<LEN>();
        messages.iter_mut().try_for_each(|message| forger.write(message))
    }

    /// Sends them, in as few calls as the kernel allows.
    fn send(&self, to: SocketAddr) -> io::Result<()> {
        let at_once = self.state.max_gso_segments().clamp(1, BATCH);
        for contents in self.batch.chunks(at_once * self.size) {
            let segment_size = (contents.len() > self.size).then_some(self.size);
            let transmit = Transmit { destination: to, ecn: None, contents, segment_size, src_ip: None };
            self.state.try_send((&self.socket).into(), &transmit)?;
        }
        Ok(())
    }

    /// Takes what came back, and a cookie if there is one in it.
    fn receive(&mut self) -> u64 {
        let (mut buffer, mut answers) = ([0; 2048], 0);
        while let Ok(len) = self.socket.recv(&mut buffer) {
            answers += 1;
            if let Some(forger) = &mut self.forger {
                // Whatever else comes back is counted, and no more.
                let _ = forger.take_cookie(&buffer[..len]);
            }
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(to: SocketAddr) -> FloodArgs {
        FloodArgs { to, rate: 6400, from: Vec::new(), size: 100, key: None, cookies_from: None, seed: 1 }
    }

    #[test]
    fn a_flood_arrives_as_it_was_counted() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        receiver.set_nonblocking(true).expect("set");
        let to = receiver.local_addr().expect("an address");
        let stop = Stop::new(Some(0.1), false).expect("a stop");
        let report = send(&args(to), &stop).expect("a report");
        let mut buffer = [0; 200];
        let arrived = std::iter::from_fn(|| receiver.recv(&mut buffer).ok()).filter(|&len| len == 100).count();
        assert!(report.sent >= 64 && arrived > 0 && arrived as u64 <= report.sent, "{arrived} of {report:?}");
        assert_eq!(report.sent % 64, 0);
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let stop = Stop::new(Some(0.1), false).expect("a stop");
        let args = FloodArgs { key: Some("AAAA".to_owned()), ..args("127.0.0.1:9".parse().expect("an address")) };
        assert!(send(&args, &stop).is_err());
    }
}
