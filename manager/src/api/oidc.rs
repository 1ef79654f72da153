//! Logging in at an identity provider: the browser goes there and comes back.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use festoon_api::LogInWays;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Api;
use super::query::ApiQuery;
use super::session::From as Whence;
use crate::accounts::cookie;
use crate::accounts::oidc::{Answer, OidcError, OidcSettings, Pending, SettingsError};
use crate::https::Refused;

/// Where the browser is when it is in: our own pages.
const HOME: HeaderValue = HeaderValue::from_static("/");

/// How one may log in.
#[utoipa::path(get, path = "/session/ways", tag = "session", security(()), responses((status = 200, body = LogInWays)))]
pub(super) async fn ways(Shared(api): Shared<Api>) -> Json<LogInWays> {
    let state = api.cluster.snapshot();
    Json(LogInWays { set_up: state.has_owner(), oidc: OidcSettings::is_set(&state) })
}

/// What a login at the identity provider is for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Beginning {
    /// Whether it has to confirm who sits there: the provider asks then, also if the user is logged in there already.
    confirm: bool,
}

/// Sends a browser to the identity provider, to log in there.
#[utoipa::path(get, path = "/session/oidc", tag = "session", security(()), params(Beginning),
    responses((status = 303, headers(("Location" = String), ("Set-Cookie" = String)))))]
pub(super) async fn begin(
    Shared(api): Shared<Api>,
    Whence(from): Whence,
    headers: HeaderMap,
    ApiQuery(Beginning { confirm }): ApiQuery<Beginning>,
) -> Result<impl IntoResponse, Refused> {
    let begun = api.accounts.begin_oidc(&callback(&headers)?, from, confirm, api.cluster.now()).await?;
    let cookie = begun.pending.set_cookie().ok_or_else(Refused::internal)?;
    let to = HeaderValue::from_str(&begun.to).map_err(|_| Refused::internal())?;
    Ok(see_other(to, [cookie]))
}

/// What the provider sends the browser back with. It may say more.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Returned {
    /// What the login is finished with.
    code: Option<String>,
    /// What the provider was given.
    state: Option<String>,
    /// Why it refuses.
    error: Option<String>,
}

/// Where the identity provider sends a browser back to. It is logged in then, if it is the one that began, and somebody here is
/// linked to the identity.
#[utoipa::path(get, path = "/session/oidc/callback", tag = "session", security(()), params(Returned),
    responses((status = 303, headers(("Location" = String), ("Set-Cookie" = String)))))]
pub(super) async fn finish(
    Shared(api): Shared<Api>,
    Whence(from): Whence,
    headers: HeaderMap,
    ApiQuery(returned): ApiQuery<Returned>,
) -> Result<impl IntoResponse, Refused> {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default().to_owned();
    let answer = Answer {
        pending: Pending::find(&headers),
        code: returned.code.map(Zeroizing::new),
        state: returned.state,
        error: returned.error,
        callback: callback(&headers)?,
        from,
        agent,
    };
    let logged_in = api.accounts.finish_oidc(answer, api.cluster.now()).await?;
    let cookie = cookie::set(&logged_in.session, logged_in.lasts_s).ok_or_else(Refused::internal)?;
    Ok(see_other(HOME, [cookie, Pending::clear_cookie()]))
}

fn see_other<const N: usize>(to: HeaderValue, cookies: [HeaderValue; N]) -> Response {
    let cookies = cookies.map(|cookie| (header::SET_COOKIE, cookie));
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)], AppendHeaders(cookies)).into_response()
}

/// Under the name that the browser called us by, which is one of ours: that has been checked.
fn callback(headers: &HeaderMap) -> Result<String, Refused> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.ok_or_else(|| Refused::new(StatusCode::BAD_REQUEST, "bad-request", "there is no Host"))?;
    Ok(format!("https://{host}{}/session/oidc/callback", festoon_api::BASE))
}

impl From<SettingsError> for Refused {
    fn from(error: SettingsError) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-oidc", &error.to_string())
    }
}

impl From<OidcError> for Refused {
    fn from(error: OidcError) -> Self {
        let text = error.to_string();
        match error {
            OidcError::TooMany(error) => error.into(),
            OidcError::Vault(error) => error.into(),
            OidcError::Settings(error) => error.into(),
            OidcError::Propose(error) => error.into(),
            OidcError::None => Self::new(StatusCode::CONFLICT, "no-oidc", &text),
            OidcError::NotBegun => Self::new(StatusCode::FORBIDDEN, "oidc-not-begun", &text),
            OidcError::Refused(_) => Self::new(StatusCode::FORBIDDEN, "oidc-refused", &text),
            OidcError::Unknown(_) => Self::new(StatusCode::FORBIDDEN, "identity-unknown", &text),
            OidcError::Provider(_) => {
                tracing::warn!(%error, "a login failed");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "oidc-provider", &text)
            }
        }
    }
}
