//! An echo run: requests on a steady schedule, replies as they come. Two threads, so that neither disturbs the other's
//! timing; the numbers are computed afterwards in [`super::outcome`].

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;

use super::outcome::{EchoReport, Reply, Request, echoes, report};
use super::stop::{Stop, as_ms};
use crate::clock::{now, unix_ms};

/// Something that answers.
pub trait EchoSocket: Sync {
    /// Sends one request.
    ///
    /// # Errors
    /// What the kernel says; the run goes on.
    fn send(&self, sequence: u64) -> io::Result<()>;

    /// The sequence number of the next reply, or `None` when none came within about [`super::stop::POLL`] or something
    /// else did.
    fn receive(&self) -> Option<u64>;
}

/// How often, how many, how long.
#[derive(Debug, Args)]
pub struct Schedule {
    /// Milliseconds between requests.
    #[arg(long, default_value_t = 5.0)]
    pub interval_ms: f64,
    /// Stop after this many requests.
    #[arg(long)]
    pub count: Option<u64>,
    /// How long to wait for replies after the last request.
    #[arg(long, default_value_t = 500)]
    pub linger_ms: u64,
    /// Report every request, too.
    #[arg(long)]
    pub each: bool,
}

/// Runs until the count is reached or `stop` is due, and reports.
///
/// # Errors
/// Only for an interval that is no duration: a network that refuses is a result, not an error.
pub fn run(socket: &impl EchoSocket, schedule: &Schedule, stop: &Stop) -> anyhow::Result<EchoReport> {
    let interval = Duration::try_from_secs_f64(schedule.interval_ms / 1000.0)?;
    go_first();
    let start = now();
    let started_unix_ms = unix_ms();
    let (done, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let (requests, replies) = thread::scope(|scope| {
        let receiver = scope.spawn(|| collect(socket, start, &done, &answered));
        let requests = send_all(socket, start, interval, schedule.count, stop);
        linger(requests.len() as u64, &answered, Duration::from_millis(schedule.linger_ms));
        done.store(true, Ordering::Relaxed);
        (requests, receiver.join())
    });
    let replies = replies.map_err(|_| anyhow!("the receiving thread failed"))?;
    let each = if schedule.each { echoes(&requests, &replies) } else { Vec::new() };
    Ok(EchoReport { echoes: each, ..report(started_unix_ms, &requests, &replies) })
}

/// What is measured is the network, and not how long this program waits for a busy processor. On Linux this is about the calling
/// thread, and those that it starts.
fn go_first() {
    if let Err(error) = rustix::process::setpriority_process(None, -15) {
        eprintln!("the times may hold some that this program waited for the processor: {error}");
    }
}

/// A sender that was held up does not catch up in a burst: it skips the slots it missed.
fn send_all(
    socket: &impl EchoSocket,
    start: Instant,
    interval: Duration,
    count: Option<u64>,
    stop: &Stop,
) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut due = start;
    while count.is_none_or(|count| (requests.len() as u64) < count) && stop.pause_until(due) {
        let at = start.elapsed();
        let error = socket.send(requests.len() as u64).err().map(|error| error.to_string());
        requests.push(Request { at, error });
        due += interval;
        if due + interval < now() {
            due = now();
        }
    }
    requests
}

fn collect(socket: &impl EchoSocket, start: Instant, done: &AtomicBool, answered: &AtomicU64) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let Some(sequence) = socket.receive() else { continue };
        let at = start.elapsed();
        if replies.is_empty() {
            eprintln!("first reply after {:.1} ms", as_ms(at));
        }
        replies.push(Reply { sequence, at });
        answered.fetch_add(1, Ordering::Relaxed);
    }
    replies
}

/// Not cut short by a full count of replies when some are duplicates: then the wait is merely full length.
fn linger(sent: u64, answered: &AtomicU64, time: Duration) {
    let end = now() + time;
    while now() < end && answered.load(Ordering::Relaxed) != sent {
        thread::park_timeout(Duration::from_millis(5));
    }
}
