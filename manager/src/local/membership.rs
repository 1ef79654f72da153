//! This manager's own place in the cluster.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use tokio::sync::oneshot;

use super::Admin;
use super::api::Promoted;
use crate::cluster::{AnewError, Rejoined};
use crate::https::Refused;

impl From<AnewError> for Refused {
    fn from(error: AnewError) -> Self {
        Self::new(StatusCode::CONFLICT, error.kind(), &error.to_string())
    }
}

pub(super) async fn leave(Shared(admin): Shared<Admin>) -> Result<StatusCode, Refused> {
    let stopping = || Refused::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "this manager is stopping");
    let (reply, left) = oneshot::channel();
    admin.leave.send(reply).await.map_err(|_| stopping())?;
    left.await.map_err(|_| stopping())??;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn promote(Shared(admin): Shared<Admin>) -> Result<Json<Promoted>, Refused> {
    let epoch = admin.cluster.promote().await?;
    Ok(Json(Promoted { epoch }))
}

pub(super) async fn rejoin(Shared(admin): Shared<Admin>) -> Result<Json<Rejoined>, Refused> {
    Ok(Json(admin.cluster.rejoin().await?))
}
