//! This manager's own place in the cluster.

use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use festoon_proto::ManagerId;
use festoon_proto::epoch::EpochProof;
use tokio::sync::oneshot;

use super::api::Promoted;
use super::{Admin, Leave, Opener};
use crate::cluster::{AnewError, Cluster, Promotion, Rejoined};
use crate::https::{ApiJson, Refused};

impl From<AnewError> for Refused {
    fn from(error: AnewError) -> Self {
        Self::new(StatusCode::CONFLICT, error.kind(), &error.to_string())
    }
}

/// How long the leader has to say who is alive.
const LEADER_LIMIT: Duration = Duration::from_millis(500);

/// Refuses to let the last full manager go that is alive, though the registry may know of others: with it would go all traffic
/// and, if the others are lost, every secret.
pub(crate) async fn see_that_others_carry(cluster: &Cluster, gone: ManagerId) -> Result<(), Refused> {
    let (state, health) = (cluster.snapshot(), cluster.health_of_leader(LEADER_LIMIT).await);
    let is_alive = |id: ManagerId| health.members.iter().any(|member| member.id.manager == id && member.is_heard);
    let others: Vec<_> = state.full_managers().filter(|manager| manager.id != gone).collect();
    // Of a manager that is alone the registry says it better.
    if others.is_empty() || others.iter().any(|manager| is_alive(manager.id)) {
        return Ok(());
    }
    let names: Vec<_> = others.iter().map(|manager| &*manager.name).collect();
    let text = format!("no other manager that carries endpoints is alive: start {} first", names.join(" or "));
    Err(Refused::new(StatusCode::CONFLICT, "last-alive", &text))
}

pub(super) async fn leave(Shared(admin): Shared<Admin>, opener: Opener) -> Result<StatusCode, Refused> {
    see_that_others_carry(&admin.cluster, admin.manager).await?;
    let stopping = || Refused::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "this manager is stopping");
    let (reply, left) = oneshot::channel();
    admin.leave.send(Leave { by: admin.author(opener), reply }).await.map_err(|_| stopping())?;
    left.await.map_err(|_| stopping())??;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn promotion(Shared(admin): Shared<Admin>) -> Result<Json<Promotion>, Refused> {
    Ok(Json(admin.cluster.promotion(admin.manager).await?))
}

pub(super) async fn promote(
    Shared(admin): Shared<Admin>,
    opener: Opener,
    ApiJson(proof): ApiJson<Option<EpochProof>>,
) -> Result<Json<Promoted>, Refused> {
    let epoch = admin.cluster.promote(proof, admin.author(opener)).await?;
    Ok(Json(Promoted { epoch }))
}

pub(super) async fn rejoin(Shared(admin): Shared<Admin>) -> Result<Json<Rejoined>, Refused> {
    Ok(Json(admin.cluster.rejoin().await?))
}
