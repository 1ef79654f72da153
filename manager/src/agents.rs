//! What agents ask over HTTPS: to be let in, for their map, for a new key, to leave.

mod copies;

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use festoon_control::compile::endpoint_map;
use festoon_control::registry::{
    Author, Change, Command, Endpoint, JoinEndpoint, OfferRoutes, Outcome, RemoveEndpoint, RotateEndpointKey, State,
    UnixMs, Who,
};
use festoon_proto::EndpointId;
use festoon_proto::http::{
    AGENT_JOIN, AGENT_LEAVE, AGENT_MAP, AGENT_ROTATE, AGENT_ROUTES, Credential, JoinRequest, JoinResponse,
    OfferRequest, RotateRequest,
};
use festoon_proto::map::EndpointMap;
use festoon_proto::token::SecretHash;

use crate::certificate::Told;
use crate::cluster::{Cluster, unix_now};
use crate::https::{ApiJson, Peer, Refused};

pub use copies::Copies;

#[derive(Debug, Clone)]
struct Agents {
    cluster: Cluster,
    told: Told,
    copies: Copies,
}

/// An endpoint that proved who it is.
struct Known {
    state: Arc<State>,
    endpoint: EndpointId,
    /// The hash of the credential that it showed.
    shown: SecretHash,
}

impl Agents {
    /// The endpoint whose credential the request carries.
    fn authenticate(&self, peer: &Peer, headers: &HeaderMap) -> Result<Known, Refused> {
        let state = self.cluster.snapshot();
        let credential = credential_of(headers)?;
        let (endpoint, shown) = (credential.endpoint, credential.hash());
        match check(&state, &credential)? {
            Shown::Current => Ok(Known { state, endpoint, shown }),
            Shown::Former => {
                self.copies.note(&state, endpoint, peer.remote.ip().to_canonical());
                Err(replaced())
            }
        }
    }

    /// Changes the registry as somebody wants it who is at the other end of a connection.
    async fn propose(&self, who: Who, peer: &Peer, command: Command) -> Result<Outcome, Refused> {
        let by = Author { who, from: Some(peer.remote.ip().to_canonical()) };
        let change = Change { command, by, at: UnixMs::default(), only_if: None, key: None };
        Ok(self.cluster.propose(change).await?)
    }

    async fn change(&self, endpoint: EndpointId, peer: &Peer, command: Command) -> Result<(), Refused> {
        self.propose(Who::Endpoint(endpoint), peer, command).await.map(drop)
    }
}

/// The routes under `/agent/v1/`. Keeps in `told` who knows of the next CA, and tells in `copies` of endpoints that somebody
/// else holds the keys of.
pub fn router(cluster: Cluster, told: Told, copies: Copies) -> Router {
    Router::new()
        .route(AGENT_JOIN, post(join))
        .route(AGENT_MAP, get(map))
        .route(AGENT_ROTATE, post(rotate_key))
        .route(AGENT_ROUTES, put(offer))
        .route(AGENT_LEAVE, post(leave))
        .with_state(Agents { cluster, told, copies })
}

async fn join(
    Shared(agents): Shared<Agents>,
    Extension(peer): Extension<Peer>,
    ApiJson(request): ApiJson<JoinRequest>,
) -> Result<Json<JoinResponse>, Refused> {
    let command = JoinEndpoint {
        token: request.secret.hash(),
        public_key: request.public_key,
        credential: request.credential_hash,
        // The registry makes a name of it; it need not keep more than a name's worth.
        name: request.name.chars().take(253).collect(),
        now: unix_now(),
    };
    let Outcome::Endpoint(endpoint) = agents.propose(Who::Newcomer, &peer, Command::JoinEndpoint(command)).await?
    else {
        return Err(Refused::internal());
    };
    tracing::info!(%endpoint, remote = %peer.remote, "an endpoint joined");
    let map = map_of(&agents.cluster.snapshot(), endpoint)?;
    agents.told.note(&map);
    Ok(Json(JoinResponse { map }))
}

