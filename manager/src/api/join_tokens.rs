//! Join tokens.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use festoon_api::{JoinToken, JoinTokenCreate, JoinTokenCreated, JoinTokenId, JoinTokenKind, Page};
use festoon_control::registry::{Command, CreateToken, Outcome, State, Subject, Token, TokenPreset, UnixMs};
use festoon_proto::NetworkId;
use festoon_proto::access::Role;
use festoon_proto::token::{JoinToken as Secret, TokenKind, TokenSecret};

use super::access::not_allowed;
use super::caller::{behind, unknown};
use super::change::Wanted;
use super::endpoints::addresses;
use super::headers::{ETag, IfMatch, Key};
use super::list::Paging;
use super::query::{ApiPath, ApiQuery};
use super::{Api, Caller, view};
use crate::https::{ApiJson, Refused};

/// How long a token is good if nobody says, in seconds.
const HOUR: u64 = 3600;

/// Join tokens that are remembered, by id: an expired one is for a week.
#[utoipa::path(get, path = "/join-tokens", tag = "join tokens", params(Paging),
    responses((status = 200, body = Page<JoinToken>)))]
pub(super) async fn list(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<Page<JoinToken>>, Refused> {
    let state = api.cluster.snapshot();
    let after: Option<JoinTokenId> = paging.after()?;
    let rest = state
        .join_tokens()
        .filter(|(id, token)| is_seen(&caller, token.network) && after.is_none_or(|after| *id > after.0));
    Ok(Json(paging.page(rest.map(|(id, token)| view::join_token(id, token)), |token| token.id)?))
}

/// Makes a join token. Its secret is in the answer, this once.
#[utoipa::path(post, path = "/join-tokens", tag = "join tokens", request_body = JoinTokenCreate,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = JoinTokenCreated, headers(("ETag" = String)))))]
pub(super) async fn create(
    Shared(api): Shared<Api>,
    caller: Caller,
    key: Key,
    ApiJson(request): ApiJson<JoinTokenCreate>,
) -> Result<impl IntoResponse, Refused> {
    let state = api.cluster.snapshot();
    let key = key.of(&caller, &state, &request);
    let secret = TokenSecret::from_bytes(rand::random());
    let command = command((&state, api.cluster.now()), &caller, request, &secret)?;
    let kind = command.kind;
    if kind == TokenKind::Manager {
        api.check_confirmed(&caller)?;
    }
    let Outcome::JoinToken(id) = api.change(Wanted::new(&caller, Command::CreateToken(command)).key(key)).await? else {
        return Err(Refused::internal());
    };
    let state = api.cluster.snapshot();
    let (hash, token) = state.join_token(id).ok_or_else(|| behind("join token", id))?;
    if hash != secret.hash() {
        let text =
            "this request was answered before, and the secret of its token can't be had again: make another token";
        return Err(Refused::new(StatusCode::CONFLICT, "secret-gone", text));
    }
    let secret = word(&state, kind, secret)?;
    let created = JoinTokenCreated { join_token: view::join_token(id, token), secret };
    Ok((StatusCode::CREATED, ETag(token.changed), Json(created)))
}

/// A join token, without its secret.
#[utoipa::path(get, path = "/join-tokens/{join_token}", tag = "join tokens", params(("join_token" = JoinTokenId, Path)),
    responses((status = 200, body = JoinToken, headers(("ETag" = String)))))]
pub(super) async fn show(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(JoinTokenId(id)): ApiPath<JoinTokenId>,
) -> Result<impl IntoResponse, Refused> {
    let state = api.cluster.snapshot();
    let token = one(&state, &caller, id)?;
    Ok((ETag(token.changed), Json(view::join_token(id, token))))
}

/// Removes a join token: it lets nobody in any more.
#[utoipa::path(delete, path = "/join-tokens/{join_token}", tag = "join tokens",
    params(("join_token" = JoinTokenId, Path), ("If-Match" = Option<String>, Header)), responses((status = 204)))]
pub(super) async fn remove(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(JoinTokenId(id)): ApiPath<JoinTokenId>,
    if_match: IfMatch,
) -> Result<StatusCode, Refused> {
    one(&api.cluster.snapshot(), &caller, id)?;
    let only_if = if_match.optional(Subject::JoinToken(id));
    api.change(Wanted::new(&caller, Command::RemoveToken(id)).only_if(only_if)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn one<'a>(state: &'a State, caller: &Caller, id: festoon_proto::JoinTokenId) -> Result<&'a Token, Refused> {
    let found = state.join_token(id).map(|(_, token)| token).filter(|token| is_seen(caller, token.network));
    found.ok_or_else(|| unknown("join-token", &id.to_string()))
}

/// A token for a manager is of no network, and for those who see to managers.
fn is_seen(caller: &Caller, network: Option<NetworkId>) -> bool {
    network.map_or_else(|| caller.may(Role::Admin, None), |network| caller.sees(network))
}

fn command(
    (state, now): (&State, UnixMs),
    caller: &Caller,
    request: JoinTokenCreate,
    secret: &TokenSecret,
) -> Result<CreateToken, Refused> {
    let (kind, network) = match request.kind {
        JoinTokenKind::Manager | JoinTokenKind::Witness if !caller.may(Role::Admin, None) => return Err(not_allowed()),
        JoinTokenKind::Manager | JoinTokenKind::Witness => (TokenKind::Manager, None),
        JoinTokenKind::Endpoint => {
            (TokenKind::Endpoint, Some(caller.network_named(state, request.network.as_deref())?.id))
        }
    };
    let preset = TokenPreset {
        name: request.name,
        is_reusable: request.reusable,
        tags: request.tags,
        is_ephemeral: request.ephemeral,
        is_for_witness: request.kind == JoinTokenKind::Witness,
    };
    let expires = now.after(request.expires_in_s.unwrap_or(HOUR).saturating_mul(1000));
    Ok(CreateToken {
        hash: secret.hash(),
        kind,
        network,
        addresses: addresses(request.addresses)?,
        preset,
        now,
        expires,
    })
}

/// The token as one word, with all that a new node needs to find the cluster.
fn word(state: &State, kind: TokenKind, secret: TokenSecret) -> Result<String, Refused> {
    let mut managers: Vec<_> = state.full_managers().collect();
    managers.sort_by_key(|manager| std::cmp::Reverse(manager.priority));
    let token = Secret {
        kind,
        cluster: state.cluster().ok_or_else(Refused::internal)?,
        managers: managers.iter().flat_map(|manager| manager.https.iter().copied()).collect(),
        ca_fingerprint: state.vault().issuer().ok_or_else(Refused::internal)?,
        secret,
    };
    Ok(token.to_secret_string())
}
