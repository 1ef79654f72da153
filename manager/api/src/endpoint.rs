//! Endpoints, and the routes that they offer.

use std::net::{IpAddr, SocketAddr};

use festoon_proto::PublicKey;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{EndpointId, ManagerId, NetworkId, Time};

/// What runs on an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointKind {
    /// Our program.
    Agent,
    /// Any stock WireGuard program.
    Client,
}

/// A host in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Its id. Never used again.
    pub id: EndpointId,
    /// Its name, a DNS label, unique in its network.
    pub name: String,
    /// Its network.
    pub network: NetworkId,
    /// The name of its network.
    pub network_name: String,
    /// What runs on it.
    pub kind: EndpointKind,
    /// Its addresses in the overlay.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// Its WireGuard identity.
    #[schema(value_type = String)]
    pub public_key: PublicKey,
    /// Whether it may use the overlay.
    pub enabled: bool,
    /// Words that admins find it by, sorted.
    pub tags: Vec<String>,
    /// When it is removed by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// Whether it is removed once it has been away for a while.
    pub ephemeral: bool,
    /// The routes that it offers.
    pub routes: Vec<Route>,
    /// Whether its agent was asked for a new key and has not made one yet.
    pub key_due: bool,
    /// When it came.
    pub created: Time,
    /// How it is doing, as the manager that answers sees it. None on a witness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
    /// Its version, which is also its `ETag`.
    pub version: u64,
}

/// A prefix outside the overlay that an endpoint would carry packets to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Route {
    /// The prefix.
    #[schema(value_type = String, example = "192.168.7.0/24")]
    pub prefix: IpNet,
    /// Whether an admin approved it. It is used only then.
    pub approved: bool,
}

/// A route, in a list of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteRow {
    /// The prefix.
    #[schema(value_type = String, example = "192.168.7.0/24")]
    pub prefix: IpNet,
    /// Whether an admin approved it.
    pub approved: bool,
    /// The network it is of.
    pub network: NetworkId,
    /// The endpoint that offers it.
    pub endpoint: EndpointId,
    /// That endpoint's name.
    pub endpoint_name: String,
}

/// Whether an endpoint is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// A manager carries it.
    Up,
    /// No manager carries it.
    Down,
}

/// How an endpoint is doing. Soft state, as one manager sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Presence {
    /// Whether it is there.
    pub state: EndpointState,
    /// Who carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<ManagerId>,
    /// How often it has been attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Where it is in the underlay, if this manager has heard from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub underlay: Option<SocketAddr>,
    /// How old its session with this manager is, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handshake_ms_ago: Option<u64>,
    /// How long ago this manager heard from it, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ms_ago: Option<u64>,
    /// Bytes this manager received from it.
    pub rx_bytes: u64,
    /// Bytes this manager sent to it.
    pub tx_bytes: u64,
}

/// A new stock WireGuard client. Agents come in with a join token instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointCreate {
    /// Its name, a DNS label, unique in its network.
    #[schema(example = "laptop", max_length = 63)]
    pub name: String,
    /// Its network, by id or name; the only one, or the one called `default`, if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Its addresses, at most one of each family; free ones where none is named.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// Its WireGuard identity. Without one the manager makes a key pair, and answers with the whole configuration, this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub public_key: Option<PublicKey>,
    /// Words that admins find it by.
    #[serde(default)]
    #[schema(max_items = 32)]
    pub tags: Vec<String>,
    /// When it is removed by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

/// The new endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndpointCreated {
    /// It.
    pub endpoint: Endpoint,
    /// Its configuration with the private key, if the manager made that. Nobody can have it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

/// Several new endpoints: all are created, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointBatch {
    /// They, 1 to 1000.
    #[schema(min_items = 1, max_items = 1000)]
    pub endpoints: Vec<EndpointCreate>,
}

/// What of an endpoint is to be changed. What is left out stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct EndpointUpdate {
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 63)]
    pub name: Option<String>,
    /// Whether it may use the overlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// All its tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 32)]
    pub tags: Option<Vec<String>>,
    /// When it is removed by itself; `null` for never.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::given")]
    #[schema(value_type = Option<Time>)]
    pub expires: Option<Option<Time>>,
    /// The network that it moves to, by id or name. It gets other addresses there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Its new addresses, at most one of each family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub addresses: Option<Vec<IpAddr>>,
    /// All of its routes that are to be used, of those that it offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub approved_routes: Option<Vec<IpNet>>,
}
