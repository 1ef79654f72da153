//! `tcp-send`: one TCP connection from start to end, never a second.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use super::pattern::Pattern;
use super::receive::{HEADER, MAGIC, Received, is_timeout};
use super::stop::{POLL, Stop};
use crate::clock::now;

/// At a limited rate, one write each of these.
const TICK: Duration = Duration::from_millis(2);
const LARGE_WRITE: usize = 256 << 10;
/// Debian's default. Machines differ in it, and figures from different ones should not.
const CONGESTION_CONTROL: &[u8] = b"cubic";

/// `tcp-send`. TCP's own timeouts stay at their defaults.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Where `tcp-serve` listens.
    #[arg(long)]
    to: SocketAddr,
    /// Megabits a second; without it, as fast as it goes.
    #[arg(long)]
    rate: Option<f64>,
    /// Stop after this many bytes.
    #[arg(long)]
    bytes: Option<u64>,
    /// Send zeros in large writes and check nothing: for measuring throughput.
    #[arg(long)]
    no_check: bool,
    /// How long to wait, after the last byte, for the receiver to have got it all.
    #[arg(long, default_value_t = 20.0)]
    linger_s: f64,
}

/// What became of the stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The sender's own address and port: the connection's name.
    pub local: String,
    /// Whether the one connection lived until the receiver had confirmed its end.
    pub kept: bool,
    /// What ended it otherwise.
    pub error: Option<String>,
    /// Bytes the kernel took.
    pub bytes: u64,
    /// [`Pattern::digest`] of them; 0 when not checked.
    pub digest: u64,
    /// Bytes sent that did not arrive right and in order. Without a receiver's report all count as lost.
    pub bytes_lost: u64,
    /// What the receiver says.
    pub receiver: Option<Received>,
}

/// Runs `tcp-send`.
///
/// # Errors
/// When the connection cannot be opened: one that breaks later is a result.
pub fn send(args: &SendArgs, stop: &Stop) -> anyhow::Result<Sent> {
    let mut stream = TcpStream::connect(args.to).with_context(|| format!("cannot connect to {}", args.to))?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream)
        .set_tcp_congestion(CONGESTION_CONTROL)
        .context("this kernel lacks cubic: modprobe tcp_cubic")?;
    stream.set_write_timeout(Some(POLL))?;
    let mut sent = Sent { local: stream.local_addr()?.to_string(), ..Sent::default() };
    let outcome = write_stream(&mut stream, args, stop, &mut sent).and_then(|()| read_report(&mut stream, args));
    match outcome {
        Ok(receiver) => {
            sent.kept = receiver.complete;
            sent.receiver = Some(receiver);
        }
        Err(error) => sent.error = Some(error.to_string()),
    }
    sent.bytes_lost = count_lost(&sent);
    Ok(sent)
}

fn count_lost(sent: &Sent) -> u64 {
    let Some(receiver) = &sent.receiver else { return sent.bytes };
    let same = receiver.bytes == sent.bytes && receiver.digest == sent.digest;
    match receiver.first_wrong {
        Some(at) => sent.bytes.saturating_sub(at),
        None if same => 0,
        None => sent.bytes.saturating_sub(receiver.bytes).max(1),
    }
}

fn write_stream(stream: &mut TcpStream, args: &SendArgs, stop: &Stop, sent: &mut Sent) -> io::Result<()> {
    let seed = rand::random();
    stream.write_all(&header(!args.no_check, seed))?;
    let mut pattern = (!args.no_check).then(|| Pattern::new(seed));
    let mut buffer = vec![0; args.rate.map_or(LARGE_WRITE, chunk)];
    let limit = args.bytes.unwrap_or(u64::MAX);
    let mut due = now();
    while sent.bytes < limit && stop.pause_until(due) {
        if args.rate.is_some() {
            due += TICK;
        }
        let left = usize::try_from(limit - sent.bytes).unwrap_or(usize::MAX).min(buffer.len());
        write_part(stream, &mut buffer[..left], pattern.as_mut(), sent)?;
    }
    stream.shutdown(Shutdown::Write)
}

fn header(checked: bool, seed: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8] = u8::from(checked);
    header[9..].copy_from_slice(&seed.to_be_bytes());
    header
}

/// Writes what fits of one part. A full send buffer is no error: the next turn tries again.
fn write_part(
    stream: &mut TcpStream,
    part: &mut [u8],
    pattern: Option<&mut Pattern>,
    sent: &mut Sent,
) -> io::Result<()> {
    if let Some(pattern) = &pattern {
        pattern.write(part);
    }
    let written = match stream.write(part) {
        Ok(written) => written,
        Err(error) if is_timeout(&error) => 0,
        Err(error) => return Err(error),
    };
    sent.bytes += written as u64;
    if let Some(pattern) = pattern {
        pattern.advance(&part[..written]);
        sent.digest = pattern.digest();
    }
    Ok(())
}

fn chunk(mbit_per_s: f64) -> usize {
    let bytes = mbit_per_s * 1e6 / 8.0 * TICK.as_secs_f64();
    (bytes.max(1.0) as usize).min(LARGE_WRITE)
}

fn read_report(stream: &mut TcpStream, args: &SendArgs) -> io::Result<Received> {
    let wait = Duration::try_from_secs_f64(args.linger_s).unwrap_or(Duration::from_secs(20));
    stream.set_read_timeout(Some(wait))?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|error| {
        let late = io::Error::new(ErrorKind::TimedOut, format!("the receiver confirmed nothing within {wait:?}"));
        if is_timeout(&error) { late } else { error }
    })?;
    serde_json::from_str(&text).map_err(|_| io::Error::new(ErrorKind::InvalidData, "the receiver closed unconfirmed"))
}
