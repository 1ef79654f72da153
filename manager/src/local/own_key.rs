//! What admin commands do to this manager's own key.

use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use festoon_proto::map::EndpointKind;

use super::api::{RotationRequest, RotationResponse};
use super::{Admin, Opener};
use crate::https::{ApiJson, Refused};
use crate::own_key::RotateError;

pub(super) async fn rotate(
    Shared(admin): Shared<Admin>,
    opener: Opener,
    ApiJson(request): ApiJson<RotationRequest>,
) -> Result<Json<RotationResponse>, Refused> {
    if admin.node.is_none() {
        return Err(Refused::new(StatusCode::CONFLICT, "manager-is-witness", "a witness has no tunnels and no links"));
    }
    let rotated = admin.own_key.rotate(Duration::from_secs(request.overlap_s), admin.author(opener)).await?;
    let state = admin.cluster.snapshot();
    let clients = state.endpoints().filter(|endpoint| endpoint.kind == EndpointKind::Client).count();
    let (public_key, former_until_unix_ms) = (rotated.public_key, rotated.former_until.0);
    Ok(Json(RotationResponse { public_key, former_until_unix_ms, clients }))
}

impl From<RotateError> for Refused {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::Propose(error) => error.into(),
            RotateError::DataDir(error) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "data-dir", &error.to_string()),
            RotateError::Later => Self::new(StatusCode::SERVICE_UNAVAILABLE, "later", &error.to_string()),
        }
    }
}
