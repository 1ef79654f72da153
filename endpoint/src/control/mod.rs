//! How `festoon status`, `festoon rotate-key` and `festoon down` talk to the running agent: one line of JSON each way over
//! a Unix socket.

mod client;
mod server;
mod table;

use std::net::IpAddr;

use festoon_proto::map::MapVersion;
use festoon_proto::{EndpointId, ManagerId, NetworkId, PublicKey};
use serde::{Deserialize, Serialize};

pub use client::{ControlError, down, rotate_key, status};
pub use server::{Ask, BindError, Server};

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
