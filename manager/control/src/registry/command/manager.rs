//! Commands on managers, and on the cluster as a whole.

use std::net::SocketAddr;

use festoon_proto::epoch::EpochProof;
use festoon_proto::http::ManagerRole;
use festoon_proto::token::SecretHash;
use festoon_proto::{ClusterId, Fingerprint, ManagerId, PublicKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::{DataKeyCopy, UnixMs};

/// What a manager says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub role: ManagerRole,
    /// Its WireGuard identity.
    pub public_key: PublicKey,
    /// The key that secrets are sealed to for it (X25519); none for a witness, which gets none.
    pub seal_key: Option<PublicKey>,
    /// The key that it signs with what it vouches for (Ed25519).
    pub signing_key: VerifyingKey,
    /// The SHA-256 of the public key in its signing request, as SubjectPublicKeyInfo in DER (RFC 5280). Whoever made this
    /// command has seen a proof that the manager holds the private key.
    pub tls_key: Fingerprint,
    /// Where its tunnels are reached; nowhere for a witness.
    pub underlay: Vec<SocketAddr>,
    /// Where its HTTPS listener is reached.
    pub https: Vec<SocketAddr>,
    /// Declared preference, the higher the better.
    pub priority: u8,
    /// The highest format its program understands: [`FORMAT`](crate::registry::FORMAT).
    pub format: u16,
}

/// See [`Command::Bootstrap`](super::Command::Bootstrap).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The new cluster.
    pub cluster: ClusterId,
    /// Its first manager.
    pub manager: ManagerSpec,
}

/// See [`Command::JoinManager`](super::Command::JoinManager). The same again gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinManager {
    /// The hash of the token's secret.
    pub token: SecretHash,
    /// What the manager says of itself.
    pub manager: ManagerSpec,
    /// The data key, sealed to it by the manager it asked; none for a witness, or while there is no data key.
    pub data_key: Option<DataKeyCopy>,
    /// Now.
    pub now: UnixMs,
}

/// See [`Command::UpdateManager`](super::Command::UpdateManager). What is `None` stays.
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
    /// Where it is; nowhere in particular if that is empty.
    pub region: Option<String>,
    /// Whether it is to take no endpoints and move away those it has.
    pub is_draining: Option<bool>,
}

impl UpdateManager {
    /// One that changes nothing yet.
    pub const fn of(manager: ManagerId) -> Self {
        Self { manager, name: None, underlay: None, https: None, priority: None, region: None, is_draining: None }
    }
}

/// See [`Command::RenewManager`](super::Command::RenewManager). The same again changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewManager {
    /// Which one.
    pub manager: ManagerId,
    /// Its incarnation from now on.
    pub incarnation: u32,
}

/// See [`Command::RotateManagerKey`](super::Command::RotateManagerKey). The same again changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateManagerKey {
    /// Which one.
    pub manager: ManagerId,
    /// Its WireGuard identity from now on.
    pub new_key: PublicKey,
    /// Now.
    pub now: UnixMs,
    /// Until when the key before is good too; now to cut it off at once.
    pub overlap_until: UnixMs,
}

/// See [`Command::RotateSealKey`](super::Command::RotateSealKey).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateSealKey {
    /// Which one.
    pub manager: ManagerId,
    /// The key that secrets are sealed to for it from now on.
    pub seal_key: PublicKey,
    /// The data key, sealed to that; none while there is no data key.
    pub data_key: Option<DataKeyCopy>,
}

/// See [`Command::BeginEpoch`](super::Command::BeginEpoch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginEpoch {
    /// The signed act: which epoch, from which copy, and the manager that the cluster goes on with.
    pub proof: EpochProof,
}

/// See [`Command::AnnounceProgram`](super::Command::AnnounceProgram).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnounceProgram {
    /// Which manager.
    pub manager: ManagerId,
    /// The highest format its program understands.
    pub format: u16,
    /// The release of Festoon that it is, as in `1.4.2`.
    pub release: String,
}
