//! The commands of `festoon`.

mod diagnose;
mod manual;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use festoon_proto::harmless;
use festoon_secrets::{Source, ignore_empty_variables};
use tokio::runtime::{Builder, Runtime};

use crate::config::{Config, duration};
use crate::control::{self, ControlError};
use crate::join::join;
use crate::leave::{Left, leave};
use crate::output::{say, warn};
use crate::state::StateDir;
use crate::{host, log, session, systemd};
use diagnose::{DebugCommand, NetcheckArgs, PingArgs, StatusArgs};

/// What a command that asks the agent exits with when there is none.
const NOT_RUNNING: u8 = 3;
/// What `festoon ping` exits with when nobody answers, and `festoon netcheck` when something is wrong.
const NO_GOOD: u8 = 4;

/// What lets a host in, and the variable of the environment that may have it.
const TOKEN: &str = "join token";
pub(crate) const TOKEN_VARIABLE: &str = "FESTOON_JOIN_TOKEN";

const EXIT_CODES: &str = "\
Exit codes:
  0  done; ping: answered; netcheck: nothing is wrong
  1  not done: the last line says why
  2  the command line is wrong
  3  the agent is not running, or this host has not joined
  4  ping: no answer at all; netcheck: something is wrong";

/// What the long help says in addition.
fn long_help() -> String {
    format!("{EXIT_CODES}\n\n{}", festoon_secrets::HELP)
}

/// Joins this host to a Festoon overlay and keeps it there.
#[derive(Debug, Parser)]
#[command(name = "festoon", version, after_help = EXIT_CODES, after_long_help = long_help())]
pub struct Cli {
    #[command(flatten)]
    config: Config,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Join an overlay, with a token from `festoon-manager tokens add`
    Join {
        /// The token, one word that begins with "festoon1": `-` reads it from the standard input, `@FILE` from a file [default: the
        /// token in FESTOON_JOIN_TOKEN]
        #[arg(value_name = "-|@FILE|TOKEN")]
        token: Option<Source>,
        /// What the endpoint is called in the overlay [default: this host's name]
        #[arg(long)]
        name: Option<String>,
    },
    /// Run the agent in the foreground, as systemd does
    Up,
    /// Stop the running agent and remove its addresses, routes and packet filter; also what a killed agent left
    Down,
    /// Leave the overlay for good and forget its keys
    Leave {
        /// Forget the overlay on this host even if no manager answers
        #[arg(long)]
        force: bool,
    },
    /// Give the endpoint a new key; no traffic is lost
    RotateKey {
        /// How long the key before is good too: 90s, 10m, or 0s for a key that was stolen
        #[arg(long, default_value = "10m", value_parser = duration)]
        overlap: Duration,
    },
    /// Show the running agent's addresses, managers and counters
    Status(StatusArgs),
    /// Ask an endpoint, the gateway or a manager for an answer, and see which manager the packets go through
    Ping(PingArgs),
    /// Find out what the network between this host and the managers lets through, and what to do about the rest
    Netcheck(NetcheckArgs),
    /// For those who look for a fault
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Print what a shell needs to complete commands
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual pages
    Man {
        /// The directory to write them to
        directory: PathBuf,
    },
    /// Show the version of this program
    Version,
}

impl Cli {
    /// What the command line says. Ends the program if that makes no sense, or asks for help.
    pub fn from_line() -> Self {
        let matches = ignore_empty_variables(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut Self::command()).exit())
    }
}

