//! What managers ask each other about certificates.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Extension, Json, Router};
use festoon_proto::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, authenticate, unix_now};
use crate::https::{Peer, Refused};
use crate::pki::{Credentials, SigningRequest};
use crate::vault::Vault;

/// `POST`, managers only: a signing request in PEM gets a certificate for whoever asks, and those behind it, in PEM.
pub(super) const CERTIFICATE: &str = "/cluster/v1/certificate";
/// `POST`, managers only: a [`Shown`].
pub(crate) const SHOWN: &str = "/cluster/v1/certificate/shown";

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

#[derive(Debug, Clone)]
struct Routes {
    cluster: Cluster,
    vault: Vault,
    credentials: Credentials,
}

/// The routes under `/cluster/v1/certificate`.
pub fn router(cluster: Cluster, vault: Vault, credentials: Credentials) -> Router {
    let routes = Routes { cluster, vault, credentials };
    Router::new().route(CERTIFICATE, post(certify)).route(SHOWN, post(shown)).with_state(routes)
}

async fn certify(
    Shared(routes): Shared<Routes>,
    Extension(peer): Extension<Peer>,
    request: String,
) -> Result<String, Refused> {
    let manager = authenticate(&peer, &routes.cluster)?;
    let request = SigningRequest::from_pem(&request)
        .map_err(|error| Refused::new(StatusCode::BAD_REQUEST, "bad-csr", &error.to_string()))?;
    let chain = routes.vault.certify(&routes.cluster.snapshot(), manager, request, unix_now())?;
    tracing::info!(%manager, "a manager has a new certificate");
    Ok(chain)
}

async fn shown(Shared(routes): Shared<Routes>, Extension(peer): Extension<Peer>) -> Result<Json<Shown>, Refused> {
    authenticate(&peer, &routes.cluster)?;
    Ok(Json(Shown::of(&routes.credentials)))
}
