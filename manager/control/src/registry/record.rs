//! The records a registry holds.

use std::net::{IpAddr, SocketAddr};

use festoon_proto::map::{EndpointKind, MapVersion};
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{EndpointId, ManagerId, NetworkId, PublicKey};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::UnixMs;

/// A prefix of a network, and where the search for its next free address begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// The prefix.
    pub net: IpNet,
    /// The offset in it of the next address to try.
    pub(super) next: u128,
}

/// An isolated overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its id.
    pub id: NetworkId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// Its prefixes, none overlapping another.
    pub prefixes: Vec<Prefix>,
    /// The largest overlay packet in bytes.
    pub mtu: u16,
    /// The last command that changed what its endpoints know of it.
    pub changed: MapVersion,
}

/// A host in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Its name, unique in its network.
    pub name: String,
    /// Its network.
    pub network: NetworkId,
    /// Its addresses, one of each family the network has.
    pub addresses: Vec<IpAddr>,
    /// Its WireGuard identity.
    pub public_key: PublicKey,
    /// What runs on it.
    pub kind: EndpointKind,
    /// The hash of its credential; none for a client, which never calls.
    pub credential: Option<SecretHash>,
    /// When it came.
    pub created: UnixMs,
    /// The last command that changed it.
    pub changed: MapVersion,
}

/// A node that switches and routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    /// Its id.
    pub id: ManagerId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// Its WireGuard identity.
    pub public_key: PublicKey,
    /// Where its tunnels are reached, best first.
    pub underlay: Vec<SocketAddr>,
    /// Where its HTTPS listener is reached, best first.
    pub https: Vec<SocketAddr>,
    /// Declared preference, the higher the better.
    pub priority: u8,
}

/// A join token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it lets in.
    pub kind: TokenKind,
    /// The network an endpoint gets into.
    pub network: Option<NetworkId>,
    /// From when on it is refused.
    pub expires: UnixMs,
    /// Who came in with it.
    pub used: Option<TokenUse>,
}

/// Who came in with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenUse {
    /// This endpoint.
    Endpoint(EndpointId),
    /// This manager.
    Manager(ManagerId),
}
