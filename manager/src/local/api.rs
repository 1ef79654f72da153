//! What travels over the socket, in JSON.

use festoon_proto::{EpochId, PublicKey};
use serde::{Deserialize, Serialize};

/// `GET`, with a [`Page`](crate::status::Page) as query: a [`Report`](crate::status::Report).
pub const STATUS: &str = "/v1/status";
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
/// `GET`: what happened, and what happens.
pub(super) const EVENTS: &str = "/api/v1/events";

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
