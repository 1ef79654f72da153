//! What admin commands do with snapshots.

use axum::Json;
use axum::extract::{Path as UrlPath, State as Shared};
use axum::http::StatusCode;

use super::api::RecoveryKeyRequest;
use super::server::Admin;
use crate::https::{ApiJson, Refused};
use crate::snapshot::{ArchiveError, Entry, KeepError, TakeError};

pub(super) async fn list(Shared(admin): Shared<Admin>) -> Result<Json<Vec<Entry>>, Refused> {
    Ok(Json(admin.snapshots.list().await?))
}

pub(super) async fn keep(Shared(admin): Shared<Admin>) -> Result<Json<Entry>, Refused> {
    Ok(Json(admin.snapshots.keep().await?))
}

pub(super) async fn take(Shared(admin): Shared<Admin>) -> Result<Vec<u8>, Refused> {
    Ok(admin.snapshots.take().await?)
}

pub(super) async fn read(Shared(admin): Shared<Admin>, UrlPath(name): UrlPath<String>) -> Result<Vec<u8>, Refused> {
    Ok(admin.snapshots.read(name).await?)
}

pub(super) async fn set_recovery_key(
    Shared(admin): Shared<Admin>,
    ApiJson(request): ApiJson<RecoveryKeyRequest>,
) -> Result<StatusCode, Refused> {
    let command = admin.snapshots.new_recipient(&request.recipient)?;
    admin.cluster.propose(command).await?;
    tracing::info!("an admin set a new recovery key");
    Ok(StatusCode::NO_CONTENT)
}

impl From<KeepError> for Refused {
    fn from(error: KeepError) -> Self {
        let (status, kind) = match &error {
            KeepError::Archive(ArchiveError::Unknown(_)) => (StatusCode::NOT_FOUND, "snapshot-unknown"),
            KeepError::Archive(ArchiveError::Io { .. }) => (StatusCode::INSUFFICIENT_STORAGE, "snapshot-not-kept"),
            KeepError::Take(TakeError::NoRecoveryKey) => (StatusCode::CONFLICT, "no-recovery-key"),
            KeepError::Take(_) => (StatusCode::INTERNAL_SERVER_ERROR, "snapshot-not-taken"),
            KeepError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        };
        Self::new(status, kind, &error.to_string())
    }
}
