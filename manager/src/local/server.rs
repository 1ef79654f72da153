//! The end of the socket in the running manager.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::{Json, Router};
use festoon_control::registry::{Author, Change, Command, Outcome, Who};
use festoon_proto::ManagerId;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use super::opener::Opener;
use super::{ca, membership, own_key};
use crate::api::Api;
use crate::certificate::Keeper;
use crate::cluster::{Cluster, ProposeError};
use crate::driver::NodeHandle;
use crate::https::Refused;
use crate::https::route::{self, Serve as _};
use crate::metrics::{Requests, Way};
use crate::own_key::OwnKey;
use crate::snapshot::Snapshots;
use crate::status::{Page, Report, report};

/// How long a report waits for what only the leader of the registry knows.
const LEADER_LIMIT: Duration = Duration::from_millis(500);

/// The wish to leave the cluster.
#[derive(Debug)]
pub struct Leave {
    /// Whose wish it is.
    pub by: Author,
    /// How it went.
    pub reply: oneshot::Sender<Result<(), ProposeError>>,
}

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
    /// The API.
    pub api: Api,
    /// The key of its tunnels and links.
    pub own_key: OwnKey,
    /// The requests that are counted.
    pub requests: Requests,
}

impl Admin {
    /// Who is named in the audit log for what an opener of the socket does.
    pub(super) fn author(&self, Opener(user): Opener) -> Author {
        Author { who: Who::Local { manager: self.manager, user }, from: None }
    }

    /// Changes the registry as an opener of the socket wants it.
    pub(super) async fn propose(&self, opener: Opener, command: Command) -> Result<Outcome, ProposeError> {
        self.cluster.propose(Change { by: self.author(opener), ..command.into() }).await
    }
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
            .serve(route::STATUS, status)
            .serve(route::LEAVE, membership::leave)
            .serve(route::PROMOTION, membership::promotion)
            .serve(route::PROMOTE, membership::promote)
            .serve(route::REJOIN, membership::rejoin)
            .serve(route::CA, ca::show)
            .serve(route::CA_ROTATE, ca::rotate)
            .serve(route::CA_PROMOTE, ca::promote)
            .serve(route::CA_RETIRE, ca::retire)
            .serve(route::OWN_KEY, own_key::rotate)
            .with_state(admin.clone())
            .merge(crate::api::local_router(admin.api));
        let routes = requests.observe(routes, Way::Socket);
        axum::serve(self.0, routes.into_make_service_with_connect_info::<Opener>()).await
    }
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
