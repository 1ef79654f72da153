//! Where an agent keeps its things. Several agents on one machine differ in their state directory.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use ipnet::IpNet;

use crate::host::{Consent, Protection};

/// The state directory of the agent that systemd runs.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/festoon";

const DEFAULT_SOCKET: &str = "/run/festoon/agent.sock";

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Where keys, credential and the last map are kept
    #[arg(long, global = true, env = "FESTOON_STATE", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,

    /// The running agent's control socket [default: /run/festoon/agent.sock, or agent.sock in another state directory]
    #[arg(long, global = true, env = "FESTOON_SOCKET")]
    socket: Option<PathBuf>,

    /// The overlay's network interface
    #[arg(long, global = true, env = "FESTOON_INTERFACE", default_value = "festoon0")]
    pub interface: String,

    /// UDP port for tunnels; 0 leaves the choice to the kernel
    #[arg(long, global = true, env = "FESTOON_LISTEN_PORT", default_value_t = 0)]
    pub listen_port: u16,

    /// Send and receive packets one by one, for network drivers that get joined ones wrong; slower
    #[arg(long, global = true, env = "FESTOON_NO_SEGMENTATION", value_parser = BoolishValueParser::new())]
    pub no_segmentation: bool,

    /// A prefix behind this host that it would carry packets to, once an admin approves it; again for more. The host has to
    /// forward packets itself (net.ipv4.ip_forward)
    #[arg(long = "route", global = true, env = "FESTOON_ROUTES", value_delimiter = ',', value_name = "CIDR")]
    pub routes: Vec<IpNet>,

    /// A prefix of this host's own network that lies inside the overlay, for example 172.31.16.0/20: packets to it never enter
    /// the tunnel; may be repeated. The networks, routes, gateways and resolvers that the host had when it joined need not be listed.
    /// The agent remembers the list; `none` clears it
    #[arg(long = "local", global = true, env = "FESTOON_LOCAL", value_delimiter = ',', value_name = "CIDR|none")]
    pub local: Vec<Listed>,

    /// A prefix of containers or hosts behind this host that may send into the overlay through it, from the interface that packets to
    /// them leave by; may be repeated. Containers and virtual machines on a bridge that this host is the router of always may. The
    /// agent remembers the list; `none` clears it
    #[arg(
        long = "forward-from",
        global = true,
        env = "FESTOON_FORWARD_FROM",
        value_delimiter = ',',
        value_name = "CIDR|none"
    )]
    pub forward_from: Vec<Listed>,

    /// Which approved routes of other endpoints this host uses: `private` for routes to private addresses that are not on its
    /// own networks or routes, `all` for public addresses too, `none`, or prefixes; several with commas. The agent remembers the list
    /// [default: private]
    #[arg(
        long = "accept-routes",
        global = true,
        env = "FESTOON_ACCEPT_ROUTES",
        value_delimiter = ',',
        value_name = "private|all|none|CIDR"
    )]
    pub accept_routes: Vec<Consent>,

    /// Whether nftables keeps overlay traffic in the tunnel, whatever routes the host's neighbours announce. With `require` the
    /// agent does not start unless it can; with `warn` it starts anyway and reports the problem; with `off` overlay traffic may
    /// leave this host outside the tunnel, unencrypted
    #[arg(long, global = true, env = "FESTOON_LEAK_PROTECTION", value_enum, default_value_t)]
    pub leak_protection: Protection,

    /// Serve metrics for Prometheus, and /healthz and /readyz, at this address without a login, as in 127.0.0.1:8445
    /// [default: not at all]
    #[arg(long, global = true, env = "FESTOON_METRICS", value_name = "IP:PORT")]
    pub metrics: Option<SocketAddr>,

    /// Replace the endpoint's key by itself once it is so old, as in 30d [default: never]
    #[arg(long, global = true, env = "FESTOON_ROTATE_KEY_EVERY", value_parser = duration)]
    pub rotate_key_every: Option<Duration>,
}

/// A prefix of a list, or the word that empties it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// The list is empty.
    None,
    /// This is in it.
    Prefix(IpNet),
}

impl FromStr for Listed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            text => prefix(text)
                .map(Self::Prefix)
                .ok_or_else(|| format!("{text:?} is not a prefix like 172.31.16.0/20, and not `none`")),
        }
    }
}

/// A prefix as people write it: a single address is one too.
pub fn prefix(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map(|prefix: IpNet| prefix.trunc()).ok()
}

/// The prefixes of a list.
pub fn prefixes(listed: &[Listed]) -> Vec<IpNet> {
    let of = |one: &Listed| if let Listed::Prefix(prefix) = one { Some(*prefix) } else { None };
    listed.iter().filter_map(of).collect()
}

/// A length of time as people write it.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected a number and a unit, as in 45s, 30m, 12h or 7d";
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(EXPECTED)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(EXPECTED),
    };
    let number: u32 = number.parse().map_err(|_| EXPECTED)?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

impl Config {
    /// Whether this is the agent that systemd runs.
    pub fn is_system_agent(&self) -> bool {
        self.state_dir == Path::new(DEFAULT_STATE_DIR)
    }

    /// The control socket of the agent.
    pub fn socket(&self) -> PathBuf {
        match &self.socket {
            Some(socket) => socket.clone(),
            None if self.is_system_agent() => PathBuf::from(DEFAULT_SOCKET),
            None => self.state_dir.join("agent.sock"),
        }
    }

    /// The options that a person must repeat to mean this agent, with a space in front; empty for the system's own.
    pub fn options(&self) -> String {
        if self.is_system_agent() { String::new() } else { format!(" --state-dir {}", self.state_dir.display()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(state_dir: &str, socket: Option<&str>) -> Config {
        let socket = socket.map(PathBuf::from);
        let interface = "festoon0".into();
        let (listen_port, no_segmentation, rotate_key_every) = (0, false, None);
        Config {
            state_dir: state_dir.into(),
            socket,
            interface,
            listen_port,
            no_segmentation,
            rotate_key_every,
            metrics: None,
            routes: Vec::new(),
            local: Vec::new(),
            forward_from: Vec::new(),
            accept_routes: Vec::new(),
            leak_protection: Protection::default(),
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("45s"), Ok(Duration::from_secs(45)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        assert!(["", "5", "h", "-1h", "1w", "1ä"].iter().all(|bad| duration(bad).is_err()));
    }

    #[test]
    fn agents_with_different_state_never_share_a_socket() {
        assert_eq!(config(DEFAULT_STATE_DIR, None).socket(), Path::new("/run/festoon/agent.sock"));
        assert_eq!(config("/tmp/a", None).socket(), Path::new("/tmp/a/agent.sock"));
        assert_eq!(config("/tmp/a", Some("/tmp/s")).socket(), Path::new("/tmp/s"));
    }
}
