//! What managers ask each other over HTTPS.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use festoon_control::registry::{Command, FORMAT, JoinManager, ManagerRole, ManagerSpec, Outcome, State};
use festoon_proto::ManagerId;
use festoon_proto::http::{CLUSTER_JOIN, ManagerJoinRequest, ManagerJoinResponse};
use serde::{Deserialize, Serialize};

use super::{Cluster, Parts, Proposer, Store, unix_now};
use crate::https::{ApiJson, Peer, Refused};
use crate::pki::{Authority, SigningRequest, manager_of};

/// `GET`, managers only: the log behind `after`. With `wait`, waits a while if there is nothing yet.
pub(super) const LOG: &str = "/cluster/v1/log";
/// `POST`, managers only: a proposal for the writer.
pub(super) const PROPOSE: &str = "/cluster/v1/propose";
/// How long [`LOG`] waits.
pub(super) const LOG_HOLD: Duration = Duration::from_secs(5);
/// Entries in one answer of [`LOG`].
pub(super) const LOG_LIMIT: usize = 4096;

/// The kind of problem that another manager may not have.
pub const NOT_WRITER: &str = "not-writer";

#[derive(Debug, Clone)]
struct Routes {
    cluster: Cluster,
    store: Arc<Store>,
    authority: Option<Arc<Authority>>,
}

/// The routes under `/cluster/v1/`.
pub fn router(parts: &Parts) -> Router {
    let routes =
        Routes { cluster: parts.cluster.clone(), store: Arc::clone(&parts.store), authority: parts.authority.clone() };
    Router::new().route(LOG, get(log)).route(PROPOSE, post(propose)).route(CLUSTER_JOIN, post(join)).with_state(routes)
}

/// The manager that asks, if it is one and still belongs to the cluster.
fn authenticate(peer: &Peer, state: &State) -> Result<ManagerId, Refused> {
    let managers = state.managers().map(|manager| manager.id);
    peer.certificate.as_ref().and_then(|certificate| manager_of(certificate, managers)).ok_or_else(|| {
        Refused::new(
            StatusCode::FORBIDDEN,
            "not-a-manager",
            "only managers of this cluster may ask this: one that was removed must be stopped",
        )
    })
}

fn not_writer() -> Refused {
    let text = "this manager does not write the registry: ask the first manager of the cluster";
    Refused::new(StatusCode::MISDIRECTED_REQUEST, NOT_WRITER, text)
}

fn encoded<T: Serialize>(value: &T) -> Result<Response, Refused> {
    postcard::to_stdvec(value).map(IntoResponse::into_response).map_err(|_| Refused::internal())
}

#[derive(Debug, Deserialize)]
struct After {
    after: u64,
    wait: bool,
}

async fn log(
    Shared(routes): Shared<Routes>,
    Extension(peer): Extension<Peer>,
    Query(After { after, wait }): Query<After>,
) -> Result<Response, Refused> {
    let mut state = routes.cluster.watch();
    authenticate(&peer, &state.borrow())?;
    // Nothing new within the time is an answer too: it shows that we are alive.
    let hold = if wait { LOG_HOLD } else { Duration::ZERO };
    let _ = tokio::time::timeout(hold, state.wait_for(|state| state.version().0 > after)).await;
    let read = tokio::task::spawn_blocking(move || routes.store.read(after, LOG_LIMIT)).await;
    match read {
        Ok(Ok(entries)) => encoded(&entries),
        Ok(Err(error)) => {
            tracing::error!(%error, "the log can't be read for a follower");
            Err(Refused::internal())
        }
        Err(_) => Err(Refused::internal()),
    }
}

async fn propose(
    Shared(routes): Shared<Routes>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Response, Refused> {
    let from = authenticate(&peer, &routes.cluster.snapshot())?;
    let Proposer::Writer(writer) = &routes.cluster.proposer else { return Err(not_writer()) };
    let command: Command = postcard::from_bytes(&body).map_err(|_| {
        let text = "this command is not understood: run the same version of Festoon on all managers";
        Refused::new(StatusCode::BAD_REQUEST, "bad-command", text)
    })?;
    tracing::debug!(%from, "a proposal");
    encoded(&writer.propose(command).await)
}

async fn join(
    Shared(routes): Shared<Routes>,
    ApiJson(request): ApiJson<ManagerJoinRequest>,
) -> Result<Json<ManagerJoinResponse>, Refused> {
    let authority = routes.authority.as_ref().ok_or_else(not_writer)?;
    // Checked before the token is used up.
    let csr = SigningRequest::from_pem(&request.csr_pem)
        .map_err(|error| Refused::new(StatusCode::BAD_REQUEST, "bad-csr", &error.to_string()))?;
    let https = request.https.clone();
    let spec = ManagerSpec {
        name: request.name,
        role: ManagerRole::Full,
        public_key: request.public_key,
        seal_key: None,
        underlay: request.underlay,
        https: request.https,
        priority: request.priority,
        format: FORMAT,
    };
    let command = JoinManager { token: request.secret.hash(), manager: spec, data_key: None, now: unix_now() };
    let Outcome::Manager(manager) = routes.cluster.propose(Command::JoinManager(command)).await? else {
        return Err(Refused::internal());
    };
    let certificate_pem = authority.issue(csr, manager, &https).map_err(|_| Refused::internal())?;
    let cluster = routes.cluster.snapshot().cluster().ok_or_else(Refused::internal)?;
    tracing::info!(%manager, "a manager joined");
    let ca_pem = authority.certificate_pem().to_owned();
    Ok(Json(ManagerJoinResponse { cluster, manager, ca_pem, certificate_pem }))
}
