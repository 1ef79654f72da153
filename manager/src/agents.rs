//! What agents ask over HTTPS: to be let in, for their map, for a new key, to leave.

mod copies;
mod limits;

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::{Extension, Json, Router};
use festoon_control::compile::endpoint_map;
use festoon_control::registry::{
    Author, Change, Command, Endpoint, JoinEndpoint, OfferRoutes, Outcome, RemoveEndpoint, RotateEndpointKey, State,
    UnixMs, Who,
};
use festoon_proto::EndpointId;
use festoon_proto::epoch::EpochProof;
use festoon_proto::http::{Credential, JoinRequest, JoinResponse, OfferRequest, RotateRequest};
use festoon_proto::map::EndpointMap;
use festoon_proto::token::SecretHash;
use ipnet::IpNet;
use limits::{Limits, Use};
use tokio::sync::Semaphore;

use crate::certificate::Told;
use crate::cluster::Cluster;
use crate::https::route::{self, Serve as _};
use crate::https::{ApiJson, Holder, Peer, Refused};

pub use copies::Copies;

#[derive(Debug, Clone)]
struct Agents {
    cluster: Cluster,
    told: Told,
    limits: Limits,
    unproved: Arc<Semaphore>,
    copies: Copies,
}

/// An endpoint that proved who it is, and may ask for something now.
struct Asking {
    state: Arc<State>,
    endpoint: Endpoint,
    /// The hash of the credential that it showed.
    shown: SecretHash,
}

/// How many requests whose credential is not known here are looked into at once.
const UNPROVED: usize = 64;

impl Agents {
    /// Changes the registry as somebody wants it who is at the other end of a connection.
    async fn propose(&self, who: Who, peer: &Peer, command: Command) -> Result<Outcome, Refused> {
        let by = Author { who, from: Some(peer.remote.ip().to_canonical()) };
        let change = Change { command, by, at: UnixMs::default(), only_if: None, key: None };
        Ok(self.cluster.propose(change).await?)
    }

    /// The endpoint whose credential the request carries, if it may ask for anything now, and the state that knows it. One that
    /// is disabled may not, nor one whose time is over, whether or not the registry has noticed yet.
    async fn asking(&self, peer: &Peer, headers: &HeaderMap) -> Result<Asking, Refused> {
        let (state, id, shown) = self.authenticate(peer, headers).await?;
        self.limits.take(id, Use::Request)?;
        let endpoint = state.endpoint(id).cloned().ok_or_else(not_sure)?;
        if endpoint.expires().is_some_and(|at| at <= self.cluster.now()) {
            return Err(unauthorized(NO_ENDPOINT));
        }
        if endpoint.is_enabled { Ok(Asking { state, endpoint, shown }) } else { Err(disabled()) }
    }

    /// The endpoint whose credential the request carries, and the state that knows it.
    ///
    /// Whoever shows no credential that is good learns nothing of any endpoint: the answer is the same, and is found in the
    /// same way, whether the endpoint that it names exists, was removed, is disabled, or never was. An agent that is told 401
    /// believes that it was removed. So a manager says that only once it has all that the leader has, for it may not have
    /// heard yet of an endpoint that joined at another.
    async fn authenticate(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
    ) -> Result<(Arc<State>, EndpointId, SecretHash), Refused> {
        let credential = credential_of(headers)?;
        let (endpoint, hash) = (credential.endpoint, credential.hash());
        let mut state = self.cluster.snapshot();
        if !is_of(&state, endpoint, &hash) {
            let _turn = self.unproved.try_acquire().map_err(|_| not_sure())?;
            state = self.cluster.confirmed().await.ok_or_else(not_sure)?;
            if was_of(&state, endpoint, &hash) {
                self.copies.note(&state, endpoint, peer.remote.ip().to_canonical());
                return Err(replaced());
            }
            if !is_of(&state, endpoint, &hash) {
                return Err(unauthorized(NO_ENDPOINT));
            }
        }
        peer.prove(Holder::Endpoint(endpoint, hash));
        Ok((state, endpoint, hash))
    }

    /// Changes the registry as an endpoint wants it, unless it does so too often: a change costs every manager.
    async fn change(&self, endpoint: EndpointId, peer: &Peer, command: Command) -> Result<(), Refused> {
        self.limits.take(endpoint, Use::Change)?;
        self.propose(Who::Endpoint(endpoint), peer, command).await.map(drop)
    }
}

