//! Commands on endpoints and on the tokens they come in with.

use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{EndpointId, NetworkId, PublicKey};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::super::address::Addresses;
use super::UnixMs;

/// See [`Command::CreateToken`](super::Command::CreateToken).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateToken {
    /// The hash of its secret, which nobody stores.
    pub hash: SecretHash,
    /// What it lets in.
    pub kind: TokenKind,
    /// The network an endpoint gets into; none for a manager.
    pub network: Option<NetworkId>,
    /// The addresses the endpoint gets, promised to it until the token expires; in a family without one, a free one. None
    /// for a token that is reusable.
    pub addresses: Addresses,
    /// What else is said of it.
    pub preset: TokenPreset,
    /// Now.
    pub now: UnixMs,
    /// From when on it is refused.
    pub expires: UnixMs,
}

/// What a token may say besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct TokenPreset {
    /// What an admin calls it.
    pub name: Option<String>,
    /// Whether it lets in any number of endpoints; otherwise one node.
    pub is_reusable: bool,
    /// The tags that its endpoints get.
    pub tags: Vec<String>,
    /// Whether its endpoints are removed once they have been away for a while.
    pub is_ephemeral: bool,
    /// Whether the manager that it lets in is a witness; otherwise it is a full one, which reads all secrets.
    pub is_for_witness: bool,
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
    /// Words that admins find it by.
    pub tags: Vec<String>,
    /// When it is removed by itself.
    pub expires: Option<UnixMs>,
    /// Now.
    pub now: UnixMs,
}

/// See [`Command::UpdateEndpoint`](super::Command::UpdateEndpoint). What is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateEndpoint {
    /// Which one.
    pub endpoint: EndpointId,
    /// Its new name, a DNS label.
    pub name: Option<String>,
    /// Whether it may use the overlay from now on.
    pub is_enabled: Option<bool>,
    /// All its tags.
    pub tags: Option<Vec<String>>,
    /// When it is removed by itself; never, if that is `Some(None)`.
    pub expires: Option<Option<UnixMs>>,
    /// The network that it moves to. It gets other addresses there, and its routes have to be approved again.
    pub network: Option<NetworkId>,
    /// Its new addresses; in a family without one it keeps the one it has, or gets a free one in another network.
    pub addresses: Addresses,
    /// All of its routes that are to be used, of those that it offers.
    pub approved_routes: Option<Vec<IpNet>>,
    /// Whether its agent is to make a new key.
    pub is_key_due: Option<bool>,
    /// Now.
    pub now: UnixMs,
}

impl UpdateEndpoint {
    /// One that changes nothing yet.
    pub const fn of(endpoint: EndpointId, now: UnixMs) -> Self {
        Self {
            endpoint,
            name: None,
            is_enabled: None,
            tags: None,
            expires: None,
            network: None,
            addresses: Addresses::NONE,
            approved_routes: None,
            is_key_due: None,
            now,
        }
    }
}

/// See [`Command::OfferRoutes`](super::Command::OfferRoutes). The same again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferRoutes {
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// All prefixes it would carry packets to. Those that were approved before still are.
    pub prefixes: Vec<IpNet>,
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
    /// The hash of the credential that whoever asks has shown; none for an endpoint that has none. The command is refused if
    /// another one is valid by now: of two that hold one identity, the second gets nothing.
    pub shown: Option<SecretHash>,
    /// Its WireGuard identity from now on.
    pub new_key: PublicKey,
    /// The hash of its credential from now on.
    pub credential: Option<SecretHash>,
    /// Now.
    pub now: UnixMs,
    /// Until when the key before is good too; now to cut it off at once.
    pub overlap_until: UnixMs,
}
