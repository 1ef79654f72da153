//! Commands on networks.

use festoon_proto::NetworkId;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::super::address::AddressRange;

/// See [`Command::AddNetwork`](super::Command::AddNetwork).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddNetwork {
    /// Its name, a DNS label.
    pub name: String,
    /// The customer's prefixes. Endpoints get an address from the first with room of each family.
    pub prefixes: Vec<IpNet>,
    /// The largest overlay packet in bytes.
    pub mtu: u16,
}

/// See [`Command::UpdateNetwork`](super::Command::UpdateNetwork). What is `None` stays. No endpoint gets another address
/// by any of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateNetwork {
    /// Which one.
    pub network: NetworkId,
    /// Its new name.
    pub name: Option<String>,
    /// Its new MTU in bytes.
    pub mtu: Option<u16>,
    /// Prefixes it has besides from now on.
    pub add_prefixes: Vec<IpNet>,
    /// Prefixes it no longer has, with the reserved ranges in them. Nobody may have an address in one.
    pub remove_prefixes: Vec<IpNet>,
    /// All its reserved ranges: an endpoint gets an address in one only when an admin names it. Whoever has one already
    /// keeps it.
    pub reserved: Option<Vec<AddressRange>>,
}
