//! The end of the socket in the running manager.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use festoon_control::registry::{Command, UpdateManager};
use festoon_proto::ManagerId;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use super::api::{
    DRAINING, Draining, EVENTS, LEAVE, OWN_KEY, PROMOTE, RECOVERY_KEY, REJOIN, SNAPSHOT, SNAPSHOTS, STATUS,
};
use super::ca::{self, CA, CA_PROMOTE, CA_RETIRE, CA_ROTATE};
use super::{membership, own_key, snapshots};
use crate::accounts::Caller;
use crate::api::Api;
use crate::certificate::Keeper;
use crate::cluster::{Cluster, ProposeError};
use crate::driver::NodeHandle;
use crate::events::{self, Events};
use crate::https::{ApiJson, Refused};
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
        let routes = Router::new()
            .route(STATUS, get(status))
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
