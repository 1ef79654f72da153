//! Snapshots that the manager which answers keeps.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use festoon_api::{Page, Snapshot};
use festoon_control::registry::Deed;

use super::query::ApiPath;
use super::view::time;
use super::{Api, Caller};
use crate::https::Refused;
use crate::snapshot::{ArchiveError, Entry, KeepError, Reason, TakeError};

/// What a snapshot is, to whoever downloads it.
const AGE: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/octet-stream")];

/// Snapshots that this manager keeps, the newest first.
#[utoipa::path(get, path = "/snapshots", tag = "snapshots", responses((status = 200, body = Page<Snapshot>)))]
pub(super) async fn list(Shared(api): Shared<Api>) -> Result<Json<Page<Snapshot>>, Refused> {
    Ok(Json(Page { items: api.snapshots.list().await?.into_iter().map(view).collect(), next: None }))
}

/// Takes a snapshot, which this manager keeps.
#[utoipa::path(post, path = "/snapshots", tag = "snapshots", responses((status = 201, body = Snapshot)))]
pub(super) async fn create(Shared(api): Shared<Api>, caller: Caller) -> Result<impl IntoResponse, Refused> {
    let kept = api.snapshots.keep(Reason::Asked).await?;
    api.note(&caller, Deed::TakeSnapshot).await;
    Ok((StatusCode::CREATED, Json(view(kept))))
}

/// A snapshot that this manager keeps: a file that is encrypted to the recovery key.
#[utoipa::path(get, path = "/snapshots/{snapshot}", tag = "snapshots",
    params(("snapshot" = String, Path, description = "The name of its file.")),
    responses((status = 200, content((Vec<u8> = "application/octet-stream")))))]
pub(super) async fn read(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(name): ApiPath<String>,
) -> Result<impl IntoResponse, Refused> {
    api.check_confirmed(&caller)?;
    let bytes = api.snapshots.read(name).await?;
    api.note(&caller, Deed::DownloadSnapshot).await;
    Ok((AGE, bytes))
}

/// A snapshot of now, which nobody keeps: a file that is encrypted to the recovery key.
#[utoipa::path(get, path = "/snapshot", tag = "snapshots",
    responses((status = 200, content((Vec<u8> = "application/octet-stream")))))]
pub(super) async fn take(Shared(api): Shared<Api>, caller: Caller) -> Result<impl IntoResponse, Refused> {
    api.check_confirmed(&caller)?;
    let bytes = api.snapshots.take().await?;
    api.note(&caller, Deed::DownloadSnapshot).await;
    Ok((AGE, bytes))
}

fn view(entry: Entry) -> Snapshot {
    Snapshot { name: entry.name, created: time(entry.created), bytes: entry.bytes }
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