async fn map(
    Shared(agents): Shared<Agents>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Json<EndpointMap>, Refused> {
    let Known { state, endpoint, .. } = agents.authenticate(&peer, &headers)?;
    let map = map_of(&state, endpoint)?;
    agents.told.note(&map);
    Ok(Json(map))
}

async fn rotate_key(
    Shared(agents): Shared<Agents>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    ApiJson(request): ApiJson<RotateRequest>,
) -> Result<StatusCode, Refused> {
    let Known { state, endpoint, shown } = agents.authenticate(&peer, &headers)?;
    let (now, new_key, credential) = (unix_now(), request.public_key, Some(request.credential_hash));
    // One that can't reach its managers asks to be sure. That need not go through the log.
    let is_done = |endpoint: &Endpoint| (endpoint.public_key, endpoint.credential) == (new_key, credential);
    if state.endpoint(endpoint).is_some_and(is_done) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let overlap_until = now.after(u64::from(request.overlap_s) * 1000);
    let command = RotateEndpointKey { endpoint, shown: Some(shown), new_key, credential, now, overlap_until };
    agents.change(endpoint, &peer, Command::RotateEndpointKey(command)).await?;
    tracing::info!(%endpoint, public_key = %new_key, "an endpoint has a new key");
    Ok(StatusCode::NO_CONTENT)
}

async fn offer(
    Shared(agents): Shared<Agents>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    ApiJson(OfferRequest { prefixes }): ApiJson<OfferRequest>,
) -> Result<StatusCode, Refused> {
    let Known { endpoint, .. } = agents.authenticate(&peer, &headers)?;
    agents.change(endpoint, &peer, Command::OfferRoutes(OfferRoutes { endpoint, prefixes })).await?;
    tracing::info!(%endpoint, "an endpoint offers other routes");
    Ok(StatusCode::NO_CONTENT)
}

async fn leave(
    Shared(agents): Shared<Agents>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let Known { endpoint, .. } = agents.authenticate(&peer, &headers)?;
    let command = Command::RemoveEndpoint(RemoveEndpoint { endpoint, now: unix_now() });
    agents.change(endpoint, &peer, command).await?;
    tracing::info!(%endpoint, "an endpoint left");
    Ok(StatusCode::NO_CONTENT)
}

/// What a credential is worth.
enum Shown {
    /// It is the endpoint's.
    Current,
    /// It was, until the endpoint got another.
    Former,
}

fn unauthorized(text: &str) -> Refused {
    Refused::new(StatusCode::UNAUTHORIZED, "bad-credential", text)
}

fn credential_of(headers: &HeaderMap) -> Result<Credential, Refused> {
    let credential = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credential = credential.and_then(|value| value.strip_prefix("Bearer "));
    let credential = credential.ok_or_else(|| unauthorized("this needs the credential of an endpoint"))?;
    credential.parse().map_err(|_| unauthorized("this is no credential of an endpoint"))
}

/// What this credential is worth.
///
/// An agent that is told 401 or 410 believes that it was removed. A manager that lags behind must not say so of an
/// endpoint it has not heard of yet.
fn check(state: &State, credential: &Credential) -> Result<Shown, Refused> {
    let Some(endpoint) = state.endpoint(credential.endpoint) else {
        return Err(if state.was_given(credential.endpoint) { removed() } else { not_yet() });
    };
    let shown = Some(credential.hash());
    match (endpoint.credential == shown, endpoint.former_credential() == shown) {
        (true, _) => Ok(Shown::Current),
        (_, true) => Ok(Shown::Former),
        _ => Err(unauthorized("this is not the credential of that endpoint")),
    }
}

fn replaced() -> Refused {
    let text = "this endpoint has another key and credential by now. If this host is a copy of it, stop the agent here. If it \
                is the right one, somebody else used its keys: have an admin remove the endpoint, then run `festoon leave \
                --force` and join again with a new token";
    Refused::new(StatusCode::UNAUTHORIZED, "credential-replaced", text)
}

fn removed() -> Refused {
    let text = "this endpoint was removed from the cluster: join it again with a new token";
    Refused::new(StatusCode::GONE, "endpoint-removed", text)
}

fn not_yet() -> Refused {
    let text = "this manager has not heard of this endpoint yet: ask again soon, or ask another manager";
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "endpoint-not-yet", text)
}

fn map_of(state: &State, id: EndpointId) -> Result<EndpointMap, Refused> {
    match state.endpoint(id) {
        Some(endpoint) if !endpoint.is_enabled => Err(disabled()),
        _ => endpoint_map(state, id).ok_or_else(not_yet),
    }
}

fn disabled() -> Refused {
    let text = "an admin has disabled this endpoint: it keeps its addresses and comes back when it is enabled again";
    Refused::new(StatusCode::FORBIDDEN, "endpoint-disabled", text)
}
