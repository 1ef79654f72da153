//! Endpoints.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use festoon_api::{
    Endpoint, EndpointBatch, EndpointCreate, EndpointCreated, EndpointId, EndpointKind, EndpointUpdate, Page,
};
use festoon_control::compile::endpoint_map;
use festoon_control::registry::{
    AddClient, Addresses, Command, Endpoint as Record, Outcome, RemoveEndpoint, State, Subject, TwoOfAFamilyError,
    UnixMs, UpdateEndpoint,
};
use festoon_proto::access::Role;
use festoon_proto::map::EndpointKind as Kind;
use festoon_proto::{NetworkId, PrivateKey};
use serde::Deserialize;

use super::caller::behind;
use super::change::Wanted;
use super::headers::{ETag, IfMatch, Key};
use super::list::{Paging, map};
use super::query::{ApiPath, ApiQuery};
use super::{Api, Caller, config, view};
use crate::https::{ApiJson, Refused};

/// By what endpoints are put in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sort {
    /// By id: the order in which they came.
    #[default]
    Id,
    /// By network, and by name in each.
    Name,
}

/// Which endpoints.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// How many, 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// In which order.
    #[serde(default)]
    #[param(inline)]
    sort: Sort,
    /// Those of this network, by id or name.
    network: Option<String>,
    /// Those with this name.
    name: Option<String>,
    /// Those whose name has this in it.
    search: Option<String>,
    /// Those with this tag.
    tag: Option<String>,
    /// Those of this kind.
    #[param(inline)]
    kind: Option<EndpointKind>,
    /// Those that may use the overlay, or that may not.
    enabled: Option<bool>,
    /// The one with this address.
    #[param(value_type = Option<String>)]
    address: Option<IpAddr>,
}

impl Filter {
    fn paging(&self) -> Paging {
        Paging { limit: self.limit, cursor: self.cursor.clone() }
    }

    fn matches(&self, network: Option<NetworkId>, endpoint: &Record) -> bool {
        let kind = match endpoint.kind {
            Kind::Agent => EndpointKind::Agent,
            Kind::Client => EndpointKind::Client,
        };
        network.is_none_or(|network| endpoint.network == network)
            && self.name.as_ref().is_none_or(|name| **name == *endpoint.name)
            && self.search.as_ref().is_none_or(|part| endpoint.name.contains(part.as_str()))
            && self.tag.as_ref().is_none_or(|tag| endpoint.tags().iter().any(|has| **has == **tag))
            && self.kind.is_none_or(|wanted| wanted == kind)
            && self.enabled.is_none_or(|enabled| enabled == endpoint.is_enabled)
            && self.address.is_none_or(|address| endpoint.addresses.iter().any(|has| has == address))
    }

    /// The ids on the page.
    fn page(&self, state: &State, caller: &Caller) -> Result<Page<festoon_proto::EndpointId>, Refused> {
        let network = caller.network_if_named(state, self.network.as_deref())?;
        let is_meant = |endpoint: &&Record| caller.sees(endpoint.network) && self.matches(network, endpoint);
        let paging = self.paging();
        match self.sort {
            Sort::Id => {
                let after = paging.after()?.map(festoon_proto::EndpointId);
                let found = state.endpoints_after(after).filter(is_meant).map(|endpoint| endpoint.id);
                paging.page(found, |id| id.0)
            }
            Sort::Name => {
                let after: Option<(u32, String)> = paging.after()?;
                let first = after.as_ref().map_or(NetworkId(0), |(network, _)| NetworkId(*network));
                let networks = state.networks().filter(|network| network.id >= first).map(|network| network.id);
                let behind = |id: NetworkId| after.as_ref().filter(|_| id == first).map(|(_, name)| name.as_str());
                let all = networks.flat_map(|id| state.endpoints_named_after(id, behind(id)));
                let page = paging.page(all.filter(is_meant), |last| (last.network.0, last.name.to_string()))?;
                Ok(map(page, |endpoint| endpoint.id))
            }
        }
    }
}

/// Endpoints.
#[utoipa::path(get, path = "/endpoints", tag = "endpoints", params(Filter), responses((status = 200, body = Page<Endpoint>)))]
pub(super) async fn list(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiQuery(filter): ApiQuery<Filter>,
) -> Result<Json<Page<Endpoint>>, Refused> {
    let state = api.cluster.snapshot();
    let page = filter.page(&state, &caller)?;
    let status = api.status(page.items.clone()).await?;
    let found = page.items.iter().filter_map(|id| state.endpoint(*id));
    let items = found.map(|endpoint| view::endpoint(&state, endpoint, status.as_ref())).collect();
    Ok(Json(Page { items, next: page.next }))
}

