//! The commands that look and change nothing: `status`, `ping`, `netcheck`, `debug bundle`.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use festoon_proto::harmless::harmless_lines;
use tokio::time::sleep;

use super::{NO_GOOD, say_not_running, single_threaded};
use crate::bundle;
use crate::config::{Config, duration};
use crate::control::{self, AgentStatus, ControlError};
use crate::netcheck::netcheck;
use crate::output::{self, Output};
use crate::ping::{Pace, ping};
use crate::prober::Prober;
use crate::state::StateDir;

/// Stands for the standard output.
const STDOUT: &str = "-";
/// Takes a terminal's cursor home and clears what is there (ECMA-48).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// As JSON; the same as `-o json`
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// Show it again and again, every so often (2s if not said), until the agent stops; as JSON, one line each time
    #[arg(long, value_name = "EVERY", num_args = 0..=1, require_equals = true, default_missing_value = "2s", value_parser = duration)]
    watch: Option<Duration>,
}

/// `ping`.
#[derive(Debug, Args)]
pub(super) struct PingArgs {
    /// An overlay address, a name, `gateway`, the name or id of a manager, or `manager` for the one that carries this host
    target: String,
    /// How many requests
    #[arg(short, long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Seconds from one to the next
    #[arg(short, long, default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// Seconds to wait for an answer
    #[arg(short = 'W', long, default_value = "1", value_parser = seconds)]
    timeout: Duration,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// `netcheck`.
#[derive(Debug, Args)]
pub(super) struct NetcheckArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// `debug`.
#[derive(Debug, Subcommand)]
pub(super) enum DebugCommand {
    /// Gather what helps to find a fault in one .tar.gz file, without keys, tokens and credentials; INDEX in it says what it is
    Bundle {
        /// The file, which must not be there yet; - for the standard output [default: festoon-debug-NAME-TIME.tar.gz]
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
}

/// A number of seconds, as `ping` takes it.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected seconds between 0.01 and 3600, as in 0.2";
    let seconds: f64 = text.parse().map_err(|_| EXPECTED)?;
    if (0.01..=3600.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err(EXPECTED) }
}

/// Runs `status`.
pub(super) fn run_status(config: &Config, args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let output = if args.json { Output::Json } else { args.output };
    let Some(every) = args.watch else {
        return match control::status(&config.socket()) {
            Ok(status) => output.print(&status).map(|()| ExitCode::SUCCESS).map_err(Into::into),
            Err(ControlError::NotRunning) => Ok(say_not_running(config)),
            Err(error) => Err(error.into()),
        };
    };
    single_threaded()?.block_on(async {
        loop {
            match control::status(&config.socket()) {
                Ok(status) => show_again(output, &status)?,
                Err(ControlError::NotRunning) => return Ok(say_not_running(config)),
                Err(error) => return Err(error.into()),
            }
            sleep(every.max(Duration::from_secs(1))).await;
        }
    })
}

/// In the place of what was shown before, on a terminal.
fn show_again(output: Output, status: &AgentStatus) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string(status)?)?,
        Output::Table if out.is_terminal() => write!(out, "{CLEAR}{}", harmless_lines(&status.to_string()))?,
        Output::Table => writeln!(out, "{}", harmless_lines(&status.to_string()))?,
    }
    Ok(out.flush()?)
}

/// Runs `ping`.
pub(super) fn run_ping(config: &Config, args: &PingArgs) -> anyhow::Result<ExitCode> {
    let prober = match Prober::agent(&config.socket()) {
        Err(ControlError::NotRunning) => return Ok(say_not_running(config)),
        prober => prober?,
    };
    let map = StateDir::new(&config.state_dir).map()?;
    let pace = Pace { count: args.count, interval: args.interval, patience: args.timeout };
    let is_table = args.output == Output::Table;
    let say = |line: &str| if is_table { output::say(line) } else { Ok(()) };
    let report = single_threaded()?.block_on(ping(&prober, &map, &args.target, pace, say))?;
    args.output.print(&report)?;
    Ok(if report.summary.received > 0 { ExitCode::SUCCESS } else { ExitCode::from(NO_GOOD) })
}

/// Runs `netcheck`.
pub(super) fn run_netcheck(config: &Config, args: &NetcheckArgs) -> anyhow::Result<ExitCode> {
    if !StateDir::new(&config.state_dir).has_joined() {
        return Ok(say_not_running(config));
    }
    let report = single_threaded()?.block_on(netcheck(config))?;
    args.output.print(&report)?;
    Ok(if report.warnings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NO_GOOD) })
}

/// Runs `debug bundle`.
pub(super) fn run_bundle(config: &Config, output: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let entries = single_threaded()?.block_on(bundle::gather(config));
    let now = jiff::Timestamp::now();
    let unix_s = u64::try_from(now.as_second()).unwrap_or(0);
    let name = StateDir::new(&config.state_dir).map().map_or_else(|_| "host".into(), |map| map.name);
    let root = format!("festoon-debug-{name}-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let path = output.unwrap_or_else(|| format!("{root}.tar.gz").into());
    if path == Path::new(STDOUT) {
        bundle::write(&entries, &root, unix_s, io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    // What is in it concerns this host's admins alone until they hand it on.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("cannot make {}: name another with -o", path.display()))?;
    bundle::write(&entries, &root, unix_s, file)?;
    output::say(&format!("{}: {} files. Look at INDEX in it before you hand it on", path.display(), entries.len()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction_and_are_bounded() {
        assert_eq!(seconds("0.2"), Ok(Duration::from_millis(200)));
        assert_eq!(seconds("3"), Ok(Duration::from_secs(3)));
        assert!(["", "0", "-1", "NaN", "inf", "1e9", "2s"].iter().all(|bad| seconds(bad).is_err()));
    }
}
