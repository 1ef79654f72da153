//! What the command line may say.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use festoon_control::registry::{DEFAULT_MTU, MAX_TOKEN_MS, TokenError};
use festoon_proto::address::{HTTPS_PORT, UNDERLAY_PORT};
use ipnet::IpNet;

use super::ca::CaCommand;
use super::network::NetworkCommand;
use super::snapshot::SnapshotCommand;
use crate::cluster::Part;
use crate::config::{ParseDurationError, parse_duration};

/// A Festoon manager: a virtual switch and router for the endpoints of an overlay
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    /// Where the manager keeps its keys and its copy of the registry
    #[arg(long, global = true, env = "FESTOON_MANAGER_DATA", default_value = "/var/lib/festoon-manager")]
    pub(super) data_dir: PathBuf,
    #[command(subcommand)]
    pub(super) command: Subcommand,
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
    /// Leave the cluster: move all endpoints to other managers, have the cluster forget this one, and stop
    Leave,
    /// When too few managers are left to agree on anything: go on from this one's copy alone
    Promote {
        /// The others are lost, or what only they know may be left out
        #[arg(long)]
        yes: bool,
    },
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
    /// When the cluster has gone on from another's copy: give up this one's and get that
    Rejoin,
    /// Run the manager
    Serve {
        /// A configuration file, in TOML
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Make join tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Add, change and list networks
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Add, list and remove endpoints
    #[command(subcommand)]
    Endpoint(EndpointCommand),
    /// Change and remove managers
    #[command(subcommand)]
    Manager(ManagerCommand),
    /// Take, check and restore snapshots of the registry
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Show and replace the CA that signs the certificates of managers
    #[command(subcommand)]
    Ca(CaCommand),
    /// Show how the cluster is doing
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Move all endpoints to other managers and take no new ones
    Drain,
    /// Take endpoints again
    Undrain,
    /// Show the OpenAPI document of the API
    ApiDocument,
    /// Show the version
    Version,
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
    /// From `festoon-manager token create --manager`
    pub(super) token: String,
    #[command(flatten)]
    pub(super) manager: ManagerArgs,
}

#[derive(Debug, Args)]
pub(super) struct WitnessArgs {
    /// From `festoon-manager token create --manager`
    pub(super) token: String,
    /// Its name
    #[arg(long)]
    pub(super) name: String,
    /// Where the managers reach its HTTPS listener over TCP, port 8443 by default; may be repeated, best first
    #[arg(long, required = true, value_name = "IP[:PORT]", value_parser = https_address)]
    pub(super) https: Vec<SocketAddr>,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token that lets one node in, and print it
    Create {
        /// For a manager instead of an endpoint
        #[arg(long, conflicts_with_all = ["network", "address"])]
        manager: bool,
        /// The network the endpoint gets into
        #[arg(long)]
        network: Option<String>,
        /// The address the endpoint gets, instead of a free one; again for the other of IPv4 and IPv6
        #[arg(long, value_name = "IP")]
        address: Vec<IpAddr>,
        /// How long it is good for: 30m, 12h, 7d; a year at most
        #[arg(long, default_value = "1h", value_parser = lifetime)]
        expires: Duration,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum EndpointCommand {
    /// Add a stock WireGuard client and print its configuration, private key included, this once
    Add {
        /// Its name
        name: String,
        /// That it is a stock WireGuard client; agents come in with a token instead
        #[arg(long, required = true)]
        client: bool,
        /// Its network
        #[arg(long)]
        network: Option<String>,
        /// Its address, instead of a free one; again for the other of IPv4 and IPv6
        #[arg(long, value_name = "IP")]
        address: Vec<IpAddr>,
        /// The manager it is to use, if not the one of the highest priority
        #[arg(long)]
        manager: Option<String>,
    },
    /// List all endpoints
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove an endpoint, by name or id
    Remove {
        /// Its name or id
        name: String,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum ManagerCommand {
    /// Change a manager
    Set {
        /// Its name or id
        manager: String,
        /// Its new name
        #[arg(long)]
        name: Option<String>,
        /// Where others reach its tunnels from now on; may be repeated, best first
        #[arg(long, value_name = "IP[:PORT]", value_parser = underlay_address)]
        underlay: Vec<SocketAddr>,
        /// Where others reach its HTTPS listener from now on; may be repeated, best first
        #[arg(long, value_name = "IP[:PORT]", value_parser = https_address)]
        https: Vec<SocketAddr>,
        /// Its new priority
        #[arg(long)]
        priority: Option<u8>,
    },
    /// Give the manager on this machine a new key for its tunnels and links; no traffic is lost
    RotateKey {
        /// How long the key before is good too. Agents and managers move within seconds; stock clients have the key in their
        /// configuration: 1h, 7d, or 0s for a key that was stolen
        #[arg(long, default_value = "1h", value_parser = overlap)]
        overlap: Duration,
    },
    /// Remove a manager from the cluster
    Remove {
        /// Its name or id
        manager: String,
    },
}

fn underlay_address(text: &str) -> Result<SocketAddr, String> {
    address(text, UNDERLAY_PORT)
}

fn https_address(text: &str) -> Result<SocketAddr, String> {
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

fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = parse_duration(text).map_err(|error| error.to_string())?;
    let is_short = lifetime <= Duration::from_millis(MAX_TOKEN_MS);
    is_short.then_some(lifetime).ok_or_else(|| TokenError::TooLong.to_string())
}

fn overlap(text: &str) -> Result<Duration, ParseDurationError> {
    if text == "0s" { Ok(Duration::ZERO) } else { parse_duration(text) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

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
}
