//! What `festoon-labtool` does inside a lab host. Every command runs until its count, its duration, SIGTERM or (with
//! `--until-eof`) the end of its standard input, and then always writes its report as one JSON object.

pub mod ask;
pub mod echo;
pub mod flood;
pub mod forge;
pub mod handshake;
pub mod hold;
pub mod hostile;
pub mod icmp;
pub mod junk;
pub mod outcome;
pub mod pattern;
pub mod raw;
pub mod receive;
pub mod relay;
pub mod signals;
pub mod stop;
pub mod stream;
mod tunnel;
pub mod udp;
pub mod webhooks;

use std::fs::File;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::lab::Lab;

/// Measures and disturbs a network from inside one of its hosts.
#[derive(Debug, Parser)]
#[command(name = "festoon-labtool", version)]
struct Cli {
    #[command(subcommand)]
    tool: Tool,
    #[command(flatten)]
    common: RunArgs,
}

/// When to stop and where to report.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Stop after this many seconds.
    #[arg(long, global = true)]
    pub duration_s: Option<f64>,
    /// Stop when standard input ends, so that the tool never outlives the program that started it.
    #[arg(long, global = true)]
    pub until_eof: bool,
    /// Write the report to this file instead of standard output.
    #[arg(long, global = true)]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// ICMP echo on a steady schedule: losses, duplicates, the longest gap.
    Ping(icmp::PingArgs),
    /// The same over UDP, towards `udp-echo`.
    UdpPing(udp::UdpPingArgs),
    /// Sends every datagram back where it came from.
    UdpEcho(udp::UdpEchoArgs),
    /// Sends datagrams of random bytes.
    UdpJunk(junk::JunkArgs),
    /// Sends datagrams at a steady high rate: random bytes, or handshakes with cookies.
    UdpFlood(flood::FloodArgs),
    /// Misuses the identity of an agent: floods its manager.
    Hostile(hostile::HostileArgs),
    /// Sends HTTP requests with any certificate, and reports the answers.
    Ask(ask::AskArgs),
    /// Holds such connections open, and reports when the other end closes them.
    AskHold(ask::AskArgs),
    /// Repeats such requests, and reports since when they are refused.
    AskRepeat(ask::AskArgs),
    /// Says signal messages in tunnels, with any key, and reports the answers.
    Signals(signals::SignalsArgs),
    /// Sends whole IP packets as they are.
    RawSend(raw::RawArgs),
    /// Holds TCP connections that say nothing.
    TcpHold(hold::HoldArgs),
    /// Receives `tcp-send` streams; a line of JSON for each, when it ends.
    TcpServe(receive::ServeArgs),
    /// One TCP stream of a known pattern, compared with what the receiver says it got.
    TcpSend(stream::SendArgs),
    /// Takes webhooks, and looks at their order.
    Webhooks(webhooks::WebhooksArgs),
    /// Takes packets from a TUN device and puts them back later, perhaps in another order, perhaps twice.
    Relay(relay::RelayArgs),
    /// Removes the namespaces of a lab that was kept, and ends what runs in them.
    RemoveLab {
        /// Their names.
        #[arg(required = true)]
        namespaces: Vec<String>,
    },
}

/// The whole program.
///
/// # Errors
/// One line that names what could not be done.
pub fn main() -> anyhow::Result<()> {
    let Cli { tool, common } = Cli::parse();
    let stop = stop::Stop::new(common.duration_s, common.until_eof)?;
    let out = common.out.as_deref();
    match tool {
        Tool::Ping(args) => write_report(out, &icmp::ping(&args, &stop)?),
        Tool::UdpPing(args) => write_report(out, &udp::ping(&args, &stop)?),
        Tool::UdpEcho(args) => write_report(out, &udp::serve(&args, &stop)?),
        Tool::UdpJunk(args) => write_report(out, &junk::send(&args, &stop)?),
        Tool::UdpFlood(args) => write_report(out, &flood::send(&args, &stop)?),
        Tool::Hostile(args) => write_report(out, &hostile::run(&args, &stop)?),
        Tool::Ask(args) => write_report(out, &ask::ask(&args, &stop)?),
        Tool::AskHold(args) => write_report(out, &ask::hold(&args, &stop)?),
        Tool::AskRepeat(args) => write_report(out, &ask::insist(&args, &stop)?),
        Tool::Signals(args) => write_report(out, &signals::say(&args, &stop)?),
        Tool::RawSend(args) => write_report(out, &raw::send(&args, &stop)?),
        Tool::TcpHold(args) => write_report(out, &hold::hold(&args, &stop)),
        Tool::TcpServe(args) => receive::serve(&args, &stop, out),
        Tool::TcpSend(args) => write_report(out, &stream::send(&args, &stop)?),
        Tool::Webhooks(args) => write_report(out, &webhooks::serve(&args, &stop)?),
        Tool::Relay(args) => write_report(out, &relay::relay(&args, &stop)?),
        Tool::RemoveLab { namespaces } => Lab::remove(&namespaces),
    }
}

/// Writes one report. A file appears whole or not at all, so a reader never sees half of it.
fn write_report(out: Option<&Path>, report: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string(report)?;
    let Some(path) = out else {
        return Ok(writeln!(stdout(), "{text}")?);
    };
    let part = path.with_extension("part");
    let mut file = File::create(&part).with_context(|| format!("cannot write the report to {}", part.display()))?;
    writeln!(file, "{text}")?;
    std::fs::rename(&part, path).with_context(|| format!("cannot write the report to {}", path.display()))
}
