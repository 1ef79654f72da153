//! The commands of the log.

use std::net::SocketAddr;

use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{ClusterId, EndpointId, ManagerId, NetworkId, PublicKey};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC, read by whoever makes a command and never by whoever applies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct UnixMs(pub u64);

/// A change of the registry. Stored in logs for good, in postcard: add variants at the end, and fields never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The first command of every cluster.
    Bootstrap(Bootstrap),
    /// A new network.
    AddNetwork(AddNetwork),
    /// A new join token.
    CreateToken(CreateToken),
    /// An agent comes in with a token.
    JoinEndpoint(JoinEndpoint),
    /// An admin adds a stock WireGuard client.
    AddClient(AddClient),
    /// An endpoint leaves, or is thrown out.
    RemoveEndpoint(EndpointId),
    /// A manager comes in with a token.
    JoinManager(JoinManager),
    /// A manager is thrown out.
    RemoveManager(ManagerId),
    /// A manager has another name, other addresses or another priority.
    UpdateManager(UpdateManager),
}

/// What a manager says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerSpec {
    /// Its name.
    pub name: String,
    /// Its WireGuard identity.
    pub public_key: PublicKey,
    /// Where its tunnels are reached.
    pub underlay: Vec<SocketAddr>,
    /// Where its HTTPS listener is reached.
    pub https: Vec<SocketAddr>,
    /// Declared preference, the higher the better.
    pub priority: u8,
}

/// See [`Command::Bootstrap`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The new cluster.
    pub cluster: ClusterId,
    /// Its first manager.
    pub manager: ManagerSpec,
}

/// See [`Command::AddNetwork`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddNetwork {
    /// Its name, a DNS label.
    pub name: String,
    /// The customer's prefixes. Endpoints get an address from the first with room of each family.
    pub prefixes: Vec<IpNet>,
    /// The largest overlay packet in bytes.
    pub mtu: u16,
}

/// See [`Command::CreateToken`]. A token is good for one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateToken {
    /// The hash of its secret, which nobody stores.
    pub hash: SecretHash,
    /// What it lets in.
    pub kind: TokenKind,
    /// The network an endpoint gets into; none for a manager.
    pub network: Option<NetworkId>,
    /// Now.
    pub now: UnixMs,
    /// From when on it is refused.
    pub expires: UnixMs,
}

/// See [`Command::JoinEndpoint`]. The same again gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinEndpoint {
    /// The hash of the token's secret.
    pub token: SecretHash,
    /// The endpoint's WireGuard identity.
    pub public_key: PublicKey,
    /// The hash of the credential that the endpoint made for itself.
    pub credential: SecretHash,
    /// What the host calls itself; it gets a name like that.
    pub name: String,
    /// Now.
    pub now: UnixMs,
}

/// See [`Command::AddClient`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddClient {
    /// Its name, a DNS label.
    pub name: String,
    /// The network it gets into.
    pub network: NetworkId,
    /// Its WireGuard identity.
    pub public_key: PublicKey,
    /// Now.
    pub now: UnixMs,
}

/// See [`Command::JoinManager`]. The same again gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinManager {
    /// The hash of the token's secret.
    pub token: SecretHash,
    /// What the manager says of itself.
    pub manager: ManagerSpec,
    /// Now.
    pub now: UnixMs,
}

/// See [`Command::UpdateManager`]. What is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateManager {
    /// Which one.
    pub manager: ManagerId,
    /// Its new name.
    pub name: Option<String>,
    /// Where its tunnels are reached from now on.
    pub underlay: Option<Vec<SocketAddr>>,
    /// Where its HTTPS listener is reached from now on.
    pub https: Option<Vec<SocketAddr>>,
    /// Its new priority.
    pub priority: Option<u8>,
}

/// What a command made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Nothing that has an id.
    Done,
    /// This network.
    Network(NetworkId),
    /// This endpoint.
    Endpoint(EndpointId),
    /// This manager.
    Manager(ManagerId),
}
