//! Where users are logged in.

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use festoon_api::{Page, Session, SessionId, UserId};
use festoon_control::registry::{Command, Session as Record};

use super::caller::unknown;
use super::change::Wanted;
use super::query::{ApiPath, parse};
use super::view::time;
use super::{Api, Caller};
use crate::https::Refused;

/// Where a user is logged in, the oldest session first. There are 16 at most.
#[utoipa::path(get, path = "/users/{user}/sessions", tag = "users", params(("user" = UserId, Path)),
    responses((status = 200, body = Page<Session>)))]
pub(super) async fn list(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(UserId(id)): ApiPath<UserId>,
) -> Result<Json<Page<Session>>, Refused> {
    let state = api.cluster.snapshot();
    caller.account(&state, id)?;
    Ok(Json(Page { items: state.sessions_of(id).map(|session| view(session, &caller)).collect(), next: None }))
}

/// Ends a session of a user.
#[utoipa::path(delete, path = "/users/{user}/sessions/{session}", tag = "users",
    params(("user" = UserId, Path), ("session" = SessionId, Path)), responses((status = 204)))]
pub(super) async fn end(
    Shared(api): Shared<Api>,
    caller: Caller,
    Path((user, session)): Path<(String, String)>,
) -> Result<StatusCode, Refused> {
    let (UserId(user), SessionId(session)) = (parse(&user)?, parse(&session)?);
    let state = api.cluster.snapshot();
    caller.account(&state, user)?;
    let found = state.session(session).filter(|found| found.user == user);
    let id = found.ok_or_else(|| unknown("session", &session.to_string()))?.id;
    api.change(Wanted::new(&caller, Command::LogOut(id))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all sessions of a user.
#[utoipa::path(delete, path = "/users/{user}/sessions", tag = "users", params(("user" = UserId, Path)),
    responses((status = 204)))]
pub(super) async fn end_all(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(UserId(id)): ApiPath<UserId>,
) -> Result<StatusCode, Refused> {
    caller.account(&api.cluster.snapshot(), id)?;
    api.change(Wanted::new(&caller, Command::LogOutAll(id))).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn view(session: &Record, caller: &Caller) -> Session {
    Session {
        id: session.id.into(),
        created: time(session.created),
        expires: time(session.expires),
        from: session.from,
        agent: session.agent.clone(),
        current: caller.session() == Some(session.id),
    }
}
