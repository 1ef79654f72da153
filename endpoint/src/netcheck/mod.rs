//! `festoon netcheck`: what the network between this host and the managers lets through, and what to do about the rest.
//!
//! [`run`] gathers the facts, [`nat`] and [`mtu`] draw conclusions, [`advice`] says in plain words what is wrong. All but
//! [`run`] is pure.

pub mod advice;
pub mod mtu;
pub mod nat;
pub mod run;
mod table;

use std::net::{IpAddr, SocketAddr};

use festoon_proto::{EndpointId, ManagerId};
use serde::{Deserialize, Serialize};

use crate::host::Note;

use advice::Warning;
use mtu::PathMtu;
use nat::Nat;

pub use run::netcheck;

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its name.
    pub name: String,
    /// Its network's name.
    pub network: String,
    /// The largest overlay packet of the network, in bytes.
    pub overlay_mtu: u16,
    /// Whether the agent runs, and measured.
    pub agent_runs: bool,
    /// What the agent itself finds wrong on this host.
    pub problems: Vec<String>,
    /// What the agent says of routes: those that came later, those that are not used, and what they hide.
    pub notes: Vec<Note>,
    /// This host on the IPv4 internet.
    pub ipv4: Family,
    /// This host on the IPv6 internet.
    pub ipv6: Family,
    /// All managers of the map.
    pub managers: Vec<Manager>,
    /// What is wrong, and what to do.
    pub warnings: Vec<Warning>,
}

/// This host, with one version of IP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// The address that it would send from; none without a route.
    pub source: Option<IpAddr>,
    /// Whether managers answer over this version.
    pub answers: bool,
    /// What is between it and the managers.
    pub nat: Nat,
    /// The addresses that managers see it with.
    pub observed: Vec<SocketAddr>,
}

/// A manager, as far as this host reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    /// Its id.
    pub id: ManagerId,
    /// Its name.
    pub name: String,
    /// Whether it carries this endpoint.
    pub active: bool,
    /// Its tunnel.
    pub udp: Udp,
    /// Each address of its HTTPS listener.
    pub https: Vec<Https>,
}

/// A tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Udp {
    /// The manager's address.
    pub underlay: Option<SocketAddr>,
    /// Our own address on the way there.
    pub local: Option<SocketAddr>,
    /// Our address, as the manager sees it.
    pub observed: Option<SocketAddr>,
    /// Probes sent.
    pub sent: u32,
    /// Probes answered.
    pub answered: u32,
    /// The shortest round trip, in microseconds.
    pub rtt_us: Option<u32>,
    /// The bytes a packet has on the underlay when it is as large as the overlay lets it be.
    pub needed_mtu: Option<u16>,
    /// What passes in one piece from here to the manager. Nothing is known of the way back.
    pub path_mtu: Option<PathMtu>,
}

impl Udp {
    /// Whether it answers at all.
    pub fn works(&self) -> bool {
        self.answered > 0
    }
}

/// An HTTPS listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Https {
    /// Where.
    pub address: SocketAddr,
    /// What came of asking it for the map.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It answered, and is a manager of this cluster.
    Answered {
        /// How far this host's clock is ahead of the manager's, in seconds, give or take one.
        clock_ahead_s: Option<i64>,
        /// When its certificate ends, in Unix seconds.
        certificate_until: Option<i64>,
        /// How many seconds from now that is.
        certificate_left_s: Option<i64>,
    },
    /// Nothing answers there.
    Unreachable {
        /// Why.
        reason: String,
    },
    /// It has no good certificate.
    Untrusted {
        /// Why.
        reason: String,
    },
    /// It refuses this endpoint.
    Refused {
        /// Why.
        reason: String,
    },
    /// It is in trouble.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// Whether TCP gets through.
    pub fn is_there(&self) -> bool {
        !matches!(self, Self::Unreachable { .. })
    }
}
