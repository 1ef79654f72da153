//! Commands on endpoints and on the tokens they come in with.

use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{EndpointId, NetworkId, PublicKey};
use serde::{Deserialize, Serialize};

use super::super::address::Addresses;
use super::UnixMs;

/// See [`Command::CreateToken`](super::Command::CreateToken). A token is good for one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateToken {
    /// The hash of its secret, which nobody stores.
    pub hash: SecretHash,
    /// What it lets in.
    pub kind: TokenKind,
    /// The network an endpoint gets into; none for a manager.
    pub network: Option<NetworkId>,
    /// The addresses the endpoint gets, promised to it until the token expires; in a family without one, a free one.
    pub addresses: Addresses,
    /// Now.
    pub now: UnixMs,
    /// From when on it is refused.
    pub expires: UnixMs,
}

/// See [`Command::JoinEndpoint`](super::Command::JoinEndpoint). The same again gets the same answer. Its addresses are
/// those the token promises; otherwise those it had before, if it was here; otherwise free ones.
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

/// See [`Command::AddClient`](super::Command::AddClient).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddClient {
    /// Its name, a DNS label.
    pub name: String,
    /// The network it gets into.
    pub network: NetworkId,
    /// Its addresses; in a family without one, the one it had before or a free one.
    pub addresses: Addresses,
    /// Its WireGuard identity.
    pub public_key: PublicKey,
    /// Now.
    pub now: UnixMs,
}

/// See [`Command::RemoveEndpoint`](super::Command::RemoveEndpoint). Its addresses are kept for it a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveEndpoint {
    /// Which one.
    pub endpoint: EndpointId,
    /// Now.
    pub now: UnixMs,
}

/// See [`Command::RotateEndpointKey`](super::Command::RotateEndpointKey). The same again changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateEndpointKey {
    /// Which one.
    pub endpoint: EndpointId,
    /// Its WireGuard identity from now on.
    pub new_key: PublicKey,
    /// Now.
    pub now: UnixMs,
    /// Until when the key before is good too; now to cut it off at once.
    pub overlap_until: UnixMs,
}
