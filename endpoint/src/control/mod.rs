//! How the commands of `festoon` talk to the running agent: one line of JSON each way over a Unix socket.

mod client;
mod server;
mod table;

use std::net::IpAddr;
use std::path::PathBuf;

use festoon_proto::map::MapVersion;
use festoon_proto::{EndpointId, ManagerId, NetworkId, PublicKey};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub(crate) use table::{Millis, line};

pub use client::{ControlError, down, facts, measure, rotate_key, status};
pub use server::{Ask, BindError, Server};

use crate::config::Config;
use crate::host::{Note, Protection};
use crate::node::measure::Measured;
use crate::node::status::{ManagerStatus, Status, UplinkState};

/// What the agent is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// How are you?
    Status,
    /// Change your key.
    RotateKey {
        /// For how many seconds the one before is to be good too.
        overlap_s: u64,
    },
    /// Probe a manager.
    Measure {
        /// Which.
        manager: ManagerId,
        /// How large the packet is on the underlay, in bytes, if it is to go in one piece; otherwise small.
        size: Option<u16>,
        /// How long to wait for the answer, in milliseconds.
        patience_ms: u32,
    },
    /// What may help to find a fault?
    Facts,
    /// Stop. The agent closes the connection once it has taken everything back.
    Down,
}

/// What the agent answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// This is how.
    Status(Box<AgentStatus>),
    /// It has a new key: this.
    Rotated(PublicKey),
    /// What the manager answered, if it did in time.
    Measured(Option<Measured>),
    /// What it knows beside its status.
    Facts(Box<Facts>),
    /// It has not done it, for this reason.
    Failed(String),
    /// It stops.
    Stopping,
}

/// The agent, now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// What it is on this host.
    #[serde(flatten)]
    pub setup: Setup,
    /// The tunnels.
    #[serde(flatten)]
    pub node: Status,
}

/// What the agent is on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The overlay's network interface.
    pub interface: String,
    /// The UDP port of its tunnels.
    pub listen_port: u16,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its name.
    pub name: String,
    /// The network it belongs to.
    pub network: NetworkId,
    /// That network's name.
    pub network_name: String,
    /// The overlay addresses.
    pub addresses: Vec<IpAddr>,
    /// The WireGuard identity.
    pub public_key: PublicKey,
    /// The version of the map in use.
    pub map_version: MapVersion,
    /// What an admin should look at: each one line.
    pub problems: Vec<String>,
    /// Routes that came later, overlay addresses that cannot be reached, and routes that are not used.
    pub notes: Vec<Note>,
    /// The agent's routing table, whose number is in the name of its table in nftables too.
    pub routing_table: u32,
    /// Whether overlay traffic is kept in the tunnel.
    pub leak_protection: Protection,
}

/// What the agent knows beside its status. Nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Of its program.
    pub version: String,
    /// How it was started.
    pub settings: Settings,
    /// What its socket and device did and did not take.
    pub io: Vec<(String, u64)>,
    /// The last lines of its log.
    pub log: Vec<String>,
}

/// The options that count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Where its state is.
    pub state_dir: PathBuf,
    /// Its control socket.
    pub socket: PathBuf,
    /// The overlay's network interface, as asked for.
    pub interface: String,
    /// The UDP port, as asked for.
    pub listen_port: u16,
    /// Whether packets are sent one by one.
    pub no_segmentation: bool,
    /// The prefixes it offers.
    pub routes: Vec<IpNet>,
    /// How old its key may get, in seconds.
    pub rotate_key_every_s: Option<u64>,
    /// Whether overlay traffic is kept in the tunnel.
    pub leak_protection: Protection,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            state_dir: config.state_dir.clone(),
            socket: config.socket(),
            interface: config.interface.clone(),
            listen_port: config.listen_port,
            no_segmentation: config.no_segmentation,
            routes: config.routes.clone(),
            rotate_key_every_s: config.rotate_key_every.map(|every| every.as_secs()),
            leak_protection: config.leak_protection,
        }
    }
}

impl AgentStatus {
    /// The manager that carries the endpoint.
    pub fn active(&self) -> Option<&ManagerStatus> {
        let active: ManagerId = self.node.active?;
        self.node.managers.iter().find(|manager| manager.id == active)
    }

    /// The managers that could at once.
    pub fn spares(&self) -> impl Iterator<Item = &ManagerStatus> {
        self.node.managers.iter().filter(|manager| manager.state == UplinkState::Warm)
    }
}

#[cfg(test)]
mod tests;
