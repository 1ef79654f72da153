//! `relay`: a slow, disorderly stretch of network. Packets routed into its TUN device come out of the same device after a
//! delay. Two threads: one reads and stamps each packet, the other sends what is due; the order is decided in
//! [`delay_line`].

pub mod delay_line;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use tun::{Configuration, Device};

use self::delay_line::{DelayLine, Disorder};
use super::stop::{POLL, Stop};
use crate::clock::now;

/// `relay`.
#[derive(Debug, Args)]
pub struct RelayArgs {
    /// Name of the TUN device to make.
    #[arg(long)]
    device: String,
    /// Milliseconds every packet waits.
    #[arg(long, default_value_t = 0.0)]
    delay_ms: f64,
    /// Up to this many milliseconds more, chosen for each packet: packets closer together than this change places.
    #[arg(long, default_value_t = 0.0)]
    jitter_ms: f64,
    /// How many packets in a hundred come out twice.
    #[arg(long, default_value_t = 0.0)]
    duplicate_percent: f64,
    /// Seed of every choice.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What passed through.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayReport {
    /// Packets that came in.
    pub taken: u64,
    /// Packets that went out, second copies included.
    pub given: u64,
}

/// Runs `relay`. What is still waiting when it ends goes out at its time.
///
/// # Errors
/// When the device cannot be made.
pub fn relay(args: &RelayArgs, stop: &Stop) -> anyhow::Result<RelayReport> {
    let mut configuration = Configuration::default();
    configuration.tun_name(&args.device).up();
    let device = Device::new(&configuration).with_context(|| format!("cannot make TUN device {}", args.device))?;
    let device = Arc::new(device);
    let disorder = Disorder {
        delay: Duration::try_from_secs_f64(args.delay_ms / 1000.0)?,
        jitter: Duration::try_from_secs_f64(args.jitter_ms / 1000.0)?,
        duplicate: args.duplicate_percent / 100.0,
    };
    let start = now();
    let (sender, arrivals) = channel();
    let reader = Arc::clone(&device);
    // Blocked in a read when the program ends: nobody waits for it.
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(length) = reader.recv(&mut buffer) {
            if sender.send((start.elapsed(), buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    eprintln!("relaying on {}", args.device);
    Ok(pump(&device, DelayLine::new(disorder, args.seed), &arrivals, start, stop))
}

fn pump(
    device: &Device,
    mut line: DelayLine,
    arrivals: &Receiver<(Duration, Vec<u8>)>,
    start: Instant,
    stop: &Stop,
) -> RelayReport {
    let mut report = RelayReport::default();
    while !(stop.is_due() && line.poll_timeout().is_none()) {
        let due = line.poll_timeout().map_or(POLL, |due| due.saturating_sub(start.elapsed()));
        match arrivals.recv_timeout(due.min(POLL)) {
            Ok((at, packet)) => {
                report.taken += 1;
                line.handle_packet(at, packet);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        while let Some(packet) = line.poll_packet(start.elapsed()) {
            report.given += u64::from(device.send(&packet).is_ok());
        }
    }
    report
}
