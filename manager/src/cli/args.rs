//! What the command line may say.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser};
use clap_complete::Shell;
use festoon_control::registry::{DEFAULT_MTU, MAX_TOKEN_MS, TokenError};
use festoon_proto::address::{HTTPS_PORT, UNDERLAY_PORT};
use festoon_secrets::{Source, ignore_empty_variables};
use ipnet::IpNet;

use super::api_tokens::ApiTokensCommand;
use super::audit::AuditCommand;
use super::ca::CaCommand;
use super::client::Connection;
use super::destinations::DestinationsCommand;
use super::endpoints::EndpointsCommand;
use super::events::EventsCommand;
use super::login::LoginArgs;
use super::managers::ManagersCommand;
use super::networks::NetworksCommand;
use super::oidc::OidcCommand;
use super::output::Printing;
use super::routes::RoutesCommand;
use super::snapshot::SnapshotCommand;
use super::tokens::TokensCommand;
use super::users::UsersCommand;
use crate::cluster::Part;
use crate::config::{ParseDurationError, parse_duration};

/// The managers of a Festoon cluster: this one, and all of it
#[derive(Debug, Parser)]
#[command(name = "festoon-manager", version, arg_required_else_help = true, after_long_help = long_help())]
pub struct Cli {
    #[command(flatten)]
    pub(super) connection: Connection,
    #[command(flatten)]
    pub(super) printing: Printing,
    /// Answer yes to whether it is meant, which is asked before what can't be undone or cuts somebody off at once
    #[arg(short, long, global = true, hide_short_help = true)]
    pub(super) yes: bool,
    #[command(subcommand)]
    pub(super) command: Subcommand,
}

impl Cli {
    /// What the command line says. Ends the program if that makes no sense, or asks for help.
    pub fn from_line() -> Self {
        let matches = ignore_empty_variables(Self::command()).get_matches();
        match Self::from_arg_matches(&matches) {
            Ok(cli) => {
                let connection = cli
                    .connection
                    .chosen_by(&matches, |name| std::env::var(name).ok().filter(|value| !value.is_empty()));
                Self { connection, ..cli }
            }
            Err(error) => error.format(&mut Self::command()).exit(),
        }
    }
}

/// The numbers are those of `fault`.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused, or failed
  2  the command line makes no sense, or --yes is missing
  3  what is named is not there
  4  it is there already, is in use, or was changed meanwhile
  5  not logged in, or not allowed
  6  no manager answers

Names of commands may be in the singular too: `network list` is `networks list`.";

