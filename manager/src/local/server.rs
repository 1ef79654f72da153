//! The end of the socket in the running manager.

use std::fs::{self, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path as UrlPath, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json, Router};
use festoon_control::compile::endpoint_map;
use festoon_control::registry::{
    AddClient, Addresses, Command, CreateToken, Outcome, RemoveEndpoint, TokenPreset, TwoOfAFamilyError, UnixMs,
    UpdateManager,
};
use festoon_proto::ManagerId;
use festoon_proto::map::EndpointMap;
use festoon_proto::token::{JoinToken, TokenKind, TokenSecret};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use super::api::{
    ClientRequest, DRAINING, Draining, ENDPOINTS, EVENTS, LEAVE, MANAGERS, ManagerRequest, NETWORKS, OWN_KEY, PROMOTE,
    RECOVERY_KEY, REJOIN, Removed, SNAPSHOT, SNAPSHOTS, STATUS, TOKENS, TokenRequest, TokenResponse,
};
use super::ca::{self, CA, CA_PROMOTE, CA_RETIRE, CA_ROTATE};
use super::{lookup, membership, networks, own_key, snapshots};
use crate::accounts::Caller;
use crate::api::Api;
use crate::certificate::Keeper;
use crate::cluster::{Cluster, ProposeError, unix_now};
use crate::driver::NodeHandle;
use crate::events::{self, Events};
use crate::https::{ApiJson, Refused};
use crate::metrics::{Requests, Way};
use crate::own_key::OwnKey;
use crate::snapshot::Snapshots;
use crate::status::{Page, Report, report};

/// How long a report waits for what only the leader of the registry knows.
const LEADER_LIMIT: Duration = Duration::from_millis(500);

/// The wish to leave the cluster, and who wants to know how that went.
pub type Leave = oneshot::Sender<Result<(), ProposeError>>;

/// What admin commands work on.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The registry.
    pub cluster: Cluster,
    /// The node; none on a witness.
    pub node: Option<NodeHandle>,
    /// Its snapshots.
    pub snapshots: Snapshots,
    /// This manager.
    pub manager: ManagerId,
    /// Takes the wish to leave the cluster.
    pub leave: mpsc::Sender<Leave>,
    /// Its keys and certificates.
    pub keeper: Keeper,
    /// What happened.
    pub events: Events,
    /// The key of its tunnels and links.
    pub own_key: OwnKey,
    /// The requests that are counted.
    pub requests: Requests,
}

/// Whoever may open the socket sees everything.
async fn list_events(
    Shared(admin): Shared<Admin>,
    Query(query): Query<events::http::Query>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    events::http::events(&admin.events, query, &headers, |_| true).await
}

/// The socket, bound.
#[derive(Debug)]
pub struct Server(UnixListener);

/// Binds the socket at `path`, in the place of one that an earlier run left. The caller holds the registry's lock, so no
/// other manager is behind it.
pub fn build(path: &Path) -> io::Result<Server> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Nobody gets in before the mode is set: the directory is its owner's alone.
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(Server(listener))
}

impl Server {
    /// Serves until it is dropped.
    pub async fn run(self, admin: Admin) -> io::Result<()> {
        let requests = admin.requests.clone();
        let routes = Router::new()
            .route(STATUS, get(status))
            .route(TOKENS, post(create_token))
            .route(NETWORKS, get(networks::list).post(networks::add))
            .route(&format!("{NETWORKS}/{{name}}"), post(networks::update))
            .route(ENDPOINTS, post(add_client))
            .route(&format!("{ENDPOINTS}/{{name}}"), delete(remove_endpoint))
            .route(&format!("{MANAGERS}/{{name}}"), post(update_manager).delete(remove_manager))
            .route(DRAINING, put(set_draining))
            .route(LEAVE, post(membership::leave))
            .route(PROMOTE, get(membership::may_promote).post(membership::promote))
            .route(REJOIN, post(membership::rejoin))
            .route(SNAPSHOT, get(snapshots::take))
            .route(SNAPSHOTS, get(snapshots::list).post(snapshots::keep))
            .route(&format!("{SNAPSHOTS}/{{name}}"), get(snapshots::read))
            .route(RECOVERY_KEY, put(snapshots::set_recovery_key))
            .route(CA, get(ca::show))
            .route(CA_ROTATE, post(ca::rotate))
            .route(CA_PROMOTE, post(ca::promote))
            .route(CA_RETIRE, post(ca::retire))
            .route(OWN_KEY, post(own_key::rotate))
            .route(EVENTS, get(list_events))
            .with_state(admin.clone())
            .merge(api(admin));
        let routes = requests.observe(routes, Way::Socket);
        axum::serve(self.0, routes).await
    }
}

/// The API, for whoever may open the socket.
fn api(Admin { cluster, node, manager, .. }: Admin) -> Router {
    crate::api::router(Api { cluster, node, manager }).layer(Extension(Caller::local(manager)))
}

