//! What the cluster as a whole has to set.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use festoon_api::{Oidc, OidcUpdate, Settings, SettingsUpdate};
use festoon_control::registry::{ChangeError, Command, Subject};

use super::change::Wanted;
use super::headers::{ETag, IfMatch};
use super::{Api, Caller};
use crate::accounts::oidc::OidcSettings;
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
    if request.recovery_recipient.is_some() {
        api.check_confirmed(&caller)?;
    }
    let version = api.cluster.snapshot().vault().changed();
    if only_if.is_some_and(|only_if| only_if.since != version) {
        return Err(ProposeError::Refused(ChangeError::Stale(Subject::Cluster).into()).into());
    }
    let commands = commands(&api, request)?;
    if !commands.is_empty() {
        api.change(Wanted::new(&caller, Command::Batch(commands)).only_if(only_if)).await?;
        tracing::info!("an owner changed the settings of the cluster");
    }
    Ok(one(&api))
}

fn commands(api: &Api, request: SettingsUpdate) -> Result<Vec<Command>, Refused> {
    let mut commands = Vec::new();
    if let Some(recipient) = request.recovery_recipient {
        if !is_recipient(&recipient) {
            let text = "this is no age recipient: `festoon-manager snapshots key` makes one";
            return Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-recipient", text));
        }
        let verifying_key = request.recovery_verifying_key.as_deref().and_then(|key| key.parse().ok());
        let Some(verifying_key) = verifying_key else {
            let text = "a new recovery_recipient needs the recovery_verifying_key of the same recovery key: \
                        `festoon-manager snapshots key` sends both";
            return Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-recipient", text));
        };
        commands.push(api.snapshots.new_recipient(&recipient)?);
        commands.push(Command::SetRecoveryKey(verifying_key));
    }
    match request.oidc {
        Some(Some(update)) => commands.push(provider(api, update)?),
        Some(None) => commands.push(OidcSettings::forget()),
        None => {}
    }
    Ok(commands)
}

fn provider(api: &Api, update: OidcUpdate) -> Result<Command, Refused> {
    let state = api.cluster.snapshot();
    let OidcUpdate { issuer, client_id, client_secret, scopes } = update;
    let before = api.accounts.oidc(&state)?.filter(|before| before.issuer == issuer && before.client_id == client_id);
    let client_secret = match client_secret {
        Some(secret) => Some(secret),
        None => before.and_then(|before| before.client_secret),
    };
    let settings = OidcSettings { issuer, client_id, client_secret, scopes };
    settings.check()?;
    Ok(settings.store(&api.vault, &state)?)
}

fn one(api: &Api) -> (ETag, Json<Settings>) {
    let state = api.cluster.snapshot();
    let recipient = api.vault.read(&state, &recovery_recipient()).ok();
    let recovery_recipient = recipient.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    let version = state.vault().changed();
    let oidc = api.accounts.oidc(&state).ok().flatten().map(|settings| Oidc {
        issuer: settings.issuer,
        client_id: settings.client_id,
        client_secret: settings.client_secret.is_some(),
        scopes: settings.scopes,
    });
    (ETag(version), Json(Settings { recovery_recipient, oidc, version: version.0 }))
}