/// Adds a stock WireGuard client. Agents come in with a join token.
#[utoipa::path(post, path = "/endpoints", tag = "endpoints", request_body = EndpointCreate,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = EndpointCreated, headers(("ETag" = String)))))]
pub(super) async fn create(
    Shared(api): Shared<Api>,
    caller: Caller,
    key: Key,
    ApiJson(request): ApiJson<EndpointCreate>,
) -> Result<impl IntoResponse, Refused> {
    let state = api.cluster.snapshot();
    let key = key.of(&caller, &state, &request);
    let new = New::from(&state, &caller, request, api.cluster.now())?;
    let Outcome::Endpoint(id) = api.change(Wanted::new(&caller, new.command()).key(key)).await? else {
        return Err(Refused::internal());
    };
    let state = api.cluster.snapshot();
    let endpoint = caller.endpoint(&state, id).map_err(|_| behind("endpoint", id))?;
    Ok((StatusCode::CREATED, ETag(endpoint.changed), Json(new.created(&state, endpoint)?)))
}

/// Adds several clients, or none.
#[utoipa::path(post, path = "/endpoints/batch", tag = "endpoints", request_body = EndpointBatch,
    params(("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = Vec<EndpointCreated>)))]
pub(super) async fn create_batch(
    Shared(api): Shared<Api>,
    caller: Caller,
    key: Key,
    ApiJson(request): ApiJson<EndpointBatch>,
) -> Result<impl IntoResponse, Refused> {
    let (state, now) = (api.cluster.snapshot(), api.cluster.now());
    let key = key.of(&caller, &state, &request);
    let new = request.endpoints.into_iter().map(|request| New::from(&state, &caller, request, now));
    let new: Vec<_> = new.collect::<Result<_, _>>()?;
    let command = Command::Batch(new.iter().map(New::command).collect());
    let Outcome::Batch(outcomes) = api.change(Wanted::new(&caller, command).key(key)).await? else {
        return Err(Refused::internal());
    };
    let state = api.cluster.snapshot();
    let created = new.iter().zip(outcomes).map(|(new, outcome)| match outcome {
        Outcome::Endpoint(id) => new.created(&state, caller.endpoint(&state, id).map_err(|_| behind("endpoint", id))?),
        _ => Err(Refused::internal()),
    });
    Ok((StatusCode::CREATED, Json(created.collect::<Result<Vec<_>, _>>()?)))
}

/// An endpoint.
#[utoipa::path(get, path = "/endpoints/{endpoint}", tag = "endpoints", params(("endpoint" = EndpointId, Path)),
    responses((status = 200, body = Endpoint, headers(("ETag" = String)))))]
pub(super) async fn show(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(EndpointId(id)): ApiPath<EndpointId>,
) -> Result<impl IntoResponse, Refused> {
    one(&api, &caller, id).await
}

/// Changes an endpoint: its name, tags, addresses, network, routes, or whether it may use the overlay. Approving routes needs
/// the role admin.
#[utoipa::path(patch, path = "/endpoints/{endpoint}", tag = "endpoints", request_body = EndpointUpdate,
    params(("endpoint" = EndpointId, Path), ("If-Match" = String, Header)),
    responses((status = 200, body = Endpoint, headers(("ETag" = String)))))]
pub(super) async fn update(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(EndpointId(id)): ApiPath<EndpointId>,
    if_match: IfMatch,
    ApiJson(request): ApiJson<EndpointUpdate>,
) -> Result<impl IntoResponse, Refused> {
    let only_if = if_match.required(Subject::Endpoint(id))?;
    let state = api.cluster.snapshot();
    caller.endpoint(&state, id)?;
    if request.approved_routes.is_some() {
        check_may_approve(&caller, caller.endpoint(&state, id)?)?;
    }
    let network = caller.network_if_named(&state, request.network.as_deref())?;
    let command = UpdateEndpoint {
        name: request.name,
        is_enabled: request.enabled,
        tags: request.tags,
        expires: request.expires.map(|at| at.map(|at| UnixMs(at.0))),
        network,
        addresses: addresses(request.addresses.unwrap_or_default())?,
        approved_routes: request.approved_routes,
        ..UpdateEndpoint::of(id, api.cluster.now())
    };
    api.change(Wanted::new(&caller, Command::UpdateEndpoint(command)).only_if(only_if)).await?;
    one(&api, &caller, id).await
}

