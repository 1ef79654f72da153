//! Managers.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use festoon_api::{CompromisedRemoved, Manager, ManagerId, ManagerUpdate, Page};
use festoon_control::registry::{Command, Subject, UpdateManager};

use super::caller::unknown;
use super::change::Wanted;
use super::headers::{ETag, IfMatch};
use super::list::Paging;
use super::query::{ApiPath, ApiQuery};
use super::{Api, Caller, compromised, view};
use serde::Deserialize;

use crate::cluster::ProposeError;
use crate::https::{ApiJson, Refused};
use crate::local::see_that_others_carry;

/// All managers, by id.
#[utoipa::path(get, path = "/managers", tag = "managers", params(Paging), responses((status = 200, body = Page<Manager>)))]
pub(super) async fn list(
    Shared(api): Shared<Api>,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<Page<Manager>>, Refused> {
    let status = api.status(Vec::new()).await?;
    let state = api.cluster.snapshot();
    let after = paging.after()?.map(|ManagerId(after)| after);
    let rest = state.managers().filter(|manager| after.is_none_or(|after| manager.id > after));
    let rows = rest.map(|manager| view::manager(manager, api.manager, status.as_ref()));
    Ok(Json(paging.page(rows, |manager| manager.id)?))
}

/// A manager.
#[utoipa::path(get, path = "/managers/{manager}", tag = "managers", params(("manager" = ManagerId, Path)),
    responses((status = 200, body = Manager, headers(("ETag" = String)))))]
pub(super) async fn show(
    Shared(api): Shared<Api>,
    ApiPath(ManagerId(id)): ApiPath<ManagerId>,
) -> Result<impl IntoResponse, Refused> {
    one(&api, id).await
}

/// Changes a manager: its name, addresses, priority, region, or whether it drains.
#[utoipa::path(patch, path = "/managers/{manager}", tag = "managers", request_body = ManagerUpdate,
    params(("manager" = ManagerId, Path), ("If-Match" = String, Header)),
    responses((status = 200, body = Manager, headers(("ETag" = String)))))]
pub(super) async fn update(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(ManagerId(id)): ApiPath<ManagerId>,
    if_match: IfMatch,
    ApiJson(request): ApiJson<ManagerUpdate>,
) -> Result<impl IntoResponse, Refused> {
    let only_if = if_match.required(Subject::Manager(id))?;
    let ManagerUpdate { name, underlay, https, priority, region, draining } = request;
    let command = UpdateManager { manager: id, name, underlay, https, priority, region, is_draining: draining };
    api.change(Wanted::new(&caller, Command::UpdateManager(command)).only_if(only_if)).await?;
    one(&api, id).await
}

/// How a manager is removed.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Removal {
    /// Whether it fell into the wrong hands. Then the CA is replaced too, for the manager knew its key: the answer says whether that
    /// has begun, and what an admin has to do next.
    compromised: bool,
}

/// Removes a manager from the cluster. Its connections are closed, and the data key is replaced.
#[utoipa::path(delete, path = "/managers/{manager}", tag = "managers",
    params(("manager" = ManagerId, Path), Removal, ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 200, description = "It was removed as compromised.", body = CompromisedRemoved)))]
pub(super) async fn remove(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(ManagerId(id)): ApiPath<ManagerId>,
    ApiQuery(Removal { compromised }): ApiQuery<Removal>,
    if_match: IfMatch,
) -> Result<Response, Refused> {
    let state = api.cluster.snapshot();
    let knew_secrets = state.manager(id).ok_or_else(|| unknown("manager", &id.to_string()))?.is_full();
    if compromised {
        compromised::refuse_at_itself(&api, id)?;
    }
    see_that_others_carry(&api.cluster, id).await?;
    let only_if = if_match.optional(Subject::Manager(id));
    api.change(Wanted::new(&caller, Command::RemoveManager(id)).only_if(only_if)).await?;
    if !compromised {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(Json(compromised::after_removal(&api, &caller, knew_secrets).await).into_response())
}

/// Has a manager take no endpoints and move away those it has.
#[utoipa::path(post, path = "/managers/{manager}/drain", tag = "managers", params(("manager" = ManagerId, Path)),
    responses((status = 200, body = Manager, headers(("ETag" = String)))))]
pub(super) async fn drain(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(ManagerId(id)): ApiPath<ManagerId>,
) -> Result<impl IntoResponse, Refused> {
    set_draining(&api, &caller, id, true).await
}

/// Has a manager take endpoints again.
#[utoipa::path(post, path = "/managers/{manager}/undrain", tag = "managers", params(("manager" = ManagerId, Path)),
    responses((status = 200, body = Manager, headers(("ETag" = String)))))]
pub(super) async fn undrain(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(ManagerId(id)): ApiPath<ManagerId>,
) -> Result<impl IntoResponse, Refused> {
    set_draining(&api, &caller, id, false).await
}

/// This manager drains even while the registry can't be changed: that is when one wants to stop it.
async fn set_draining(
    api: &Api,
    caller: &Caller,
    id: festoon_proto::ManagerId,
    draining: bool,
) -> Result<(ETag, Json<Manager>), Refused> {
    let state = api.cluster.snapshot();
    let manager = state.manager(id).ok_or_else(|| unknown("manager", &id.to_string()))?;
    if !manager.is_full() {
        return Err(Refused::new(StatusCode::CONFLICT, "manager-is-witness", "a witness carries no endpoints"));
    }
    let command = Command::UpdateManager(UpdateManager { is_draining: Some(draining), ..UpdateManager::of(id) });
    match (api.propose(Wanted::new(caller, command)).await, &api.node) {
        (Err(ProposeError::NoQuorum { .. } | ProposeError::Busy { .. }), Some(node)) if id == api.manager => {
            tracing::warn!(draining, "whether this manager drains is not in the registry, which can't be changed now");
            node.set_draining(draining).await?;
        }
        (proposed, _) => drop(proposed?),
    }
    one(api, id).await
}

async fn one(api: &Api, id: festoon_proto::ManagerId) -> Result<(ETag, Json<Manager>), Refused> {
    let status = api.status(Vec::new()).await?;
    let state = api.cluster.snapshot();
    let manager = state.manager(id).ok_or_else(|| unknown("manager", &id.to_string()))?;
    Ok((ETag(manager.changed), Json(view::manager(manager, api.manager, status.as_ref()))))
}