/// Does what the command line says.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let config = cli.config;
    match cli.command {
        Command::Join { token, name } => run_join(&config, token.as_ref(), name)?,
        Command::Up => run_up(&config)?,
        Command::Down => run_down(&config)?,
        Command::Leave { force } => run_leave(&config, force)?,
        Command::RotateKey { overlap } => return run_rotate_key(&config, overlap),
        Command::Status(args) => return diagnose::run_status(&config, &args),
        Command::Ping(args) => return diagnose::run_ping(&config, &args),
        Command::Netcheck(args) => return diagnose::run_netcheck(&config, &args),
        Command::Debug(DebugCommand::Bundle { output }) => return diagnose::run_bundle(&config, output),
        Command::Completions { shell } => manual::completions(shell)?,
        Command::Man { directory } => manual::write(&directory)?,
        Command::Version => say(concat!("festoon ", env!("CARGO_PKG_VERSION")))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// An error and its causes in one line.
pub fn one_line(error: &anyhow::Error) -> String {
    harmless::one_line(error.chain().map(ToString::to_string))
}

fn run_join(config: &Config, token: Option<&Source>, name: Option<String>) -> anyhow::Result<()> {
    Source::hide(token, "festoon", TOKEN, TOKEN_VARIABLE);
    let token = Source::read(token, TOKEN, TOKEN_VARIABLE)?;
    let map = single_threaded()?.block_on(join(config, &token, name))?;
    let addresses: Vec<String> = map.addresses.iter().map(ToString::to_string).collect();
    say(&format!("joined {} as {} ({}): {}", map.network.name, map.name, map.endpoint, addresses.join(", ")))?;
    if config.is_system_agent() && systemd::has_unit() {
        anyhow::ensure!(
            systemd::enable(),
            "joined, but systemd did not start the agent: see `systemctl status festoon`"
        );
        say("the agent is running: see `festoon status`")?;
    } else {
        say(&format!("next: festoon{} up", config.options()))?;
    }
    Ok(())
}

fn run_up(config: &Config) -> anyhow::Result<()> {
    let last_lines = log::start();
    let runtime = Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(session::run(config, last_lines))
}

fn run_down(config: &Config) -> anyhow::Result<()> {
    match control::down(&config.socket()) {
        Ok(()) => say("the agent has stopped")?,
        Err(ControlError::NotRunning) => {
            let interface = StateDir::new(&config.state_dir).used_interface(&config.interface);
            let left = single_threaded()?.block_on(host::clean(&interface))?;
            say(if left {
                "the agent is not running; the addresses, routes and packet filter that it left on this host are removed"
            } else {
                "the agent is not running"
            })?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn run_leave(config: &Config, force: bool) -> anyhow::Result<()> {
    let left = single_threaded()?.block_on(leave(config, force))?;
    if config.is_system_agent() && systemd::has_unit() && !systemd::disable() {
        warn("systemd did not disable the agent: run `systemctl disable festoon`");
    }
    match left {
        Left::Everywhere => say("this host has left the overlay")?,
        Left::AlreadyRemoved => say("an admin had removed this host; its keys are forgotten now")?,
        Left::OnlyHere(reason) => {
            say("the overlay is forgotten on this host; an admin must remove its endpoint")?;
            if let Some(reason) = reason {
                warn(&reason.to_string());
            }
        }
    }
    Ok(())
}

fn run_rotate_key(config: &Config, overlap: Duration) -> anyhow::Result<ExitCode> {
    match control::rotate_key(&config.socket(), overlap) {
        Ok(key) => say(&format!("the key of this endpoint is {key} from now on"))?,
        Err(ControlError::NotRunning) => return Ok(say_not_running(config)),
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says why there is no agent to ask, and what to do.
fn say_not_running(config: &Config) -> ExitCode {
    warn(&what_to_do(config));
    ExitCode::from(NOT_RUNNING)
}

fn what_to_do(config: &Config) -> String {
    let options = config.options();
    if !StateDir::new(&config.state_dir).has_joined() {
        format!("this host has not joined an overlay: run `festoon{options} join`, with a token")
    } else if config.is_system_agent() && systemd::has_unit() {
        "the agent is not running: start it with `systemctl start festoon`".into()
    } else {
        format!("the agent is not running: start it with `festoon{options} up`")
    }
}

fn single_threaded() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_is_given_in_three_ways() {
        let join = |token: &str| Cli::try_parse_from(["festoon", "join", token]).map(|cli| format!("{cli:?}"));
        assert!(join("@/run/token").unwrap().contains("File(\"/run/token\")"));
        assert!(join("-").unwrap().contains("Input"));
        assert!(!join("festoon1canary").unwrap().contains("canary"));
        assert!(Cli::try_parse_from(["festoon", "join"]).is_ok());
    }

    #[test]
    fn every_command_in_the_documentation_is_one() {
        let readme = include_str!("../../../README.md");
        let lines: Vec<&str> = readme.lines().filter(|line| line.starts_with("festoon ")).collect();
        assert!(lines.len() > 6, "{}", lines.len());
        for line in lines {
            let words = line.split(" #").next().unwrap_or_default().split(" > ").next().unwrap_or_default();
            if let Err(error) = Cli::try_parse_from(words.split_whitespace()) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn a_cause_is_said_once() {
        let error =
            anyhow::anyhow!("no such device").context("cannot open tun: no such device").context("cannot start");
        assert_eq!(one_line(&error), "cannot start: cannot open tun: no such device");
    }
}
