//! What managers ask each other over HTTPS.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Extension, Json, Router};
use festoon_control::registry::{Command, FORMAT, JoinManager, ManagerRole, ManagerSpec, Outcome};
use festoon_proto::ManagerId;
use festoon_proto::http::{CLUSTER_JOIN, ManagerJoinRequest, ManagerJoinResponse};

use super::{Cluster, Parts, unix_now};
use crate::https::{ApiJson, Peer, Refused};
use crate::pki::{Authority, SigningRequest, manager_of};

/// `POST`, managers only: one question of consensus, and its answer.
pub(super) const ASK: &str = "/cluster/v1/ask";
/// The most that one question takes: a part of a snapshot, or some hundred commands.
const MAX_QUESTION: usize = 16 << 20;

/// The kind of problem that another manager may not have.
pub const NO_AUTHORITY: &str = "no-authority";

#[derive(Debug, Clone)]
struct Routes {
    cluster: Cluster,
    authority: Option<Arc<Authority>>,
    epoch: u32,
}

/// The routes under `/cluster/v1/`.
pub fn router(parts: &Parts) -> Router {
    let routes = Routes { cluster: parts.cluster.clone(), authority: parts.authority.clone(), epoch: parts.epoch };
    Router::new()
        .route(ASK, post(ask).layer(DefaultBodyLimit::max(MAX_QUESTION)))
        .route(CLUSTER_JOIN, post(join))
        .with_state(routes)
}

async fn ask(
    Shared(routes): Shared<Routes>,
    Extension(peer): Extension<Peer>,
    question: Bytes,
) -> Result<Vec<u8>, Refused> {
    let from = authenticate(&peer, &routes.cluster)?;
    Ok(routes.cluster.answer(from, &question).await)
}

/// The manager that asks, by its certificate alone. Whether it still belongs to the cluster is the registry's to say.
fn authenticate(peer: &Peer, cluster: &Cluster) -> Result<ManagerId, Refused> {
    let state = cluster.snapshot();
    // Without a copy of the registry nobody is known.
    let is_possible = |id: &ManagerId| state.cluster().is_none() || state.was_given_to_manager(*id);
    let candidates = (1..=u16::MAX).map(ManagerId).take_while(is_possible);
    peer.certificate.as_ref().and_then(|certificate| manager_of(certificate, candidates)).ok_or_else(|| {
        Refused::new(StatusCode::FORBIDDEN, "not-a-manager", "only managers of this cluster may ask this")
    })
}

fn no_authority() -> Refused {
    let text = "this manager does not have the cluster's CA: ask the first manager of the cluster";
    Refused::new(StatusCode::MISDIRECTED_REQUEST, NO_AUTHORITY, text)
}

async fn join(
    Shared(routes): Shared<Routes>,
    ApiJson(request): ApiJson<ManagerJoinRequest>,
) -> Result<Json<ManagerJoinResponse>, Refused> {
    let authority = routes.authority.as_ref().ok_or_else(no_authority)?;
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
    let state = routes.cluster.snapshot();
    let cluster = state.cluster().ok_or_else(Refused::internal)?;
    tracing::info!(%manager, "a manager joined");
    let ca_pem = authority.certificate_pem().to_owned();
    Ok(Json(ManagerJoinResponse { cluster, epoch: routes.epoch, manager, ca_pem, certificate_pem }))
}
