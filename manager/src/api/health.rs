//! Whether this manager is in order, for load balancers and supervisors.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use festoon_api::Health;

use super::Api;
use crate::cluster::Cluster;
use crate::driver::NodeHandle;

/// Whether this manager runs.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = Health)))]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { ok: true, problems: Vec::new() })
}

/// Whether this manager can do its work: it has a copy of the registry of the cluster's epoch, and its packet loop runs.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(super) async fn readyz(Shared(api): Shared<Api>) -> (StatusCode, Json<Health>) {
    let problems = problems(&api.cluster, api.node.as_ref()).await;
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Health { ok: problems.is_empty(), problems }))
}

/// Why a manager can't do its work now, one line each. A witness has no node.
pub(crate) async fn problems(cluster: &Cluster, node: Option<&NodeHandle>) -> Vec<String> {
    let mut problems = Vec::new();
    if cluster.snapshot().cluster().is_none() {
        problems.push("it has no copy of the registry yet".to_owned());
    }
    if cluster.health().later_epoch.is_some() {
        problems.push("the cluster has gone on without it: run `festoon-manager rejoin` there".to_owned());
    }
    if let Some(node) = node
        && let Err(stopped) = node.status(Vec::new()).await
    {
        problems.push(stopped.to_string());
    }
    problems
}