/// What the long help says in addition.
fn long_help() -> String {
    let secrets = festoon_secrets::HELP;
    format!(
        "{EXIT_CODES}\n\n{secrets}\n  Passwords are asked for, or read from the standard input where nobody can be asked."
    )
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommand {
    /// Make a new cluster, with this as its first manager
    Init(InitArgs),
    /// Join a cluster as another manager
    Join(JoinArgs),
    /// Join a cluster as a witness: it votes and carries nothing, so that of two other managers either may be lost. The
    /// smallest machine will do
    Witness(WitnessArgs),
    /// Run the manager
    Serve {
        /// A configuration file, in TOML
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Show how the cluster is doing
    Status,
    /// Networks: list, show, add, set, remove
    #[command(subcommand, alias = "network")]
    Networks(NetworksCommand),
    /// Endpoints: list, show, add, set, enable, disable, move, remove and more
    #[command(subcommand, alias = "endpoint")]
    Endpoints(EndpointsCommand),
    /// Managers: list, show, set, drain, remove and more
    #[command(subcommand, alias = "manager")]
    Managers(ManagersCommand),
    /// Join tokens, which let nodes in: list, show, add, remove
    #[command(subcommand, alias = "token")]
    Tokens(TokensCommand),
    /// Routes that endpoints offer: list, approve, unapprove
    #[command(subcommand, alias = "route")]
    Routes(RoutesCommand),
    /// Users: list, show, add, set, password, totp, remove and more
    #[command(subcommand, alias = "user")]
    Users(UsersCommand),
    /// The identity provider that users may log in at (OpenID Connect): show, set, remove
    #[command(subcommand)]
    Oidc(OidcCommand),
    /// API tokens, which programs show: list, show, add, remove
    #[command(subcommand, alias = "api-token")]
    ApiTokens(ApiTokensCommand),
    /// What happens: list, watch
    #[command(subcommand, alias = "event")]
    Events(EventsCommand),
    /// Where events are sent to: list, show, add, set, test, dead-letters, remove and more
    #[command(subcommand, alias = "destination")]
    Destinations(DestinationsCommand),
    /// Who did what: list, export, verify
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Snapshots of the registry: take, check and restore them
    #[command(subcommand, alias = "snapshot")]
    Snapshots(SnapshotCommand),
    /// The CA that signs the certificates of managers: show and replace it
    #[command(subcommand)]
    Ca(CaCommand),
    /// Move all endpoints of the manager that is asked to others, and have it take no new ones
    Drain,
    /// Have the manager that is asked take endpoints again
    Undrain,
    /// Leave the cluster: move all endpoints to other managers, have the cluster forget this one, and stop
    Leave,
    /// When too few managers are left to agree on anything: go on from this one's copy alone
    Promote(PromoteArgs),
    /// When the cluster has gone on from another's copy: give up this one's and get that
    Rejoin,
    /// Read all of this manager's copy of the registry and of the audit log and see that they are undamaged; the manager must
    /// not be running
    Check {
        /// One of them only
        #[arg(long)]
        part: Option<Part>,
        /// The process that the check is for, and ends with
        #[arg(long = "for", value_name = "PID", hide = true)]
        parent: Option<i32>,
    },
    /// Log in to a cluster from any machine
    Login(LoginArgs),
    /// End a login and forget it
    Logout,
    /// Show who one is to a cluster
    Whoami,
    /// List what this machine is logged in to
    Profiles,
    /// Show the OpenAPI document of the API
    ApiDocument,
    /// Show the routes that the OpenAPI document does not have
    #[command(hide = true)]
    InternalRoutes,
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
    /// Show the version
    Version,
}

/// How a witness is promoted
#[derive(Debug, Args)]
pub(super) struct PromoteArgs {
    /// File with the recovery key, or signing.key in the --data-dir of a full manager; - for the standard input. Only a
    /// witness needs it
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
}

/// What a new manager says of itself.
#[derive(Debug, Args)]
pub(super) struct ManagerArgs {
    /// Its name
    #[arg(long)]
    pub(super) name: String,
    /// Where others reach its tunnels over UDP: an address, with a port if it is not 51820; may be repeated, best first
    #[arg(long, required = true, value_name = "IP[:PORT]", value_parser = underlay_address)]
    pub(super) underlay: Vec<SocketAddr>,
    /// Where others reach its HTTPS listener over TCP, port 8443 by default; the underlay addresses if none is named
    #[arg(long, value_name = "IP[:PORT]", value_parser = https_address)]
    pub(super) https: Vec<SocketAddr>,
    /// Endpoints go to the manager of the highest priority that is alive, and to the nearest of equals
    #[arg(long, default_value_t = 100)]
    pub(super) priority: u8,
}

impl ManagerArgs {
    /// The HTTPS listener's addresses.
    pub(super) fn https(&self) -> Vec<SocketAddr> {
        match self.https.is_empty() {
            true => self.underlay.iter().map(|at| SocketAddr::new(at.ip(), HTTPS_PORT)).collect(),
            false => self.https.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    #[command(flatten)]
    pub(super) manager: ManagerArgs,
    /// A prefix of the first network, IPv4 or IPv6; may be repeated
    #[arg(long, required = true, value_name = "CIDR")]
    pub(super) prefix: Vec<IpNet>,
    /// The name of the first network
    #[arg(long, default_value = "default")]
    pub(super) network: String,
    /// The largest packet of the first network, in bytes
    #[arg(long, default_value_t = DEFAULT_MTU)]
    pub(super) mtu: u16,
}

#[derive(Debug, Args)]
pub(super) struct JoinArgs {
    /// From `festoon-manager tokens add --manager`: `-` reads it from the standard input, `@FILE` from a file [default: the
    /// token in FESTOON_JOIN_TOKEN]
    #[arg(value_name = "-|@FILE|TOKEN")]
    pub(super) token: Option<Source>,
    #[command(flatten)]
    pub(super) manager: ManagerArgs,
}

#[derive(Debug, Args)]
pub(super) struct WitnessArgs {
    /// From `festoon-manager tokens add --witness`: `-` reads it from the standard input, `@FILE` from a file [default: the
    /// token in FESTOON_JOIN_TOKEN]
    #[arg(value_name = "-|@FILE|TOKEN")]
    pub(super) token: Option<Source>,
    /// Its name
    #[arg(long)]
    pub(super) name: String,
    /// Where the managers reach its HTTPS listener over TCP, port 8443 by default; may be repeated, best first
    #[arg(long, required = true, value_name = "IP[:PORT]", value_parser = https_address)]
    pub(super) https: Vec<SocketAddr>,
}

pub(super) fn underlay_address(text: &str) -> Result<SocketAddr, String> {
    address(text, UNDERLAY_PORT)
}

pub(super) fn https_address(text: &str) -> Result<SocketAddr, String> {
    address(text, HTTPS_PORT)
}

/// An address with a port, or with the default one. IPv6 is written with brackets when a port follows.
fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = |ip: IpAddr| SocketAddr::new(ip, port);
    text.parse().or_else(|_| bare.parse().map(with_port)).map_err(|_| {
        "expected an IP address, as in 192.0.2.1, 192.0.2.1:4000, 2001:db8::1 or [2001:db8::1]:4000".to_owned()
    })
}

pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = parse_duration(text).map_err(|error| error.to_string())?;
    let is_short = lifetime <= Duration::from_millis(MAX_TOKEN_MS);
    is_short.then_some(lifetime).ok_or_else(|| TokenError::TooLong.to_string())
}

pub(super) fn overlap(text: &str) -> Result<Duration, ParseDurationError> {
    if text == "0s" { Ok(Duration::ZERO) } else { parse_duration(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn addresses_may_leave_the_port_out() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1:51820"),
            ("192.0.2.1:4000", "192.0.2.1:4000"),
            ("2001:db8::1", "[2001:db8::1]:51820"),
            ("[2001:db8::1]", "[2001:db8::1]:51820"),
            ("[2001:db8::1]:4000", "[2001:db8::1]:4000"),
        ] {
            assert_eq!(underlay_address(text), Ok(expected.parse().unwrap()), "{text}");
        }
        assert!(underlay_address("host.example").is_err());
        assert!(underlay_address("").is_err());
    }

    #[test]
    fn a_token_lives_for_a_year_at_most() {
        assert_eq!(lifetime("365d"), Ok(Duration::from_secs(365 * 86_400)));
        assert!(lifetime("366d").unwrap_err().contains("365 days at most"));
        assert!(lifetime("soon").unwrap_err().contains("a number and a unit"));
    }

    #[test]
    fn an_overlap_may_be_none() {
        assert_eq!(overlap("0s"), Ok(Duration::ZERO));
        assert_eq!(overlap("7d"), Ok(Duration::from_secs(604_800)));
        assert!(overlap("0").is_err());
    }

    /// The words of a line of shell, as far as documentation has them: no more than double quotes.
    fn words(line: &str) -> Vec<String> {
        let line = line.split(" #").next().unwrap_or_default().split(" > ").next().unwrap_or_default();
        line.split_whitespace().map(|word| word.trim_matches('"').to_owned()).collect()
    }

    #[test]
    fn every_command_in_the_documentation_is_one() {
        let readme = include_str!("../../../README.md");
        let lines: Vec<&str> = readme.lines().filter(|line| line.starts_with("festoon-manager ")).collect();
        assert!(lines.len() > 20, "{}", lines.len());
        for line in lines {
            if let Err(error) = Cli::try_parse_from(words(line)) {
                panic!("{line}: {error}");
            }
        }
        // In running text, a command may be named without what it takes.
        let alerts =
            include_str!("../../../images/monitoring/festoon.rules.yml").replace("{{ $labels.", "").replace(" }}", "");
        let spans = [readme, &alerts].into_iter().flat_map(|text| text.split('`').skip(1).step_by(2));
        for span in spans.filter_map(|span| span.strip_prefix("festoon-manager ")) {
            let error = Cli::try_parse_from(words(&format!("festoon-manager {span}"))).err();
            let kind = error.as_ref().map(clap::Error::kind);
            let is_short = matches!(
                kind,
                None | Some(
                    clap::error::ErrorKind::MissingRequiredArgument
                        | clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                        | clap::error::ErrorKind::MissingSubcommand
                )
            );
            assert!(is_short, "{span}: {error:?}");
        }
    }

    #[test]
    fn commands_may_be_in_the_singular() {
        for line in [
            "network list",
            "endpoint show x",
            "token create --manager",
            "manager drain m2",
            "snapshot list",
            "event list",
            "user list",
        ] {
            let words = std::iter::once("festoon-manager").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }
}
