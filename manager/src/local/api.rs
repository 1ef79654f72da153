//! What travels over the socket, in JSON.

use festoon_proto::{EpochId, PublicKey};
use serde::{Deserialize, Serialize};

/// `GET`, with a [`Page`](crate::status::Page) as query: a [`Report`](crate::status::Report).
pub const STATUS: &str = "/v1/status";
/// `POST`: this manager leaves the cluster, and stops.
pub const LEAVE: &str = "/v1/leave";
/// `POST`: the cluster goes on from this manager's copy alone. Gets [`Promoted`]. `GET`: refuses as that would, and changes
/// nothing.
pub const PROMOTE: &str = "/v1/promote";
/// `POST`: this manager, which was fenced off, begins anew. Gets [`Rejoined`](crate::cluster::Rejoined).
pub const REJOIN: &str = "/v1/rejoin";

/// `POST`: a [`RotationRequest`] gets a [`RotationResponse`].
pub const OWN_KEY: &str = "/v1/own-key";

/// This manager was promoted.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Promoted {
    /// The new epoch.
    pub epoch: EpochId,
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
