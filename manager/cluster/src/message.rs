//! What members ask each other, as bytes.

use festoon_control::registry::UnixMs;
use festoon_proto::epoch::EpochProof;
use festoon_proto::map::MapVersion;
use festoon_proto::{ClusterId, EpochId, ManagerId, Signature, SigningKey, VerifyingKey};
use openraft::error::InstallSnapshotError;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use serde::{Deserialize, Serialize};

use crate::compare::Digest;
use crate::health::Health;
use crate::transfer::Heading;
use crate::transport::Lane;
use crate::types::{Applied, MemberId, Proposal, TypeConfig};

/// A request with its sender and its addressee. A manager is asked as one incarnation of itself, in one epoch of the
/// cluster, and must not answer as another: it would vouch for a log it does not have.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) epoch: EpochId,
    /// What the sender's epoch began with, for whoever was left behind.
    pub(crate) proof: Option<EpochProof>,
    pub(crate) from: MemberId,
    pub(crate) to: MemberId,
    pub(crate) request: Request,
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<MemberId>),
    Snapshot(Box<Heading>, InstallSnapshotRequest<TypeConfig>),
    Propose {
        proposal: Box<Proposal>,
        /// Which attempt of the sender to have it written.
        attempt: u32,
        /// Whether it may be in the log already.
        is_again: bool,
    },
    Health,
    Digests,
    Clock,
}

impl Request {
    pub(crate) const fn lane(&self) -> Lane {
        match self {
            // Clocks are asked all the time. So there is a connection to each member when a vote has to go there.
            Self::Append(_) | Self::Vote(_) | Self::Clock => Lane::Log,
            Self::Snapshot(..) => Lane::Snapshots,
            Self::Propose { .. } | Self::Health | Self::Digests => Lane::Changes,
        }
    }
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Append(AppendEntriesResponse<MemberId>),
    Vote(VoteResponse<MemberId>),
    Snapshot(Result<InstallSnapshotResponse<MemberId>, InstallSnapshotError>),
    Applied(Applied),
    Health(Health),
    Rejected(Rejection),
    Digests(Vec<Digest>),
    /// What the clock of the addressee shows.
    Clock(UnixMs),
}

/// A manager was removed from the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The epoch that the cluster is in.
    pub epoch: EpochId,
    /// The version that this epoch began from; 0 for the first.
    pub began_from: MapVersion,
}

/// What is signed of a removal begins with this.
const REMOVAL_LABEL: &str = "festoon removal 1";

/// A manager was removed, as a full manager says: whoever believes it gives up for good, so a witness can't say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRemoval {
    /// What it says.
    pub what: Removal,
    /// Who says so.
    pub by: ManagerId,
    /// By its signing key.
    pub signature: Signature,
}

impl SignedRemoval {
    pub(crate) fn sign(key: &SigningKey, by: ManagerId, cluster: ClusterId, removed: ManagerId, what: Removal) -> Self {
        let signature = key.sign(REMOVAL_LABEL, &encode(&(cluster, removed, what, by)));
        Self { what, by, signature }
    }

    pub(crate) fn is_signed_by(&self, key: &VerifyingKey, cluster: ClusterId, removed: ManagerId) -> bool {
        key.verifies(REMOVAL_LABEL, &encode(&(cluster, removed, self.what, self.by)), &self.signature)
    }
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The addressee began anew with an empty disk since.
    #[error("that manager is now {0}")]
    OtherMember(MemberId),
    /// The cluster has gone on in a later epoch, without the sender.
    #[error("the cluster is in epoch {}", .0.epoch)]
    LaterEpoch(Box<EpochProof>),
    /// The addressee has not heard yet that the cluster is in a later epoch.
    #[error("that manager is still in epoch {0}")]
    EarlierEpoch(EpochId),
    /// The sender was removed from the cluster.
    #[error("this manager was removed from the cluster, in epoch {}", .0.what.epoch)]
    Removed(SignedRemoval),
    /// The sender is not in the cluster, as the addressee knows it, which can't prove that.
    #[error("that manager does not know this one as a member of the cluster")]
    NotMember,
    /// The addressee has just joined and has no copy of the registry yet.
    #[error("that manager has no copy of the registry yet")]
    NotReady,
    /// The addressee does not lead.
    #[error("that manager does not lead")]
    NotLeader,
    /// It came before, and is handled.
    #[error("that manager has it already")]
    Repeated,
    /// Nothing was written.
    #[error("that manager can't write it now")]
    NotTaken,
    /// The addressee has stopped, or its disk fails.
    #[error("that manager has stopped")]
    Stopped,
    /// The sender is not who it says, or speaks another version.
    #[error("the request was not understood: run the same version of Festoon on all managers")]
    NotUnderstood,
    /// A snapshot that nobody stands for whom the addressee knows as a full manager.
    #[error("no full manager that the addressee knows has signed this snapshot")]
    Unsigned,
    /// The manager that is to be removed is needed while these do not answer.
    #[error("too few of the others answer")]
    StillNeeded(Vec<ManagerId>),
}

/// Encodes what is sent. What is sent here can always be encoded.
pub(crate) fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    postcard::to_stdvec(message).unwrap_or_default()
}

/// Decodes what came.
pub(crate) fn decode<'a, M: Deserialize<'a>>(bytes: &'a [u8]) -> Option<M> {
    postcard::from_bytes(bytes).ok()
}