/// An approved route takes a prefix of every host of the network, so an operator is not enough.
fn check_may_approve(caller: &Caller, endpoint: &Record) -> Result<(), Refused> {
    if caller.may(Role::Admin, Some(endpoint.network)) {
        return Ok(());
    }
    let text = "only an admin of the network may approve or unapprove routes, because an approved route changes where every host \
                of the network sends its packets: ask an admin";
    Err(Refused::new(StatusCode::FORBIDDEN, "not-allowed", text))
}

/// Removes an endpoint. Its addresses wait for it for 30 days.
#[utoipa::path(delete, path = "/endpoints/{endpoint}", tag = "endpoints",
    params(("endpoint" = EndpointId, Path), ("If-Match" = Option<String>, Header)), responses((status = 204)))]
pub(super) async fn remove(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(EndpointId(id)): ApiPath<EndpointId>,
    if_match: IfMatch,
) -> Result<StatusCode, Refused> {
    caller.endpoint(&api.cluster.snapshot(), id)?;
    let only_if = if_match.optional(Subject::Endpoint(id));
    let command = Command::RemoveEndpoint(RemoveEndpoint { endpoint: id, now: api.cluster.now() });
    api.change(Wanted::new(&caller, command).only_if(only_if)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks an agent for a new key. It makes one within seconds, and loses no packet.
#[utoipa::path(post, path = "/endpoints/{endpoint}/rotate-key", tag = "endpoints",
    params(("endpoint" = EndpointId, Path)), responses((status = 202, body = Endpoint)))]
pub(super) async fn rotate_key(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(EndpointId(id)): ApiPath<EndpointId>,
) -> Result<impl IntoResponse, Refused> {
    caller.endpoint(&api.cluster.snapshot(), id)?;
    let command = UpdateEndpoint { is_key_due: Some(true), ..UpdateEndpoint::of(id, api.cluster.now()) };
    api.change(Wanted::new(&caller, Command::UpdateEndpoint(command))).await?;
    let (_, endpoint) = one(&api, &caller, id).await?;
    Ok((StatusCode::ACCEPTED, endpoint))
}

async fn one(api: &Api, caller: &Caller, id: festoon_proto::EndpointId) -> Result<(ETag, Json<Endpoint>), Refused> {
    let status = api.status(vec![id]).await?;
    let state = api.cluster.snapshot();
    let endpoint = caller.endpoint(&state, id)?;
    Ok((ETag(endpoint.changed), Json(view::endpoint(&state, endpoint, status.as_ref()))))
}

/// The addresses that an admin named.
pub(super) fn addresses(given: Vec<IpAddr>) -> Result<Addresses, Refused> {
    let refuse =
        |error: TwoOfAFamilyError| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-address", &error.to_string());
    Addresses::new(given).map_err(refuse)
}

/// A client that is to be added, and its private key if this manager made it.
struct New {
    client: AddClient,
    private_key: Option<PrivateKey>,
}

impl New {
    fn from(state: &State, caller: &Caller, request: EndpointCreate, now: UnixMs) -> Result<Self, Refused> {
        let network = caller.network_named(state, request.network.as_deref())?.id;
        let private_key = request.public_key.is_none().then(|| PrivateKey::from_bytes(rand::random()));
        let own = private_key.as_ref().map(PrivateKey::public_key);
        let client = AddClient {
            name: request.name,
            network,
            addresses: addresses(request.addresses)?,
            public_key: request.public_key.or(own).ok_or_else(Refused::internal)?,
            tags: request.tags,
            expires: request.expires.map(|at| UnixMs(at.0)),
            now,
        };
        Ok(Self { client, private_key })
    }

    fn command(&self) -> Command {
        Command::AddClient(self.client.clone())
    }

    /// Of a request that came again the first key pair counts, and its private half is gone.
    fn created(&self, state: &State, endpoint: &Record) -> Result<EndpointCreated, Refused> {
        let is_ours = endpoint.public_key == self.client.public_key;
        let config = match self.private_key.as_ref().filter(|_| is_ours) {
            Some(key) => {
                let map = endpoint_map(state, endpoint.id).ok_or_else(Refused::internal)?;
                Some(config::to_conf(&map, Some(key), None)?)
            }
            None => None,
        };
        Ok(EndpointCreated { endpoint: view::endpoint(state, endpoint, None), config })
    }
}
