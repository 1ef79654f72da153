//! The HTTP API, `/api/v1`: all that a person or a program does to a cluster. See `festoon-api` for its conventions.
//!
//! A handler reads a state of the registry that stays the same meanwhile, and proposes at most one change. Who may use a route is
//! said where it is registered, in [`router`]; what of it they see, by the [`Caller`] they are.

mod access;
mod audit;
mod caller;
mod change;
mod cluster;
mod config;
mod endpoints;
mod headers;
mod health;
mod join_tokens;
mod list;
mod managers;
mod networks;
mod openapi;
mod query;
mod routes;
mod view;

use axum::Router;
use festoon_proto::ManagerId;
use festoon_proto::access::Role;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accounts::Caller;
use crate::cluster::Cluster;
use crate::driver::{NodeHandle, Stopped};
use crate::https::Refused;
use crate::node::Status;
use access::{Need, needs};

pub(crate) use health::problems;
pub use openapi::{document, document_text};

/// What the API works on.
#[derive(Debug, Clone)]
pub struct Api {
    /// The registry.
    pub cluster: Cluster,
    /// The node; none on a witness.
    pub node: Option<NodeHandle>,
    /// This manager.
    pub manager: ManagerId,
}

impl Api {
    /// How the node and these endpoints are doing; none on a witness.
    async fn status(&self, ids: Vec<festoon_proto::EndpointId>) -> Result<Option<Status>, Refused> {
        match &self.node {
            Some(node) => Ok(Some(node.status(ids).await?)),
            None => Ok(None),
        }
    }
}

impl From<Stopped> for Refused {
    fn from(stopped: Stopped) -> Self {
        Self::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "stopping", &stopped.to_string())
    }
}

/// Every route, with what it needs. Who calls is an extension of the request: a [`Caller`].
#[expect(clippy::cognitive_complexity, reason = "a line for each route, and nothing else")]
fn all() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Need::Nothing, routes!(health::healthz)))
        .routes(needs(Need::Nothing, routes!(health::readyz)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(cluster::show)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(networks::list)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(networks::create)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(networks::show)))
        .routes(needs(Need::Somewhere(Role::Admin), routes!(networks::update)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(networks::remove)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(endpoints::list)))
        .routes(needs(Need::Somewhere(Role::Operator), routes!(endpoints::create)))
        .routes(needs(Need::Somewhere(Role::Operator), routes!(endpoints::create_batch)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(endpoints::show)))
        .routes(needs(Need::Somewhere(Role::Operator), routes!(endpoints::update)))
        .routes(needs(Need::Somewhere(Role::Operator), routes!(endpoints::remove)))
        .routes(needs(Need::Somewhere(Role::Operator), routes!(endpoints::rotate_key)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(config::show)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(routes::list)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(join_tokens::list)))
        .routes(needs(Need::Somewhere(Role::Operator), routes!(join_tokens::create)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(join_tokens::show)))
        .routes(needs(Need::Somewhere(Role::Operator), routes!(join_tokens::remove)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(managers::list)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(managers::show)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(managers::update)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(managers::remove)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(audit::list)))
}

/// The routes of the API.
pub fn router(api: Api) -> Router {
    let (routes, _) = all().split_for_parts();
    let nested = Router::new().nest(festoon_api::BASE, routes.fallback(unknown).method_not_allowed_fallback(method));
    nested.merge(openapi::routes()).with_state(api)
}

async fn unknown() -> Refused {
    let text = "the API has no such route: see /api/v1/openapi.json for those there are";
    Refused::new(axum::http::StatusCode::NOT_FOUND, "route-unknown", text)
}

async fn method() -> Refused {
    let text = "this can't be done to it: see /api/v1/openapi.json for what can";
    Refused::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "method-unknown", text)
}
