//! How deliveries go: what the manager that delivers knows, and any other asks it for.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::{Extension, Json, Router};
use festoon_events::Cursor;
use festoon_proto::{EventDestinationId, ManagerId};
use serde::{Deserialize, Serialize};

use super::Deliveries;
use super::role::deliverer;
use crate::cluster::full_member;
use crate::https::route::{self, Serve as _};
use crate::https::{Peer, Refused};

/// How long the one that delivers is waited for.
const LIMIT: Duration = Duration::from_secs(2);

/// How the delivery to one destination goes. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Standing {
    /// When it took something last, since this manager delivers.
    pub last_success: Option<u64>,
    /// Failures in a row.
    pub failures: u32,
    /// The first of them.
    pub failing_since: Option<u64>,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// When it is tried next, if it fails.
    pub next_try: Option<u64>,
    /// Events that are being sent or wait to be.
    pub waiting: u64,
    /// Events that were gone before they could be sent.
    pub missed: u64,
    /// A cursor: how far the stream was taken in.
    pub(super) read: String,
}

impl Standing {
    /// Events that it may still get, of those up to `end`: some of them it does not want.
    pub fn lag(&self, end: &Cursor) -> u64 {
        let read: Cursor = self.read.parse().unwrap_or_default();
        self.waiting + read.behind(end)
    }
}

/// All standings, by destination.
pub(super) type Standings = BTreeMap<EventDestinationId, Standing>;

/// The route under `/cluster/v1/`.
pub fn router(deliveries: Deliveries) -> Router {
    Router::new().serve(route::DELIVERIES, answer).with_state(deliveries)
}

async fn answer(
    Shared(deliveries): Shared<Deliveries>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<Standings>, Refused> {
    full_member(&peer, &deliveries.0.cluster)?;
    Ok(Json(deliveries.own_standings()))
}

impl Deliveries {
    /// Who delivers, and how that goes to a destination. Neither, if that manager can't be asked now.
    pub async fn standing(&self, id: EventDestinationId) -> Option<(ManagerId, Standing)> {
        let manager = deliverer(&self.0.cluster).await?;
        let all = if manager == self.0.me { self.own_standings() } else { self.ask(manager).await? };
        all.get(&id).cloned().map(|standing| (manager, standing))
    }

    async fn ask(&self, manager: ManagerId) -> Option<Standings> {
        let answer = self.0.managers.post(manager, route::DELIVERIES.path(), axum::body::Bytes::new(), LIMIT).await;
        let answer = answer.inspect_err(|error| tracing::debug!(%manager, %error, "it does not say how it delivers"));
        serde_json::from_slice(&answer.ok()?).ok()
    }
}
