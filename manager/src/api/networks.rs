//! Networks.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use festoon_api::{Network, NetworkCreate, NetworkId, NetworkUpdate, Page};
use festoon_control::registry::{
    AddNetwork, AddressRange, Command, DEFAULT_MTU, Network as Record, Outcome, Subject, UpdateNetwork,
};

use super::caller::behind;
use super::change::Wanted;
use super::headers::{ETag, IfMatch, Key};
use super::list::Paging;
use super::query::{ApiPath, ApiQuery};
use super::{Api, Caller, view};
use crate::https::{ApiJson, Refused};

/// All networks, by id.
#[utoipa::path(get, path = "/networks", tag = "networks", params(Paging), responses((status = 200, body = Page<Network>)))]
pub(super) async fn list(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<Page<Network>>, Refused> {
    let state = api.cluster.snapshot();
    let after = paging.after()?.map(|NetworkId(after)| after);
    let seen = state.networks().filter(|network| caller.sees(network.id));
    let rest = seen.filter(|network| after.is_none_or(|after| network.id > after));
    Ok(Json(paging.page(rest.map(|network| view::network(&state, network)), |network| network.id)?))
}

/// Makes a network.
#[utoipa::path(post, path = "/networks", tag = "networks", request_body = NetworkCreate,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = Network, headers(("ETag" = String)))))]
pub(super) async fn create(
    Shared(api): Shared<Api>,
    caller: Caller,
    key: Key,
    ApiJson(request): ApiJson<NetworkCreate>,
) -> Result<impl IntoResponse, Refused> {
    let key = key.of(&caller, &api.cluster.snapshot(), &request);
    let NetworkCreate { name, prefixes, mtu } = request;
    let command = Command::AddNetwork(AddNetwork { name, prefixes, mtu: mtu.unwrap_or(DEFAULT_MTU) });
    let Outcome::Network(id) = api.change(Wanted::new(&caller, command).key(key)).await? else {
        return Err(Refused::internal());
    };
    let (tag, network) = one(&api, &caller, id).map_err(|_| behind("network", id))?;
    Ok((StatusCode::CREATED, tag, network))
}

/// A network.
#[utoipa::path(get, path = "/networks/{network}", tag = "networks", params(("network" = NetworkId, Path)),
    responses((status = 200, body = Network, headers(("ETag" = String)))))]
pub(super) async fn show(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(NetworkId(id)): ApiPath<NetworkId>,
) -> Result<impl IntoResponse, Refused> {
    one(&api, &caller, id)
}

/// Changes a network.
#[utoipa::path(patch, path = "/networks/{network}", tag = "networks", request_body = NetworkUpdate,
    params(("network" = NetworkId, Path), ("If-Match" = String, Header)),
    responses((status = 200, body = Network, headers(("ETag" = String)))))]
pub(super) async fn update(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(NetworkId(id)): ApiPath<NetworkId>,
    if_match: IfMatch,
    ApiJson(request): ApiJson<NetworkUpdate>,
) -> Result<impl IntoResponse, Refused> {
    let only_if = if_match.required(Subject::Network(id))?;
    let command = command(caller.network(&api.cluster.snapshot(), id)?, request)?;
    api.change(Wanted::new(&caller, Command::UpdateNetwork(command)).only_if(only_if)).await?;
    one(&api, &caller, id)
}

/// Removes a network that nobody is in.
#[utoipa::path(delete, path = "/networks/{network}", tag = "networks",
    params(("network" = NetworkId, Path), ("If-Match" = Option<String>, Header)), responses((status = 204)))]
pub(super) async fn remove(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(NetworkId(id)): ApiPath<NetworkId>,
    if_match: IfMatch,
) -> Result<StatusCode, Refused> {
    caller.network(&api.cluster.snapshot(), id)?;
    let only_if = if_match.optional(Subject::Network(id));
    api.change(Wanted::new(&caller, Command::RemoveNetwork(id)).only_if(only_if)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn one(api: &Api, caller: &Caller, id: festoon_proto::NetworkId) -> Result<(ETag, Json<Network>), Refused> {
    let state = api.cluster.snapshot();
    let network = caller.network(&state, id)?;
    Ok((ETag(network.changed), Json(view::network(&state, network))))
}

/// What is to change, of a network as it is.
fn command(network: &Record, request: NetworkUpdate) -> Result<UpdateNetwork, Refused> {
    let NetworkUpdate { name, prefixes, reserved, mtu } = request;
    let has = |net: &ipnet::IpNet| network.prefixes.iter().any(|prefix| prefix.net == *net);
    let (mut add_prefixes, mut remove_prefixes) = (Vec::new(), Vec::new());
    if let Some(all) = prefixes {
        remove_prefixes.extend(network.prefixes.iter().map(|prefix| prefix.net).filter(|net| !all.contains(net)));
        add_prefixes.extend(all.into_iter().filter(|net| !has(net)));
    }
    let range = |text: String| {
        let refuse = |error: festoon_control::registry::ParseRangeError| {
            Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-range", &error.to_string())
        };
        text.parse::<AddressRange>().map_err(refuse)
    };
    let reserved = reserved.map(|all| all.into_iter().map(range).collect()).transpose()?;
    Ok(UpdateNetwork { network: network.id, name, mtu, add_prefixes, remove_prefixes, reserved })
}
