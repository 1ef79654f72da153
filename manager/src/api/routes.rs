//! Routes that endpoints offer. They are approved where an endpoint is changed.

use axum::Json;
use axum::extract::State as Shared;
use festoon_api::{Page, RouteRow};
use festoon_control::registry::{Endpoint, OfferedRoute};
use serde::Deserialize;

use super::list::Paging;
use super::query::ApiQuery;
use super::{Api, Caller};
use crate::https::Refused;

/// Which routes.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// How many, 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Those of this network, by id or name.
    network: Option<String>,
    /// Those that an admin approved, or did not.
    approved: Option<bool>,
}

/// All routes that endpoints offer, by endpoint and prefix.
#[utoipa::path(get, path = "/routes", tag = "routes", params(Filter), responses((status = 200, body = Page<RouteRow>)))]
pub(super) async fn list(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiQuery(filter): ApiQuery<Filter>,
) -> Result<Json<Page<RouteRow>>, Refused> {
    let state = api.cluster.snapshot();
    let network = caller.network_if_named(&state, filter.network.as_deref())?;
    let paging = Paging { limit: filter.limit, cursor: filter.cursor };
    let after: Option<(u64, ipnet::IpNet)> = paging.after()?;
    let first = after.map(|(endpoint, _)| festoon_proto::EndpointId(endpoint.saturating_sub(1)));
    let is_meant = |endpoint: &&Endpoint| {
        caller.sees(endpoint.network) && network.is_none_or(|network| network == endpoint.network)
    };
    let all = state
        .endpoints_after(first)
        .filter(is_meant)
        .flat_map(|endpoint| endpoint.routes().iter().map(move |route| row(endpoint, route)));
    let is_next = |row: &RouteRow| {
        after.is_none_or(|after| (row.endpoint.0.0, row.prefix) > after)
            && filter.approved.is_none_or(|approved| approved == row.approved)
    };
    Ok(Json(paging.page(all.filter(is_next), |row| (row.endpoint.0.0, row.prefix))?))
}

fn row(endpoint: &Endpoint, route: &OfferedRoute) -> RouteRow {
    RouteRow {
        prefix: route.prefix,
        approved: route.is_approved,
        network: endpoint.network.into(),
        endpoint: endpoint.id.into(),
        endpoint_name: endpoint.name.to_string(),
    }
}
