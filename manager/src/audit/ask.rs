//! What managers ask each other of the audit log.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::{Extension, Json, Router};
use festoon_control::registry::audit::Entry;
use festoon_proto::ManagerId;
use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, Https, member};
use crate::https::route::{self, Serve as _};
use crate::https::{Peer, Refused};

/// Entries that are read, or asked for, at once.
pub(super) const PART: usize = 500;
/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    after: u64,
    last: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    entries: Vec<(u64, String)>,
}

/// The route under `/cluster/v1/`.
pub(super) fn router(cluster: Cluster) -> Router {
    Router::new().serve(route::AUDIT, answer).with_state(cluster)
}

async fn answer(
    Shared(cluster): Shared<Cluster>,
    Extension(peer): Extension<Peer>,
    question: Bytes,
) -> Result<Json<Answer>, Refused> {
    member(&peer, &cluster)?;
    let Question { after, last } = serde_json::from_slice(&question).map_err(|_| Refused::not_understood())?;
    // Whoever asks can do without: others have them too.
    let Some(log) = cluster.audit_log() else { return Ok(Json::default()) };
    let entries = log.read(after, last, PART).await.unwrap_or_default();
    Ok(Json(Answer { entries: entries.into_iter().map(|entry| (entry.number, entry.line)).collect() }))
}

/// The entries behind `after` and up to `last` that a manager has; none if it does not answer.
pub(super) async fn ask(managers: &Https, of: ManagerId, after: u64, last: u64) -> Vec<Entry> {
    let question = serde_json::to_vec(&Question { after, last }).unwrap_or_default();
    let answer = match managers.post(of, route::AUDIT.path(), question.into(), LIMIT).await {
        Ok(answer) => serde_json::from_slice(&answer).unwrap_or_default(),
        Err(error) => {
            tracing::debug!(manager = %of, %error, "a manager tells nothing of the audit log");
            Answer::default()
        }
    };
    answer.entries.into_iter().map(|(number, line)| Entry { number, line }).collect()
}
