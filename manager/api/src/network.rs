//! Networks.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::NetworkId;

/// An isolated overlay with the customer's own prefixes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Network {
    /// Its id.
    pub id: NetworkId,
    /// Its name, a DNS label, unique in the cluster.
    pub name: String,
    /// Its prefixes. Endpoints get an address from the first with room of each family.
    #[schema(value_type = Vec<String>, example = json!(["172.31.0.0/16", "fd00:1::/64"]))]
    pub prefixes: Vec<IpNet>,
    /// The addresses that every manager answers for, one a prefix.
    #[schema(value_type = Vec<String>)]
    pub gateways: Vec<IpAddr>,
    /// Ranges in them whose addresses endpoints get only when an admin names them.
    #[schema(example = json!(["172.31.0.10-172.31.0.99"]))]
    pub reserved: Vec<String>,
    /// The largest overlay packet, in bytes.
    #[schema(minimum = 1280, maximum = 9000)]
    pub mtu: u16,
    /// How many endpoints are in it.
    pub endpoints: u64,
    /// Its version, which is also its `ETag`.
    pub version: u64,
}

/// A new network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkCreate {
    /// Its name, a DNS label.
    #[schema(example = "office", max_length = 63)]
    pub name: String,
    /// Its prefixes, 1 to 16, IPv4 and IPv6.
    #[schema(value_type = Vec<String>, example = json!(["10.7.0.0/16"]))]
    pub prefixes: Vec<IpNet>,
    /// The largest overlay packet in bytes; 1360 if it is not said.
    #[serde(default)]
    #[schema(minimum = 1280, maximum = 9000)]
    pub mtu: Option<u16>,
}

/// What of a network is to be changed. What is left out stays. No endpoint gets another address by any of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct NetworkUpdate {
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 63)]
    pub name: Option<String>,
    /// All its prefixes. One that endpoints have addresses in can't be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub prefixes: Option<Vec<IpNet>>,
    /// All its reserved ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Vec<String>>,
    /// Its new MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1280, maximum = 9000)]
    pub mtu: Option<u16>,
}
