//! What travels over the socket, in JSON.

use std::net::{IpAddr, SocketAddr};

use festoon_control::registry::AddressRange;
use festoon_proto::{EpochId, PublicKey};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// `GET`, with a [`Page`](crate::status::Page) as query: a [`Report`](crate::status::Report).
pub const STATUS: &str = "/v1/status";
/// `POST`: a [`TokenRequest`] gets a [`TokenResponse`].
pub const TOKENS: &str = "/v1/tokens";
/// `GET`: all [`NetworkRow`](crate::status::NetworkRow)s. `POST`: an
/// [`AddNetwork`](festoon_control::registry::AddNetwork). `POST` to `/v1/networks/NAME`: a [`NetworkRequest`].
pub const NETWORKS: &str = "/v1/networks";
/// `POST`: a [`ClientRequest`] gets an [`EndpointMap`](festoon_proto::map::EndpointMap). `DELETE` of `/v1/endpoints/NAME`:
/// removes one and gets [`Removed`].
pub const ENDPOINTS: &str = "/v1/endpoints";
/// `POST` to `/v1/managers/NAME`: a [`ManagerRequest`]. `DELETE`: removes one and gets [`Removed`].
pub const MANAGERS: &str = "/v1/managers";
/// `GET`: every [`Entry`](crate::snapshot::Entry) that this manager keeps. `POST`: takes one more and gets its entry. `GET` of
/// `/v1/snapshots/NAME`: the bytes of that file.
pub const SNAPSHOTS: &str = "/v1/snapshots";
/// `GET`: a snapshot of now that is not kept, as the bytes of a file.
pub const SNAPSHOT: &str = "/v1/snapshot";
/// `PUT`: a [`RecoveryKeyRequest`].
pub const RECOVERY_KEY: &str = "/v1/recovery-key";
/// `PUT`: [`Draining`].
pub const DRAINING: &str = "/v1/draining";
/// `POST`: this manager leaves the cluster, and stops.
pub const LEAVE: &str = "/v1/leave";
/// `POST`: the cluster goes on from this manager's copy alone. Gets [`Promoted`]. `GET`: refuses as that would, and changes
/// nothing.
pub const PROMOTE: &str = "/v1/promote";
/// `POST`: this manager, which was fenced off, begins anew. Gets [`Rejoined`](crate::cluster::Rejoined).
pub const REJOIN: &str = "/v1/rejoin";

/// `POST`: a [`RotationRequest`] gets a [`RotationResponse`].
pub const OWN_KEY: &str = "/v1/own-key";

/// A join token, please.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenRequest {
    /// For a manager instead of an endpoint.
    pub manager: bool,
    /// The name of the network an endpoint gets into; the only one or `default` if none is named.
    pub network: Option<String>,
    /// The addresses an endpoint gets, one of a family; in a family without one, a free one.
    pub addresses: Vec<IpAddr>,
    /// How long it is good for, in seconds.
    pub expires_s: u64,
}

/// The join token. Secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenResponse {
    /// One word.
    pub token: String,
    /// From when on it is refused, in milliseconds since 1970.
    pub expires_unix_ms: u64,
}

/// A stock WireGuard client, please.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClientRequest {
    /// Its name.
    pub name: String,
    /// The name of its network; the only one or `default` if none is named.
    pub network: Option<String>,
    /// Its addresses, one of a family; in a family without one, a free one.
    pub addresses: Vec<IpAddr>,
    /// Its key; the private half stays where it was made.
    pub public_key: PublicKey,
}

/// Change a network. What is `None` or empty stays.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NetworkRequest {
    /// Its new name.
    pub name: Option<String>,
    /// Its new MTU in bytes.
    pub mtu: Option<u16>,
    /// Prefixes it has besides from now on.
    pub add_prefixes: Vec<IpNet>,
    /// Prefixes it no longer has.
    pub remove_prefixes: Vec<IpNet>,
    /// Ranges that are reserved from now on.
    pub reserve: Vec<AddressRange>,
    /// Reserved ranges that are so no longer.
    pub unreserve: Vec<AddressRange>,
}

/// Change a manager. What is `None` stays.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ManagerRequest {
    /// Its new name.
    pub name: Option<String>,
    /// Where its tunnels are reached.
    pub underlay: Option<Vec<SocketAddr>>,
    /// Where its HTTPS listener is reached.
    pub https: Option<Vec<SocketAddr>>,
    /// Declared preference.
    pub priority: Option<u8>,
}

/// This manager was promoted.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Promoted {
    /// The new epoch.
    pub epoch: EpochId,
}

/// Encrypt snapshots to this key from now on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecoveryKeyRequest {
    /// Its public half, an age recipient. The other stays where it was made.
    pub recipient: String,
}

/// What was removed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Removed {
    /// Its id.
    pub id: String,
    /// The name it had.
    pub name: String,
}

/// Whether a manager is to take no more endpoints and to move away those it has.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Draining {
    /// It is.
    pub draining: bool,
}

/// A new key for the tunnels and links of this manager, please.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct RotationRequest {
    /// For how many seconds the one before is to be good too.
    pub overlap_s: u64,
}

/// This manager has a new key.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct RotationResponse {
    /// The new key.
    pub public_key: PublicKey,
    /// Until when the one before is good too, in milliseconds since 1970.
    pub former_until_unix_ms: u64,
    /// Stock clients of the cluster. Those of this manager have its key in their configuration.
    pub clients: usize,
}
