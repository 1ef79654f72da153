//! `tcp-serve`: receives streams and proves what it got.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use super::pattern::Pattern;
use super::stop::{POLL, Stop, as_ms};
use crate::clock::{now, unix_ms};

/// How a stream begins: this, then 1 if the bytes are to be checked or 0, then the pattern's seed.
pub const MAGIC: [u8; 8] = *b"festoon1";
/// The whole of that.
pub const HEADER: usize = 17;
const BUFFER: usize = 256 << 10;

/// `tcp-serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port to listen on.
    #[arg(long)]
    listen: SocketAddr,
}

/// What a receiver got over one connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Received {
    /// The sender, as seen here.
    pub peer: String,
    /// Whether every byte was compared with the pattern.
    pub checked: bool,
    /// Bytes that arrived.
    pub bytes: u64,
    /// [`Pattern::digest`] of them; 0 when not checked.
    pub digest: u64,
    /// Position of the first byte that was not the right one.
    pub first_wrong: Option<u64>,
    /// The longest time between two successive reads that gave bytes, the end of the stream included.
    pub gap_ms: f64,
    /// Wall clock at which that gap began, milliseconds since 1970.
    pub gap_began_unix_ms: u64,
    /// From the first byte to the last.
    pub seconds: f64,
    /// Over those seconds, payload only.
    pub mbit_per_s: f64,
    /// Whether the sender closed the stream in good order.
    pub complete: bool,
    /// What ended it otherwise.
    pub error: Option<String>,
}

/// Runs `tcp-serve`: a thread a connection, and a line of JSON in `out` (or standard output) when it ends.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve(args: &ServeArgs, stop: &Stop, out: Option<&Path>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    SockRef::from(&listener).set_read_timeout(Some(POLL))?;
    eprintln!("listening on {}", args.listen);
    thread::scope(|scope| {
        while !stop.is_due() {
            let Ok((stream, peer)) = listener.accept() else { continue };
            scope.spawn(move || {
                if let Err(error) = handle(stream, peer, stop, out) {
                    eprintln!("{peer}: {error:#}");
                }
            });
        }
    });
    Ok(())
}

fn handle(mut stream: TcpStream, peer: SocketAddr, stop: &Stop, out: Option<&Path>) -> anyhow::Result<()> {
    let received = receive(&mut stream, peer, stop);
    let line = serde_json::to_string(&received)? + "\n";
    match out {
        Some(path) => OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())?,
        None => io::stdout().write_all(line.as_bytes())?,
    }
    stream.write_all(line.as_bytes()).context("the sender is gone before the report")
}

fn receive(stream: &mut TcpStream, peer: SocketAddr, stop: &Stop) -> Received {
    let mut received = Received { peer: peer.to_string(), ..Received::default() };
    match read_all(stream, stop, &mut received) {
        Ok(()) => received.complete = true,
        Err(error) => received.error = Some(error.to_string()),
    }
    received
}

fn read_all(stream: &mut TcpStream, stop: &Stop, received: &mut Received) -> io::Result<()> {
    stream.set_read_timeout(Some(POLL))?;
    let mut header = [0; HEADER];
    read_header(stream, stop, &mut header)?;
    let (magic, rest) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(io::Error::new(ErrorKind::InvalidData, "this is no tcp-send stream"));
    }
    received.checked = rest[0] == 1;
    let seed = u64::from_be_bytes(rest[1..].try_into().unwrap_or_default());
    let mut pattern = received.checked.then(|| Pattern::new(seed));
    let mut watch = GapWatch::start();
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = match stream.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if is_timeout(&error) && !stop.is_due() => continue,
            Err(error) => return Err(error),
        };
        watch.note(received);
        if length == 0 {
            return Ok(());
        }
        take(&buffer[..length], pattern.as_mut(), received);
        watch.rate(received);
    }
}

fn read_header(stream: &mut TcpStream, stop: &Stop, header: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < header.len() {
        match stream.read(&mut header[filled..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => filled += length,
            Err(error) if is_timeout(&error) && !stop.is_due() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn take(bytes: &[u8], pattern: Option<&mut Pattern>, received: &mut Received) {
    received.bytes += bytes.len() as u64;
    if let Some(pattern) = pattern {
        let wrong = pattern.check(bytes);
        received.first_wrong = received.first_wrong.or(wrong);
        received.digest = pattern.digest();
    }
}

/// Whether an error only says that nothing happened in time.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

struct GapWatch {
    start: Instant,
    last: Instant,
    longest: Duration,
}

impl GapWatch {
    fn start() -> Self {
        let now = now();
        Self { start: now, last: now, longest: Duration::ZERO }
    }

    fn note(&mut self, received: &mut Received) {
        let now = now();
        let gap = now - self.last;
        self.last = now;
        if gap > self.longest {
            self.longest = gap;
            received.gap_ms = as_ms(gap);
            received.gap_began_unix_ms = unix_ms().saturating_sub(u64::try_from(gap.as_millis()).unwrap_or(0));
        }
    }

    fn rate(&self, received: &mut Received) {
        received.seconds = (self.last - self.start).as_secs_f64();
        received.mbit_per_s = received.bytes as f64 * 8.0 / 1e6 / received.seconds.max(1e-6);
    }
}
