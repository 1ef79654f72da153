//! Logging in and out, and the first owner.

use std::net::{IpAddr, Ipv4Addr};

use axum::Json;
use axum::extract::{FromRequestParts, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use festoon_api::{CallerKind, LogIn, SetUp, SetUpSecret, User, Whoami};
use festoon_control::registry::{Command, State, Who};
use festoon_proto::SessionId;

use super::caller::unknown;
use super::change::Wanted;
use super::headers::ETag;
use super::view::{self, time};
use super::{Api, Caller};
use crate::accounts::{
    Attempt, CONFIRMED_MS, FirstOwner, LogInError, SetUpError, TooMany, cookie, parse_set_up, password::ComputeError,
    password::PasswordError, set_up_text,
};
use crate::https::{ApiJson, Peer, Refused};

/// From which address a request comes; from this machine over the admin socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct From(pub(super) IpAddr);

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let peer = parts.extensions.get::<Peer>();
        Ok(Self(peer.map_or(Ipv4Addr::LOCALHOST.into(), |peer| peer.remote.ip().to_canonical())))
    }
}

/// Makes the first owner, with the set-up secret that `festoon-manager init` showed.
#[utoipa::path(post, path = "/setup", tag = "session", security(()), request_body = SetUp,
    responses((status = 201, body = User, headers(("ETag" = String)))))]
pub(super) async fn set_up(
    Shared(api): Shared<Api>,
    From(from): From,
    ApiJson(request): ApiJson<SetUp>,
) -> Result<impl IntoResponse, Refused> {
    let secret = parse_set_up(request.secret.as_secret()).map_err(|error| {
        // A text that is cut off is worth another try; one that is none counts as one.
        Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-set-up-secret", &error.to_string())
    })?;
    let owner = FirstOwner { secret, name: request.name, password: request.password.into_secret(), from };
    let id = api.accounts.set_up(owner, api.cluster.now()).await?;
    tracing::info!(user = %id, "the cluster has its first owner");
    let state = api.cluster.snapshot();
    let user = state.user(id).ok_or_else(|| unknown("user", &id.to_string()))?;
    Ok((StatusCode::CREATED, ETag(user.changed), Json(view::user(user))))
}

/// Makes another set-up secret, in the place of the one before. Only while there is no owner, so only over the admin socket.
#[utoipa::path(post, path = "/setup/secret", tag = "session", responses((status = 201, body = SetUpSecret)))]
pub(super) async fn new_set_up_secret(Shared(api): Shared<Api>, caller: Caller) -> Result<impl IntoResponse, Refused> {
    let secret = api.accounts.new_set_up_secret(caller.author).await?;
    Ok((StatusCode::CREATED, Json(SetUpSecret { secret: set_up_text(&secret).to_string() })))
}

/// Logs in. The answer sets a cookie, which lasts for 12 hours.
#[utoipa::path(post, path = "/session", tag = "session", security(()), request_body = LogIn,
    responses((status = 201, body = Whoami, headers(("Set-Cookie" = String)))))]
pub(super) async fn log_in(
    Shared(api): Shared<Api>,
    From(from): From,
    headers: HeaderMap,
    ApiJson(request): ApiJson<LogIn>,
) -> Result<impl IntoResponse, Refused> {
    let LogIn { name, password, code } = request;
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default().to_owned();
    let (password, code) = (password.into_secret(), code.map(festoon_api::SecretText::into_secret));
    let logged_in = api.accounts.log_in(Attempt { name, password, code, from, agent }, api.cluster.now()).await?;
    let set = cookie::set(&logged_in.session, logged_in.lasts_s).ok_or_else(Refused::internal)?;
    let state = api.cluster.snapshot();
    let by = Who::User { user: logged_in.user, session: logged_in.session.id };
    let user = state.user(logged_in.user).ok_or_else(Refused::internal)?;
    let caller =
        Caller { author: festoon_control::registry::Author { who: by, from: Some(from) }, grant: user.grant.clone() };
    let csrf_token = Some(logged_in.session.secret.csrf_token());
    let whoami = Whoami { csrf_token, ..whoami(&state, &caller) };
    Ok((StatusCode::CREATED, AppendHeaders([(header::SET_COOKIE, set)]), Json(whoami)))
}

