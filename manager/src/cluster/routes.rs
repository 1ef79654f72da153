//! What managers ask each other over HTTPS.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::{Extension, Json, Router};
use festoon_control::registry::{
    Author, Change, Command, JoinManager, Manager, ManagerError, ManagerRole, ManagerSpec, Outcome, Refusal, Who,
};
use festoon_proto::http::{ManagerJoinRequest, ManagerJoinResponse};
use festoon_proto::token::SecretHash;
use festoon_proto::{Fingerprint, Introduced, ManagerId};

use super::question::{Question, Questions};
use super::{Cluster, Parts, ProposeError, renewal};
use crate::https::route::{self, Serve as _};
use crate::https::{ApiJson, Peer, Refused};
use crate::pki::SigningRequest;
use crate::vault::{Vault, VaultError, trusted_pem};

/// The kind of problem that another manager may not have: it can't read the secrets that are needed.
pub const NO_SECRETS: &str = "no-secrets";
/// How often a join is tried with the data key of now, which may change meanwhile.
const TRIES: usize = 3;

#[derive(Debug, Clone)]
struct Routes {
    cluster: Cluster,
    vault: Vault,
}

/// What consensus asks, for managers alone.
pub fn consensus_router(parts: &Parts) -> Router {
    Router::new().serve(route::ASK, ask).with_state(Questions::new(parts.cluster.clone()))
}

/// What a manager asks that begins anew.
pub fn router(parts: &Parts) -> Router {
    renewal::router(parts.cluster.clone())
}

/// The route by which a manager joins, which has nothing but a token.
pub fn join_router(parts: &Parts) -> Router {
    Router::new().serve(route::MANAGER_JOIN, join).with_state(Routes::of(parts))
}

async fn ask(Shared(questions): Shared<Questions>, question: Question) -> Vec<u8> {
    questions.cluster.answer(question.from, &question.bytes).await
}

impl From<VaultError> for Refused {
    fn from(error: VaultError) -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, NO_SECRETS, &error.to_string())
    }
}

async fn join(
    Shared(routes): Shared<Routes>,
    Extension(peer): Extension<Peer>,
    ApiJson(request): ApiJson<ManagerJoinRequest>,
) -> Result<Json<ManagerJoinResponse>, Refused> {
    // Both are checked before the token is used up.
    let csr = SigningRequest::from_pem(&request.csr_pem)
        .map_err(|error| Refused::new(StatusCode::BAD_REQUEST, "bad-csr", &error.to_string()))?;
    if !csr.is_by(&request.signing_key) {
        let text = "the signing request is not signed with the signing key of the manager that joins: make a new one";
        return Err(Refused::new(StatusCode::BAD_REQUEST, "bad-csr", text));
    }
    routes.vault.authority(&routes.cluster.snapshot())?;
    // The request is signed with its key: whoever sent it first can send it again, and nobody else can.
    let tls_key = csr.key_fingerprint();
    let manager = routes.let_in(request.secret.hash(), spec(request, tls_key), &peer).await?;
    let state = routes.cluster.snapshot();
    let (roster, ca_pem) = (state.roster().ok_or_else(Refused::internal)?, trusted_pem(&state));
    let cluster = roster.cluster;
    // Of its record, for it may ask again and say something else.
    let Manager { signing_key, role, .. } = state.manager(manager).ok_or_else(removed)?;
    let newcomer = Introduced { manager, signing_key: *signing_key, role: *role };
    let csr = csr.introduced(routes.cluster.introduce(cluster, newcomer));
    let chain_pem = routes.vault.certify(&state, manager, csr, routes.cluster.now())?;
    tracing::info!(%manager, "a manager joined");
    let epoch = routes.cluster.health().epoch;
    Ok(Json(ManagerJoinResponse { cluster, epoch, manager, ca_pem, chain_pem, roster }))
}

fn removed() -> Refused {
    let text = "the manager that this token let in was removed meanwhile: make another token";
    Refused::new(StatusCode::FORBIDDEN, "token-used", text)
}

fn spec(request: ManagerJoinRequest, tls_key: Fingerprint) -> ManagerSpec {
    ManagerSpec {
        name: request.name,
        role: request.role,
        public_key: request.public_key,
        seal_key: request.seal_key,
        signing_key: request.signing_key,
        tls_key,
        underlay: request.underlay,
        https: request.https,
        priority: request.priority,
        format: request.format,
    }
}

impl Routes {
    fn of(parts: &Parts) -> Self {
        Self { cluster: parts.cluster.clone(), vault: parts.vault.clone() }
    }

    /// Makes a manager part of the cluster, and of those that read secrets unless it is a witness.
    async fn let_in(&self, token: SecretHash, spec: ManagerSpec, peer: &Peer) -> Result<ManagerId, Refused> {
        for _ in 0..TRIES {
            let data_key = self.vault.data_key(&self.cluster.snapshot())?;
            let copy = match (spec.role, spec.seal_key) {
                (ManagerRole::Full, Some(seal_key)) => Some(data_key.seal_to(seal_key)?),
                _ => None,
            };
            let command = JoinManager { token, manager: spec.clone(), data_key: copy, now: self.cluster.now() };
            let by = Author { who: Who::Newcomer, from: Some(peer.remote.ip().to_canonical()) };
            match self.cluster.propose(Change { by, ..Command::JoinManager(command).into() }).await {
                Ok(Outcome::Manager(manager)) => return Ok(manager),
                Ok(_) => return Err(Refused::internal()),
                Err(ProposeError::Refused(Refusal::Manager(ManagerError::DataKey(_)))) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refused::timeout())
    }
}
