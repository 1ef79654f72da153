//! `festoon-labtool` on a host, with its reports.

use std::fs::read_to_string;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::de::DeserializeOwned;

use super::Host;
use super::command::tool;
use super::program::Program;
use crate::tools::flood::FloodReport;
use crate::tools::outcome::EchoReport;
use crate::tools::receive::Received;
use crate::tools::stream::Sent;

const START: Duration = Duration::from_secs(5);
/// Longer than a sender waits for its receiver.
const FINISH: Duration = Duration::from_secs(30);

/// Requests on a steady schedule, until finished.
#[derive(Debug)]
pub struct Echo {
    program: Program,
    report: PathBuf,
}

impl Echo {
    /// Pings `target` from `host`.
    ///
    /// # Errors
    /// When `festoon-labtool` cannot be started.
    pub fn ping(host: &Host, target: IpAddr, interval: Duration) -> anyhow::Result<Self> {
        Self::start(host, &["ping".to_owned(), format!("--target={target}")], interval)
    }

    /// Sends datagrams from `host` to a `udp-echo`.
    ///
    /// # Errors
    /// When `festoon-labtool` cannot be started.
    pub fn udp(host: &Host, to: SocketAddr, interval: Duration) -> anyhow::Result<Self> {
        Self::start(host, &["udp-ping".to_owned(), format!("--to={to}")], interval)
    }

    fn start(host: &Host, what: &[String], interval: Duration) -> anyhow::Result<Self> {
        let interval = format!("--interval-ms={}", interval.as_secs_f64() * 1000.0);
        let (program, report) = spawn(host, &[what, &["--each".to_owned(), interval]].concat())?;
        Ok(Self { program, report })
    }

    /// Waits for the first reply.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn wait_first(&mut self, within: Duration) -> anyhow::Result<Duration> {
        self.program.wait_for_log(within, "first reply")
    }

    /// Stops sending, waits half a second for late replies, and reports.
    ///
    /// # Errors
    /// When there is no report.
    pub fn finish(mut self) -> anyhow::Result<EchoReport> {
        self.program.close_stdin();
        finish(&mut self.program, &self.report)
    }
}

/// Receives streams.
#[derive(Debug)]
pub struct Receiver {
    program: Program,
    report: PathBuf,
    at: SocketAddr,
}

impl Receiver {
    /// Listens on `host`.
    ///
    /// # Errors
    /// When it cannot.
    pub fn start(host: &Host, listen: SocketAddr) -> anyhow::Result<Self> {
        let (mut program, report) = spawn(host, &["tcp-serve".to_owned(), format!("--listen={listen}")])?;
        program.wait_for_log(START, "listening on")?;
        Ok(Self { program, report, at: listen })
    }

    /// Where it listens.
    #[must_use]
    pub const fn at(&self) -> SocketAddr {
        self.at
    }

    /// The streams that have ended.
    ///
    /// # Errors
    /// When the reports make no sense.
    pub fn received(&self) -> anyhow::Result<Vec<Received>> {
        let text = read_to_string(&self.report).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).context("not a receiver's report")).collect()
    }

    /// The program itself.
    pub const fn program(&mut self) -> &mut Program {
        &mut self.program
    }
}

/// One TCP stream, until finished.
#[derive(Debug)]
pub struct Stream {
    program: Program,
    report: PathBuf,
}

impl Stream {
    /// Sends checked bytes from `host` at a steady rate.
    ///
    /// # Errors
    /// When `festoon-labtool` cannot be started.
    pub fn start(host: &Host, to: SocketAddr, mbit_per_s: f64) -> anyhow::Result<Self> {
        Self::with_args(host, to, &[format!("--rate={mbit_per_s}")])
    }

    /// Sends unchecked bytes as fast as it goes, for `duration`.
    ///
    /// # Errors
    /// When `festoon-labtool` cannot be started.
    pub fn flood(host: &Host, to: SocketAddr, duration: Duration) -> anyhow::Result<Self> {
        Self::with_args(host, to, &["--no-check".to_owned(), format!("--duration-s={}", duration.as_secs_f64())])
    }

    fn with_args(host: &Host, to: SocketAddr, args: &[String]) -> anyhow::Result<Self> {
        let (program, report) = spawn(host, &[&["tcp-send".to_owned(), format!("--to={to}")], args].concat())?;
        Ok(Self { program, report })
    }

    /// Stops sending, waits until the receiver has confirmed all of it, and reports.
    ///
    /// # Errors
    /// When there is no report, for instance because the connection never opened.
    pub fn finish(mut self) -> anyhow::Result<Sent> {
        self.program.close_stdin();
        finish(&mut self.program, &self.report)
    }

    /// Waits for the end of its duration, and reports.
    ///
    /// # Errors
    /// When there is no report in time.
    pub fn wait(mut self, within: Duration) -> anyhow::Result<Sent> {
        self.program.wait(within)?;
        finish(&mut self.program, &self.report)
    }
}

/// A flood of datagrams, until finished.
#[derive(Debug)]
pub struct Flood {
    program: Program,
    report: PathBuf,
}

impl Flood {
    /// Starts `udp-flood` on `host` with these arguments, and waits until it floods.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(host: &Host, args: &[String]) -> anyhow::Result<Self> {
        let (mut program, report) = spawn(host, &[&["udp-flood".to_owned()], args].concat())?;
        program.wait_for_log(FINISH, "flooding")?;
        Ok(Self { program, report })
    }

    /// Ends it, and reports.
    ///
    /// # Errors
    /// When there is no report.
    pub fn finish(mut self) -> anyhow::Result<FloodReport> {
        self.program.close_stdin();
        finish(&mut self.program, &self.report)
    }
}

/// Any other tool, until finished.
#[derive(Debug)]
pub struct Tool {
    program: Program,
    report: PathBuf,
}

impl Tool {
    /// Starts `festoon-labtool` with these arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(host: &Host, args: &[String]) -> anyhow::Result<Self> {
        let (program, report) = spawn(host, args)?;
        Ok(Self { program, report })
    }

    /// Waits until it has said this.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_for_log(&mut self, text: &str) -> anyhow::Result<()> {
        self.program.wait_for_log(START, text).map(drop)
    }

    /// Stops it, and gives its report.
    ///
    /// # Errors
    /// When there is none.
    pub fn finish<T: DeserializeOwned>(mut self) -> anyhow::Result<T> {
        self.program.close_stdin();
        finish(&mut self.program, &self.report)
    }
}

fn spawn(host: &Host, what: &[String]) -> anyhow::Result<(Program, PathBuf)> {
    let site = host.site();
    let report = site.dir.join(format!("report{}.json", site.next_serial()));
    let args = [what, &["--until-eof".to_owned(), format!("--out={}", report.display())]].concat();
    Ok((host.spawn(tool("festoon-labtool")?, &args)?, report))
}

fn finish<T: DeserializeOwned>(program: &mut Program, report: &Path) -> anyhow::Result<T> {
    program.wait(FINISH)?;
    let text = read_to_string(report).with_context(|| format!("no report: {}", program.log()))?;
    serde_json::from_str(&text).with_context(|| format!("{} makes no sense", report.display()))
}