async fn status(
    Shared(admin): Shared<Admin>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Report>, Refused> {
    let Query(page) = page.map_err(|error| Refused::new(StatusCode::BAD_REQUEST, "bad-request", &error.body_text()))?;
    let health = admin.cluster.health_of_leader(LEADER_LIMIT).await;
    let state = admin.cluster.snapshot();
    let node = match &admin.node {
        Some(node) => Some(node.status(page.ids(&state)).await?),
        None => None,
    };
    // A witness has none: it does not read the secrets that go with them.
    let snapshots = admin.node.as_ref().map(|_| admin.snapshots.standing());
    Ok(Json(Report { snapshots, ..report(&state, admin.manager, health, node.as_ref(), page) }))
}

async fn create_token(
    Shared(admin): Shared<Admin>,
    ApiJson(request): ApiJson<TokenRequest>,
) -> Result<Json<TokenResponse>, Refused> {
    let state = admin.cluster.snapshot();
    let (kind, network) = match request.manager {
        true => (TokenKind::Manager, None),
        false => (TokenKind::Endpoint, Some(lookup::network(&state, request.network.as_deref())?.id)),
    };
    let addresses = addresses(request.addresses)?;
    let secret = TokenSecret::from_bytes(rand::random());
    let now = unix_now();
    let expires = UnixMs(now.0.saturating_add(request.expires_s.saturating_mul(1000)));
    let command =
        CreateToken { hash: secret.hash(), kind, network, addresses, preset: TokenPreset::default(), now, expires };
    admin.cluster.propose(Command::CreateToken(command)).await?;
    let mut managers: Vec<_> = state.full_managers().collect();
    managers.sort_by_key(|manager| std::cmp::Reverse(manager.priority));
    let token = JoinToken {
        kind,
        cluster: state.cluster().ok_or_else(Refused::internal)?,
        managers: managers.iter().flat_map(|manager| manager.https.iter().copied()).collect(),
        ca_fingerprint: state.vault().issuer().ok_or_else(Refused::internal)?,
        secret,
    };
    Ok(Json(TokenResponse { token: token.to_secret_string(), expires_unix_ms: expires.0 }))
}

/// The addresses that an admin named.
fn addresses(given: Vec<IpAddr>) -> Result<Addresses, Refused> {
    let refuse =
        |error: TwoOfAFamilyError| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-address", &error.to_string());
    Addresses::new(given).map_err(refuse)
}

async fn add_client(
    Shared(admin): Shared<Admin>,
    ApiJson(request): ApiJson<ClientRequest>,
) -> Result<Json<EndpointMap>, Refused> {
    let network = lookup::network(&admin.cluster.snapshot(), request.network.as_deref())?.id;
    let (addresses, public_key) = (addresses(request.addresses)?, request.public_key);
    let command = AddClient {
        name: request.name,
        network,
        addresses,
        public_key,
        tags: Vec::new(),
        expires: None,
        now: unix_now(),
    };
    let Outcome::Endpoint(endpoint) = admin.cluster.propose(Command::AddClient(command)).await? else {
        return Err(Refused::internal());
    };
    // The others may have taken it just before this manager was cut off from them.
    endpoint_map(&admin.cluster.snapshot(), endpoint).map(Json).ok_or_else(|| {
        let text = format!(
            "endpoint {endpoint} was added, but this manager was cut off before it heard which addresses it has: remove it on another manager and add it there"
        );
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "endpoint-not-yet", &text)
    })
}

async fn remove_endpoint(
    Shared(admin): Shared<Admin>,
    UrlPath(name): UrlPath<String>,
) -> Result<Json<Removed>, Refused> {
    let state = admin.cluster.snapshot();
    let endpoint = lookup::endpoint(&state, &name)?;
    let command = RemoveEndpoint { endpoint: endpoint.id, now: unix_now() };
    admin.cluster.propose(Command::RemoveEndpoint(command)).await?;
    Ok(Json(Removed { id: endpoint.id.to_string(), name: endpoint.name.to_string() }))
}

async fn update_manager(
    Shared(admin): Shared<Admin>,
    UrlPath(name): UrlPath<String>,
    ApiJson(request): ApiJson<ManagerRequest>,
) -> Result<StatusCode, Refused> {
    let manager = lookup::manager(&admin.cluster.snapshot(), &name)?.id;
    let ManagerRequest { name, underlay, https, priority } = request;
    let command = UpdateManager { manager, name, underlay, https, priority, ..UpdateManager::of(manager) };
    admin.cluster.propose(Command::UpdateManager(command)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_manager(
    Shared(admin): Shared<Admin>,
    UrlPath(name): UrlPath<String>,
) -> Result<Json<Removed>, Refused> {
    let state = admin.cluster.snapshot();
    let manager = lookup::manager(&state, &name)?;
    membership::see_that_others_carry(&admin.cluster, manager.id).await?;
    admin.cluster.propose(Command::RemoveManager(manager.id)).await?;
    Ok(Json(Removed { id: manager.id.to_string(), name: manager.name.clone() }))
}

async fn set_draining(
    Shared(admin): Shared<Admin>,
    ApiJson(Draining { draining }): ApiJson<Draining>,
) -> Result<StatusCode, Refused> {
    let witness = || Refused::new(StatusCode::CONFLICT, "manager-is-witness", "a witness carries no endpoints");
    let node = admin.node.as_ref().ok_or_else(witness)?;
    let command = UpdateManager { is_draining: Some(draining), ..UpdateManager::of(admin.manager) };
    match admin.cluster.propose(Command::UpdateManager(command)).await {
        Err(ProposeError::NoQuorum { .. }) => {
            tracing::warn!(
                draining,
                "whether this manager is draining is not in the registry, which can't be changed now"
            );
            node.set_draining(draining).await?;
        }
        proposed => drop(proposed?),
    }
    Ok(StatusCode::NO_CONTENT)
}