/// Who one is, and what one may do.
#[utoipa::path(get, path = "/session", tag = "session", responses((status = 200, body = Whoami)))]
pub(super) async fn show(Shared(api): Shared<Api>, caller: Caller, headers: HeaderMap) -> Json<Whoami> {
    let csrf_token = caller.session().and_then(|_| cookie::csrf_token(&headers));
    Json(Whoami { csrf_token, ..whoami(&api.cluster.snapshot(), &caller) })
}

/// Logs out: the cookie is good no more, at any manager.
#[utoipa::path(delete, path = "/session", tag = "session",
    responses((status = 204, headers(("Set-Cookie" = String)))))]
pub(super) async fn log_out(Shared(api): Shared<Api>, caller: Caller) -> Result<impl IntoResponse, Refused> {
    let none =
        || Refused::new(StatusCode::CONFLICT, "no-session", "this is no session: an API token is removed instead");
    let session = caller.session().ok_or_else(none)?;
    api.change(Wanted::new(&caller, Command::LogOut(session))).await?;
    Ok((StatusCode::NO_CONTENT, AppendHeaders([(header::SET_COOKIE, cookie::clear())])))
}

fn whoami(state: &State, caller: &Caller) -> Whoami {
    let (kind, expires) = match caller.author.who {
        Who::User { session, .. } => (CallerKind::User, state.session(session).map(|session| session.expires)),
        Who::ApiToken { token, .. } => (CallerKind::ApiToken, state.api_token(token).map(|token| token.expires)),
        _ => (CallerKind::Local, None),
    };
    let festoon_api::Grant { role, networks } = (&caller.grant).into();
    Whoami {
        kind,
        user: caller.user().map(Into::into),
        name: caller.user().and_then(|id| state.user(id)).map(|user| user.name.to_string()),
        session: caller.session().map(Into::into),
        api_token: match caller.author.who {
            Who::ApiToken { token, .. } => Some(token.into()),
            _ => None,
        },
        role,
        networks,
        expires: expires.map(time),
        confirmed_until: caller.session().and_then(|id| confirmed_until(state, id)),
        csrf_token: None,
    }
}

/// Until when a session counts as confirmed; none if it is not known when it was.
fn confirmed_until(state: &State, session: SessionId) -> Option<festoon_api::Time> {
    let confirmed = state.session(session)?.confirmed;
    (confirmed.0 > 0).then(|| time(confirmed.after(CONFIRMED_MS)))
}

impl std::convert::From<TooMany> for Refused {
    fn from(error: TooMany) -> Self {
        let again = error.retry_after.as_secs();
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-tries", &error.to_string()).retry_after(again)
    }
}

impl std::convert::From<ComputeError> for Refused {
    fn from(error: ComputeError) -> Self {
        match error {
            ComputeError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", &error.to_string()).retry_after(5),
            ComputeError::Failed => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "no-hash", &error.to_string()),
        }
    }
}

impl std::convert::From<PasswordError> for Refused {
    fn from(error: PasswordError) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-password", &error.to_string())
    }
}

impl std::convert::From<LogInError> for Refused {
    fn from(error: LogInError) -> Self {
        match error {
            LogInError::TooMany(error) => error.into(),
            LogInError::Compute(error) => error.into(),
            LogInError::Vault(error) => error.into(),
            LogInError::Propose(error) => error.into(),
            LogInError::Wrong => Self::new(StatusCode::UNAUTHORIZED, "log-in-wrong", &error.to_string()),
            LogInError::CodeNeeded => Self::new(StatusCode::UNAUTHORIZED, "code-needed", &error.to_string()),
        }
    }
}

impl std::convert::From<SetUpError> for Refused {
    fn from(error: SetUpError) -> Self {
        match error {
            SetUpError::TooMany(error) => error.into(),
            SetUpError::Password(error) => error.into(),
            SetUpError::Compute(error) => error.into(),
            SetUpError::Propose(error) => error.into(),
            SetUpError::Unexpected => Self::internal(),
        }
    }
}
