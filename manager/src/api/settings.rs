//! What the cluster as a whole has to set.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use festoon_api::{Settings, SettingsUpdate};
use festoon_control::registry::{ChangeError, Subject};

use super::change::Wanted;
use super::headers::{ETag, IfMatch};
use super::{Api, Caller};
use crate::cluster::ProposeError;
use crate::https::{ApiJson, Refused};
use crate::vault::{is_recipient, recovery_recipient};

/// The settings of the cluster.
#[utoipa::path(get, path = "/settings", tag = "settings",
    responses((status = 200, body = Settings, headers(("ETag" = String)))))]
pub(super) async fn show(Shared(api): Shared<Api>) -> impl IntoResponse {
    one(&api)
}

/// Changes the settings of the cluster.
#[utoipa::path(patch, path = "/settings", tag = "settings", request_body = SettingsUpdate,
    params(("If-Match" = String, Header)),
    responses((status = 200, body = Settings, headers(("ETag" = String)))))]
pub(super) async fn update(
    Shared(api): Shared<Api>,
    caller: Caller,
    if_match: IfMatch,
    ApiJson(request): ApiJson<SettingsUpdate>,
) -> Result<impl IntoResponse, Refused> {
    let only_if = if_match.required(Subject::Cluster)?;
    let version = api.cluster.snapshot().vault().changed();
    if only_if.is_some_and(|only_if| only_if.since != version) {
        return Err(ProposeError::Refused(ChangeError::Stale(Subject::Cluster).into()).into());
    }
    if let Some(recipient) = request.recovery_recipient {
        if !is_recipient(&recipient) {
            let text = "this is no age recipient: `festoon-manager snapshots key` makes one";
            return Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-recipient", text));
        }
        api.change(Wanted::new(&caller, api.snapshots.new_recipient(&recipient)?).only_if(only_if)).await?;
        tracing::info!("an admin set a new recovery key");
    }
    Ok(one(&api))
}

fn one(api: &Api) -> (ETag, Json<Settings>) {
    let state = api.cluster.snapshot();
    let recipient = api.vault.read(&state, &recovery_recipient()).ok();
    let recovery_recipient = recipient.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    let version = state.vault().changed();
    (ETag(version), Json(Settings { recovery_recipient, version: version.0 }))
}
