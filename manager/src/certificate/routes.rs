//! What managers ask each other about certificates.

use std::collections::BTreeSet;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::{Extension, Json, Router};
use festoon_proto::{EndpointId, Fingerprint};
use serde::{Deserialize, Serialize};

use super::Keeper;
use crate::cluster::{Cluster, full_member, member_or_expired};
use crate::https::route::{self, Serve as _};
use crate::https::{Peer, Refused};
use crate::pki::{Credentials, SigningRequest};

/// How far a manager is while the CA is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The CA that its certificate comes from.
    pub issuer: Option<Fingerprint>,
    /// Until when that is good, in milliseconds since 1970.
    pub until_unix_ms: u64,
    /// The CAs it trusts.
    pub trusted: Vec<Fingerprint>,
}

impl Shown {
    /// What `credentials` are now.
    pub fn of(credentials: &Credentials) -> Self {
        let now = credentials.now();
        Self {
            issuer: now.chain.get(1).map(|issuer| Fingerprint::of(issuer)),
            until_unix_ms: now.leaf.until.0,
            trusted: now.trusted.clone(),
        }
    }
}

/// What a manager says to [`CERTIFICATE_SHOWN`](route::CERTIFICATE_SHOWN).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) shown: Shown,
    /// The agents that it told of the CA that was added last.
    pub(crate) told: BTreeSet<EndpointId>,
}

impl Answer {
    /// This manager's own.
    pub(crate) fn of(keeper: &Keeper) -> Self {
        let shown = Shown::of(&keeper.credentials);
        let told = shown.trusted.last().map(|newest| keeper.told.of(*newest)).unwrap_or_default();
        Self { shown, told }
    }
}

#[derive(Debug, Clone)]
struct Routes {
    cluster: Cluster,
    keeper: Keeper,
}

/// The routes under `/cluster/v1/certificate`.
pub fn router(cluster: Cluster, keeper: Keeper) -> Router {
    Router::new()
        .serve(route::CERTIFICATE, certify)
        .serve(route::CERTIFICATE_SHOWN, shown)
        .with_state(Routes { cluster, keeper })
}

async fn certify(
    Shared(routes): Shared<Routes>,
    Extension(peer): Extension<Peer>,
    request: String,
) -> Result<String, Refused> {
    // Also with a certificate that has expired: it was off for long, and is still in the registry.
    let manager = member_or_expired(&peer, &routes.cluster)?.id;
    let request = SigningRequest::from_pem(&request)
        .map_err(|error| Refused::new(StatusCode::BAD_REQUEST, "bad-csr", &error.to_string()))?;
    let chain = routes.keeper.vault.certify(&routes.cluster.snapshot(), manager, request, routes.cluster.now())?;
    tracing::info!(%manager, "a manager has a new certificate");
    Ok(chain)
}

async fn shown(Shared(routes): Shared<Routes>, Extension(peer): Extension<Peer>) -> Result<Json<Answer>, Refused> {
    full_member(&peer, &routes.cluster)?;
    Ok(Json(Answer::of(&routes.keeper)))
}
