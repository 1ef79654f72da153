//! API tokens. Whoever is logged in sees to its own, an owner to all. A token is nobody's own and sees to none, or one that is
//! about to expire could make the next; only one with an owner's grant for all networks sees to all, as it does to users.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use festoon_api::{ApiToken, ApiTokenCreate, ApiTokenCreated, ApiTokenId, Grant, Page, UserId};
use festoon_control::registry::{ApiToken as Record, Command, CreateApiToken, Outcome, State, Subject, UnixMs, Who};
use festoon_proto::access::Grant as Granted;
use serde::Deserialize;

use super::access::not_allowed;
use super::caller::{behind, unknown};
use super::change::Wanted;
use super::headers::{ETag, IfMatch, Key};
use super::list::Paging;
use super::query::{ApiPath, ApiQuery};
use super::view::time;
use super::{Api, Caller};
use crate::accounts::{ApiTokenSecret, Secret};
use crate::https::{ApiJson, Refused};

/// How long a token is good if nobody says, in seconds: 90 days.
const USUAL_S: u64 = 90 * 24 * 3600;

/// Which tokens.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// How many, 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Those of this user.
    user: Option<UserId>,
}

impl Caller {
    /// Whether it may see to a token of this user.
    fn sees_to(&self, user: festoon_proto::UserId) -> bool {
        self.is_owner() || self.is_self(user)
    }

    fn api_token<'a>(&self, state: &'a State, id: festoon_proto::ApiTokenId) -> Result<&'a Record, Refused> {
        let token = state.api_token(id).filter(|token| self.sees_to(token.user));
        token.ok_or_else(|| unknown("api-token", &id.to_string()))
    }
}

/// API tokens that are remembered, by id: an expired one is for a week. Who is no owner sees its own.
#[utoipa::path(get, path = "/api-tokens", tag = "API tokens", params(Filter),
    responses((status = 200, body = Page<ApiToken>)))]
pub(super) async fn list(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiQuery(filter): ApiQuery<Filter>,
) -> Result<Json<Page<ApiToken>>, Refused> {
    let state = api.cluster.snapshot();
    let paging = Paging { limit: filter.limit, cursor: filter.cursor };
    let after = paging.after()?.map(|ApiTokenId(after)| after);
    let seen = state.api_tokens().filter(|token| caller.sees_to(token.user));
    let meant = seen.filter(|token| filter.user.is_none_or(|user| token.user == user.0));
    let rest = meant.filter(|token| after.is_none_or(|after| token.id > after));
    Ok(Json(paging.page(rest.map(view), |token| token.id)?))
}

/// Makes an API token. Its secret is in the answer, this once.
#[utoipa::path(post, path = "/api-tokens", tag = "API tokens", request_body = ApiTokenCreate,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = ApiTokenCreated, headers(("ETag" = String)))))]
pub(super) async fn create(
    Shared(api): Shared<Api>,
    caller: Caller,
    key: Key,
    ApiJson(request): ApiJson<ApiTokenCreate>,
) -> Result<impl IntoResponse, Refused> {
    let state = api.cluster.snapshot();
    let key = key.of(&caller, &state, &request);
    if request.sensitive {
        check_sensitive(&api, &caller)?;
    }
    let secret = Secret::generate();
    let command = command((&state, api.cluster.now()), &caller, request, &secret)?;
    let wanted = Wanted::new(&caller, Command::CreateApiToken(command)).key(key);
    let Outcome::ApiToken(id) = api.change(wanted).await? else { return Err(Refused::internal()) };
    let state = api.cluster.snapshot();
    let token = state.api_token(id).ok_or_else(|| behind("API token", id))?;
    if token.hash != secret.hash() {
        let text =
            "this request was answered before, and the secret of its token can't be had again: make another token";
        return Err(Refused::new(StatusCode::CONFLICT, "secret-gone", text));
    }
    let secret = ApiTokenSecret { id, secret }.to_secret_text().to_string();
    Ok((StatusCode::CREATED, ETag(token.changed), Json(ApiTokenCreated { api_token: view(token), secret })))
}

/// An API token, without its secret.
#[utoipa::path(get, path = "/api-tokens/{api_token}", tag = "API tokens", params(("api_token" = ApiTokenId, Path)),
    responses((status = 200, body = ApiToken, headers(("ETag" = String)))))]
pub(super) async fn show(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(ApiTokenId(id)): ApiPath<ApiTokenId>,
) -> Result<impl IntoResponse, Refused> {
    let state = api.cluster.snapshot();
    let token = caller.api_token(&state, id)?;
    Ok((ETag(token.changed), Json(view(token))))
}

/// Removes an API token: it is good no more.
#[utoipa::path(delete, path = "/api-tokens/{api_token}", tag = "API tokens",
    params(("api_token" = ApiTokenId, Path), ("If-Match" = Option<String>, Header)), responses((status = 204)))]
pub(super) async fn remove(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(ApiTokenId(id)): ApiPath<ApiTokenId>,
    if_match: IfMatch,
) -> Result<StatusCode, Refused> {
    caller.api_token(&api.cluster.snapshot(), id)?;
    let only_if = if_match.optional(Subject::ApiToken(id));
    api.change(Wanted::new(&caller, Command::RemoveApiToken(id)).only_if(only_if)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether a token may be made that does what a session has to be confirmed for. No token makes one: it would have no end.
fn check_sensitive(api: &Api, caller: &Caller) -> Result<(), Refused> {
    if matches!(caller.author.who, Who::ApiToken { .. }) {
        let text = "no API token makes a sensitive one: log in and make it yourself";
        return Err(Refused::new(StatusCode::FORBIDDEN, "needs-session", text));
    }
    api.check_confirmed(caller)
}

fn command(
    (state, now): (&State, UnixMs),
    caller: &Caller,
    request: ApiTokenCreate,
    secret: &Secret,
) -> Result<CreateApiToken, Refused> {
    let ApiTokenCreate { name, user, role, networks, sensitive, expires_in_s } = request;
    let nobody = || {
        let text = "say whose token it is to be: whoever asks is no user";
        Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-user", text)
    };
    let user = user.map(|UserId(user)| user).or(caller.user()).ok_or_else(nobody)?;
    if !caller.sees_to(user) {
        return Err(not_allowed());
    }
    let record = state.user(user).ok_or_else(|| unknown("user", &user.to_string()))?;
    let networks = networks.map_or_else(|| record.grant.networks.clone(), |networks| Grant::scope(Some(networks)));
    let grant = Granted { role: role.into(), networks };
    if !caller.may_give(&grant) {
        return Err(not_allowed());
    }
    let expires = now.after(expires_in_s.unwrap_or(USUAL_S).saturating_mul(1000));
    Ok(CreateApiToken { hash: secret.hash(), name, user, grant, is_sensitive: sensitive, now, expires })
}

fn view(token: &Record) -> ApiToken {
    let Grant { role, networks } = (&token.grant).into();
    ApiToken {
        id: token.id.into(),
        name: token.name.clone(),
        user: token.user.into(),
        role,
        networks,
        sensitive: token.is_sensitive,
        created: time(token.created),
        expires: time(token.expires),
        version: token.changed.0,
    }
}
