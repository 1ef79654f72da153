//! Cutting off an endpoint, at whichever manager carries it.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::{Extension, Router};
use festoon_api::EndpointId;
use festoon_control::registry::Deed;
use festoon_proto::ManagerId;

use super::query::ApiPath;
use super::{Api, Caller};
use crate::cluster::full_member;
use crate::https::route::{self, Serve as _};
use crate::https::{Peer, Refused};

/// For the manager that carries it to do so.
const LIMIT: Duration = Duration::from_secs(2);

/// Ends the session of an endpoint with the manager that carries it, now. It may come back by itself; disable it to keep it
/// away.
#[utoipa::path(post, path = "/endpoints/{endpoint}/disconnect", tag = "endpoints",
    params(("endpoint" = EndpointId, Path)), responses((status = 204)))]
pub(super) async fn disconnect(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(EndpointId(id)): ApiPath<EndpointId>,
) -> Result<StatusCode, Refused> {
    caller.endpoint(&api.cluster.snapshot(), id)?;
    match carrier(&api, id).await? {
        Some(manager) if manager == api.manager => cut(&api, id).await?,
        Some(manager) => {
            let body = Bytes::from(id.to_string());
            api.managers.post(manager, route::DISCONNECT.path(), body, LIMIT).await.map_err(|error| {
                tracing::warn!(%manager, ?error, "an endpoint can't be cut off");
                let text = "the manager that carries this endpoint does not answer: try again, or disable the endpoint";
                Refused::new(StatusCode::SERVICE_UNAVAILABLE, "manager-silent", text)
            })?;
        }
        None => {
            let text = "no manager carries this endpoint now: there is nothing to cut off";
            return Err(Refused::new(StatusCode::CONFLICT, "endpoint-down", text));
        }
    }
    tracing::info!(endpoint = %id, by = ?caller.author.who, "an admin cut an endpoint off");
    api.note(&caller, Deed::Disconnect(id)).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Who carries it, as this manager knows.
async fn carrier(api: &Api, id: festoon_proto::EndpointId) -> Result<Option<ManagerId>, Refused> {
    let status = api.status(vec![id]).await?;
    let seen = status.and_then(|status| status.endpoints.into_iter().find(|seen| seen.id == id));
    Ok(seen.and_then(|seen| seen.attachment).map(|attachment| attachment.manager))
}

async fn cut(api: &Api, id: festoon_proto::EndpointId) -> Result<(), Refused> {
    match &api.node {
        Some(node) => Ok(node.disconnect(id).await?),
        None => Ok(()),
    }
}

/// The route under `/cluster/v1/`.
pub fn router(api: Api) -> Router {
    Router::new().serve(route::DISCONNECT, answer).with_state(api)
}

async fn answer(Shared(api): Shared<Api>, Extension(peer): Extension<Peer>, id: String) -> Result<StatusCode, Refused> {
    let manager = full_member(&peer, &api.cluster)?;
    let id = id.parse().map_err(|_| Refused::not_understood())?;
    cut(&api, id).await?;
    tracing::info!(endpoint = %id, %manager, "an endpoint was cut off, as an admin wanted of another manager");
    Ok(StatusCode::NO_CONTENT)
}
