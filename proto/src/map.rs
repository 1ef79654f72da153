//! The compiled, immutable desired state of one node.

mod delta;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{ClusterId, EndpointId, EpochId, Fingerprint, ManagerId, NetworkId, PublicKey, VerifyingKey};

pub use delta::{Changes, ManagerMapDelta};

/// The version of a map; the higher is the newer. It is the index of the last registry command it reflects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct MapVersion(pub u64);

/// A network as a node needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// Its id.
    pub id: NetworkId,
    /// Its name, chosen by an admin.
    pub name: String,
    /// The customer's prefixes, IPv4 and IPv6.
    pub prefixes: Vec<IpNet>,
    /// The addresses every manager answers for, at most one a prefix.
    pub gateways: Vec<IpAddr>,
    /// The largest overlay packet, in bytes.
    pub mtu: u16,
    /// The last command that changed any of this.
    #[serde(default)]
    pub changed: MapVersion,
}

/// A manager as other nodes need to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerInfo {
    /// Its id.
    pub id: ManagerId,
    /// Its name, chosen by an admin.
    pub name: String,
    /// Its WireGuard identity.
    pub public_key: PublicKey,
    /// The identity it had before, while that is good too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_key: Option<PublicKey>,
    /// What it signs with: the key of its certificate, above all.
    pub signing_key: VerifyingKey,
    /// Where its tunnels are reached over UDP, best first.
    pub underlay: Vec<SocketAddr>,
    /// Where its HTTPS listener is reached over TCP, best first.
    pub https: Vec<SocketAddr>,
    /// Declared preference: endpoints go to the highest that is alive, and to the nearest of equals.
    pub priority: u8,
}

/// What runs on an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointKind {
    /// Our program: it probes, and moves by itself.
    Agent,
    /// Any stock WireGuard program: it stays with the manager in its configuration.
    Client,
}

/// An endpoint as a manager needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointInfo {
    /// Its id.
    pub id: EndpointId,
    /// Its name, chosen by an admin or taken from the host.
    pub name: String,
    /// The network it belongs to.
    pub network: NetworkId,
    /// Its WireGuard identity.
    pub public_key: PublicKey,
    /// The identity it had before, while that is good too.
    pub previous_key: Option<PublicKey>,
    /// What runs on it.
    pub kind: EndpointKind,
    /// The overlay prefixes it owns: its own addresses and the routes an admin approved.
    pub allowed: Vec<IpNet>,
    /// The last command that changed any of this. The version of the endpoint's own map is the highest of this, of its
    /// network's and of [`ManagerMap::managers_changed`]: kept apart, so that a change of a manager is not one of every
    /// endpoint.
    pub changed: MapVersion,
}

/// How fast failover is. All in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Silence after which a node's neighbour is suspected.
    pub probe_interval_ms: u32,
    /// How long a manager must have been alive again before an endpoint moves back to it.
    pub hold_down_ms: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self { probe_interval_ms: 50, hold_down_ms: 30_000 }
    }
}

/// A prefix outside the overlay that an endpoint would carry packets to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRoute {
    /// The prefix.
    pub prefix: IpNet,
    /// Whether an admin approved it. Nobody uses it before.
    pub is_approved: bool,
}

/// Addresses of one family, from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenRange {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
}

/// The map of an endpoint: all that its agent needs, for a cold start too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointMap {
    /// Its version.
    pub version: MapVersion,
    /// The cluster it comes from.
    pub cluster: ClusterId,
    /// The endpoint it is for.
    pub endpoint: EndpointId,
    /// That endpoint's name.
    pub name: String,
    /// The network it belongs to.
    pub network: NetworkInfo,
    /// The addresses of the endpoint in the overlay.
    pub addresses: Vec<IpAddr>,
    /// The ranges of the network's prefixes that the overlay has given out to endpoints, rounded up, in order. A host that has
    /// a subnet of its own inside a prefix sends only these into its tunnel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<GivenRange>,
    /// What it reaches through other endpoints of its network: the routes an admin approved, without its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<IpNet>,
    /// The routes that it offers itself, and which of them an admin approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_routes: Vec<OwnRoute>,
    /// Whether an admin asks for a new key, and this endpoint has not made one since.
    #[serde(default)]
    pub is_key_due: bool,
    /// The managers it may use.
    pub managers: Vec<ManagerInfo>,
    /// The epoch that the cluster is in.
    #[serde(default = "first_epoch")]
    pub epoch: EpochId,
    /// Checks what was signed with the recovery key: that is how a cluster proves itself which was restored, and whose managers
    /// are all new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_key: Option<VerifyingKey>,
    /// The CAs it believes when it fetches the next map; two while one takes the place of the other.
    pub authorities: Vec<Fingerprint>,
    /// How fast failover is.
    pub timing: Timing,
}

const fn first_epoch() -> EpochId {
    EpochId::FIRST
}

/// The map of a manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerMap {
    /// Its version.
    pub version: MapVersion,
    /// The manager it is for.
    pub manager: ManagerId,
    /// All networks, by id.
    pub networks: Vec<NetworkInfo>,
    /// All endpoints that are enabled, by id. The network of each is there, and no two of a network own the same prefix.
    pub endpoints: Vec<EndpointInfo>,
    /// All managers, this one included.
    pub managers: Vec<ManagerInfo>,
    /// The last command that changed any of the managers.
    pub managers_changed: MapVersion,
    /// How fast failover is.
    pub timing: Timing,
}