/// The routes under `/agent/v1/`. Keeps in `told` who knows of the next CA, and tells in `copies` of endpoints that somebody
/// else holds the keys of.
pub fn router(cluster: Cluster, told: Told, copies: Copies) -> Router {
    let unproved = Arc::new(Semaphore::new(UNPROVED));
    Router::new()
        .serve(route::AGENT_JOIN, join)
        .serve(route::AGENT_MAP, map)
        .serve(route::AGENT_EPOCH, epoch)
        .serve(route::AGENT_ROTATE, rotate_key)
        .serve(route::AGENT_ROUTES, offer)
        .serve(route::AGENT_LEAVE, leave)
        .with_state(Agents { cluster, told, limits: Limits::default(), unproved, copies })
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
        now: agents.cluster.now(),
    };
    let Outcome::Endpoint(endpoint) = agents.propose(Who::Newcomer, &peer, Command::JoinEndpoint(command)).await?
    else {
        return Err(Refused::internal());
    };
    tracing::info!(%endpoint, remote = %peer.remote, "an endpoint joined");
    let map = map_of(&agents.cluster.snapshot(), endpoint)?;
    peer.prove(Holder::Endpoint(endpoint, request.credential_hash));
    agents.told.note(&map);
    Ok(Json(JoinResponse { map }))
}

async fn map(
    Shared(agents): Shared<Agents>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Json<EndpointMap>, Refused> {
    let Asking { state, endpoint: Endpoint { id: endpoint, .. }, .. } = agents.asking(&peer, &headers).await?;
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
    let Asking { endpoint, shown, .. } = agents.asking(&peer, &headers).await?;
    let (now, new_key, credential) = (agents.cluster.now(), request.public_key, Some(request.credential_hash));
    // One that can't reach its managers asks to be sure. That need not go through the log.
    if (endpoint.public_key, endpoint.credential) == (new_key, credential) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let overlap_until = now.after(u64::from(request.overlap_s) * 1000);
    let endpoint = endpoint.id;
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
    let Asking { endpoint, .. } = agents.asking(&peer, &headers).await?;
    // Said again, as after an answer that was lost. That need not go through the log either.
    if offers(&endpoint, &prefixes) {
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
    let Asking { endpoint: Endpoint { id: endpoint, .. }, .. } = agents.asking(&peer, &headers).await?;
    let command = Command::RemoveEndpoint(RemoveEndpoint { endpoint, now: agents.cluster.now() });
    agents.change(endpoint, &peer, command).await?;
    tracing::info!(%endpoint, "an endpoint left");
    Ok(StatusCode::NO_CONTENT)
}

const NO_ENDPOINT: &str =
    "no endpoint has this credential: it may have been removed from the cluster. Join this host again with a new token";

/// What the request shows, which need not be anybody's.
fn credential_of(headers: &HeaderMap) -> Result<Credential, Refused> {
    let credential = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credential = credential.and_then(|value| value.strip_prefix("Bearer "));
    let credential = credential.ok_or_else(|| unauthorized("this needs the credential of an endpoint"))?;
    credential.parse().map_err(|_| unauthorized("what was sent is not the credential of an endpoint"))
}

fn is_of(state: &State, endpoint: EndpointId, hash: &SecretHash) -> bool {
    state.endpoint(endpoint).is_some_and(|endpoint| endpoint.credential.as_ref() == Some(hash))
}

/// Whether the endpoint had this credential before the one of now.
fn was_of(state: &State, endpoint: EndpointId, hash: &SecretHash) -> bool {
    state.endpoint(endpoint).is_some_and(|endpoint| endpoint.former_credential() == Some(*hash))
}

fn unauthorized(text: &str) -> Refused {
    Refused::new(StatusCode::UNAUTHORIZED, "bad-credential", text)
}

fn replaced() -> Refused {
    let text = "the key and credential of this endpoint were replaced. If this host is a copy of another, stop the agent here. If it \
                is the right one, somebody else has used its keys: have an admin remove the endpoint, then run `festoon leave \
                --force` and join again with a new token";
    Refused::new(StatusCode::UNAUTHORIZED, "credential-replaced", text)
}

fn not_sure() -> Refused {
    let text = "this manager cannot check the credential now: no majority of the managers answers, or too many requests wait. Ask \
                again soon, or ask another manager";
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "credential-not-checked", text).retry_after(1)
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
