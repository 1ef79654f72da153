//! What agents ask over HTTPS: to be let in, for their map, for a new key, to leave.

mod limits;

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
use festoon_proto::epoch::EpochProof;
use festoon_proto::http::{
    AGENT_EPOCH, AGENT_JOIN, AGENT_LEAVE, AGENT_MAP, AGENT_ROTATE, AGENT_ROUTES, Credential, JoinRequest, JoinResponse,
    OfferRequest, RotateRequest,
};
use festoon_proto::map::EndpointMap;
use ipnet::IpNet;
use limits::{Limits, Use};

use crate::certificate::Told;
use crate::cluster::{Cluster, unix_now};
use crate::https::{ApiJson, Peer, Refused};

#[derive(Debug, Clone)]
struct Agents {
    cluster: Cluster,
    told: Told,
    limits: Limits,
}

impl Agents {
    /// Changes the registry as somebody wants it who is at the other end of a connection.
    async fn propose(&self, who: Who, peer: &Peer, command: Command) -> Result<Outcome, Refused> {
        let by = Author { who, from: Some(peer.remote.ip().to_canonical()) };
        let change = Change { command, by, at: UnixMs::default(), only_if: None, key: None };
        Ok(self.cluster.propose(change).await?)
    }

    /// The endpoint whose credential the request carries, if it may ask for anything now. One that is disabled may not, nor
    /// one whose time is over, whether or not the registry has noticed yet.
    fn asking<'a>(&self, state: &'a State, headers: &HeaderMap) -> Result<&'a Endpoint, Refused> {
        let endpoint = authenticate(state, headers)?;
        self.limits.take(endpoint.id, Use::Request)?;
        if endpoint.expires().is_some_and(|at| at <= unix_now()) {
            return Err(removed());
        }
        if endpoint.is_enabled { Ok(endpoint) } else { Err(disabled()) }
    }

    /// Changes the registry as an endpoint wants it, unless it does so too often: a change costs every manager.
    async fn change(&self, endpoint: EndpointId, peer: &Peer, command: Command) -> Result<(), Refused> {
        self.limits.take(endpoint, Use::Change)?;
        self.propose(Who::Endpoint(endpoint), peer, command).await.map(drop)
    }
}

/// The routes under `/agent/v1/`. Keeps in `told` who knows of the next CA.
pub fn router(cluster: Cluster, told: Told) -> Router {
    Router::new()
        .route(AGENT_JOIN, post(join))
        .route(AGENT_MAP, get(map))
        .route(AGENT_EPOCH, get(epoch))
        .route(AGENT_ROTATE, post(rotate_key))
        .route(AGENT_ROUTES, put(offer))
        .route(AGENT_LEAVE, post(leave))
        .with_state(Agents { cluster, told, limits: Limits::default() })
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

async fn map(Shared(agents): Shared<Agents>, headers: HeaderMap) -> Result<Json<EndpointMap>, Refused> {
    let state = agents.cluster.snapshot();
    let endpoint = agents.asking(&state, &headers)?.id;
    let map = map_of(&state, endpoint)?;
    agents.told.note(&map);
    Ok(Json(map))
}

/// Nothing secret: whoever asks has seen a certificate of the cluster, and wants to know whether its managers were all replaced.
async fn epoch(Shared(agents): Shared<Agents>) -> Json<Option<EpochProof>> {
    Json(agents.cluster.snapshot().epoch().began)
}

async fn rotate_key(
    Shared(agents): Shared<Agents>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    ApiJson(request): ApiJson<RotateRequest>,
) -> Result<StatusCode, Refused> {
    let state = agents.cluster.snapshot();
    let Endpoint { id: endpoint, public_key, .. } = *agents.asking(&state, &headers)?;
    // One that can't reach its managers asks to be sure. That need not go through the log.
    if public_key == request.public_key {
        return Ok(StatusCode::NO_CONTENT);
    }
    let (now, new_key) = (unix_now(), request.public_key);
    let overlap_until = now.after(u64::from(request.overlap_s) * 1000);
    let command = RotateEndpointKey { endpoint, new_key, now, overlap_until };
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
    let state = agents.cluster.snapshot();
    let endpoint = agents.asking(&state, &headers)?;
    // Said again, as after an answer that was lost. That need not go through the log either.
    if offers(endpoint, &prefixes) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let endpoint = endpoint.id;
    agents.change(endpoint, &peer, Command::OfferRoutes(OfferRoutes { endpoint, prefixes })).await?;
    tracing::info!(%endpoint, "an endpoint offers other routes");
    Ok(StatusCode::NO_CONTENT)
}

/// Whether an endpoint offers these routes already, and no others.
fn offers(endpoint: &Endpoint, prefixes: &[IpNet]) -> bool {
    let is_offered = |prefix: &IpNet| endpoint.routes().iter().any(|route| route.prefix == *prefix);
    endpoint.routes().len() == prefixes.len() && prefixes.iter().all(is_offered)
}

async fn leave(
    Shared(agents): Shared<Agents>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let endpoint = agents.asking(&agents.cluster.snapshot(), &headers)?.id;
    let command = Command::RemoveEndpoint(RemoveEndpoint { endpoint, now: unix_now() });
    agents.change(endpoint, &peer, command).await?;
    tracing::info!(%endpoint, "an endpoint left");
    Ok(StatusCode::NO_CONTENT)
}

/// The endpoint whose credential the request carries.
///
/// An agent that is told 401 or 410 believes that it was removed. A manager that lags behind must not say so of an
/// endpoint it has not heard of yet.
fn authenticate<'a>(state: &'a State, headers: &HeaderMap) -> Result<&'a Endpoint, Refused> {
    let unauthorized = |text| Refused::new(StatusCode::UNAUTHORIZED, "bad-credential", text);
    let credential = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credential = credential.and_then(|value| value.strip_prefix("Bearer "));
    let credential = credential.ok_or_else(|| unauthorized("this needs the credential of an endpoint"))?;
    let credential: Credential =
        credential.parse().map_err(|_| unauthorized("this is no credential of an endpoint"))?;
    let Some(endpoint) = state.endpoint(credential.endpoint) else {
        return Err(if state.was_given(credential.endpoint) { removed() } else { not_yet() });
    };
    if endpoint.credential == Some(credential.hash()) {
        Ok(endpoint)
    } else {
        Err(unauthorized("this is not the credential of that endpoint"))
    }
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
