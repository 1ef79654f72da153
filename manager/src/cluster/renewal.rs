//! A manager begins anew: it signs that itself, and any other brings it into the registry.
//!
//! Two requests: the first asks in which epoch the cluster is and how far its log goes, which the signature covers; the second
//! brings the signature.

use axum::body::Bytes;
use axum::extract::{Extension, State as Shared};
use axum::http::StatusCode;
use axum::{Json, Router};
use festoon_cluster::{Proposal, ProposalId};
use festoon_control::registry::{Author, Change, Command, RenewManager, State, UnixMs, Vouch, Who};
use festoon_proto::epoch::EpochProof;
use festoon_proto::map::MapVersion;
use festoon_proto::{EpochId, ManagerId, SigningKey};
use serde::{Deserialize, Serialize};

use super::member::{Member, member_or_expired};
use super::{Cluster, unix_now};
use crate::https::route::{self, Serve as _};
use crate::https::{Peer, Refused};

/// A manager is about to begin anew: what it says to [`RENEW_OFFER`](route::RENEW_OFFER), which gets an [`Offer`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Question {
    /// The lowest incarnation that is new to it.
    pub(super) incarnation: u32,
}

/// What it has to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    /// The incarnation that it is to be.
    pub(super) incarnation: u32,
    /// The epoch of the cluster.
    pub(super) epoch: EpochId,
    /// The act by which that began; none of the first.
    pub(super) proof: Option<EpochProof>,
    /// How far the copy goes of the manager that answers.
    pub(super) seen: MapVersion,
}

/// A manager begins anew, and signs it: what it says to [`RENEW`](route::RENEW).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Signed {
    incarnation: u32,
    at: UnixMs,
    /// In decimal: JSON knows no numbers of 128 bits that every program reads.
    #[serde(with = "decimal")]
    proposal: u128,
    vouch: Vouch,
}

mod decimal {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Offer {
    /// Takes it, as manager `me`.
    pub(super) fn sign(&self, key: &SigningKey, me: ManagerId, cluster: festoon_proto::ClusterId) -> Signed {
        let (incarnation, at, proposal) = (self.incarnation, unix_now(), rand::random());
        let change = change(me, incarnation, at);
        let vouch = Vouch::sign(key, me, (cluster, self.epoch), self.seen, proposal, &change);
        Signed { incarnation, at, proposal, vouch }
    }
}

fn change(manager: ManagerId, incarnation: u32, at: UnixMs) -> Change {
    let command = Command::RenewManager(RenewManager { manager, incarnation });
    Change { command, by: Author { who: Who::Manager(manager), from: None }, at, only_if: None, key: None }
}

/// The routes under `/cluster/v1/renew`.
pub(super) fn router(cluster: Cluster) -> Router {
    Router::new().serve(route::RENEW_OFFER, offer).serve(route::RENEW, renew).with_state(cluster)
}

async fn offer(
    Shared(cluster): Shared<Cluster>,
    Extension(peer): Extension<Peer>,
    question: Bytes,
) -> Result<Json<Offer>, Refused> {
    let Member { id, .. } = member_or_expired(&peer, &cluster)?;
    let Question { incarnation } = serde_json::from_slice(&question).map_err(|_| Refused::not_understood())?;
    Ok(Json(next(&cluster, id, incarnation)))
}

fn next(cluster: &Cluster, manager: ManagerId, least: u32) -> Offer {
    let state: &State = &cluster.snapshot();
    let next = state.manager(manager).map_or(0, |manager| manager.incarnation.saturating_add(1));
    let (epoch, seen) = cluster.to_sign();
    Offer { incarnation: least.max(next), epoch, proof: state.epoch().began, seen }
}

async fn renew(
    Shared(cluster): Shared<Cluster>,
    Extension(peer): Extension<Peer>,
    signed: Bytes,
) -> Result<StatusCode, Refused> {
    let Member { id, .. } = member_or_expired(&peer, &cluster)?;
    let Signed { incarnation, at, proposal, vouch } =
        serde_json::from_slice(&signed).map_err(|_| Refused::not_understood())?;
    let change = change(id, incarnation, at);
    cluster.propose_signed(Proposal { id: ProposalId(proposal), change, vouch: Some(vouch) }).await?;
    tracing::warn!(manager = %id, incarnation, "a manager begins anew, without the copy of the registry that it had");
    Ok(StatusCode::NO_CONTENT)
}
