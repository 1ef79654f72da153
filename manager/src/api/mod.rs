//! The HTTP API, `/api/v1`: all that a person or a program does to a cluster. See `festoon-api` for its conventions.
//!
//! A handler reads a state of the registry that stays the same meanwhile, and proposes at most one change. Who may use a route is
//! said where it is registered, in [`router`]; what of it they see, by the [`Caller`] they are.

mod access;
mod answer;
mod api_tokens;
mod audit;
mod caller;
mod change;
mod cluster;
mod compromised;
mod config;
mod confirmation;
mod credentials;
mod disconnect;
mod endpoints;
mod event_destinations;
mod events;
mod headers;
mod health;
mod identify;
mod join_tokens;
mod list;
mod managers;
mod networks;
mod oidc;
mod openapi;
mod query;
mod routes;
mod session;
mod sessions;
mod settings;
mod snapshots;
mod users;
mod view;

use axum::extract::{Request, State};
use axum::{Router, middleware};
use festoon_proto::ManagerId;
use festoon_proto::access::Role;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accounts::{Accounts, Caller, Names};
use crate::audit::Reader;
use crate::cluster::{Cluster, Https};
use crate::deliver::Deliveries;
use crate::driver::{NodeHandle, Stopped};
use crate::events::Events;
use crate::https::Refused;
use crate::local::Opener;
use crate::node::Status;
use crate::snapshot::Snapshots;
use crate::vault::Vault;
use access::{Known, Need, large, needs};

pub use disconnect::router as peer_router;
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
    /// Who may log in.
    pub accounts: Accounts,
    /// What the managers are called.
    pub names: Names,
    /// What happened.
    pub events: Events,
    /// Who did what.
    pub audit: Reader,
    /// Its snapshots.
    pub snapshots: Snapshots,
    /// Its secrets.
    pub vault: Vault,
    /// The way to the other managers.
    pub managers: Https,
    /// How events are sent to others.
    pub deliveries: Deliveries,
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
        .routes(needs(Need::Somewhere(Role::Operator), large(routes!(endpoints::create_batch))))
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
        .routes(needs(Need::Everywhere(Role::Admin), routes!(managers::drain)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(managers::undrain)))
        .routes(needs(Need::Somewhere(Role::Operator), routes!(disconnect::disconnect)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(audit::list)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(events::list)))
        .merge(accounts())
        .merge(of_the_cluster())
        .merge(event_destinations())
}

/// Whoever is logged in may use them for itself, and an owner for everybody.
fn accounts() -> OpenApiRouter<Api> {
    log_in()
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(session::show)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(session::log_out)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(confirmation::confirm_session)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(users::list)))
        .routes(needs(Need::Everywhere(Role::Owner), routes!(users::create)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(users::show)))
        .routes(needs(Need::Everywhere(Role::Owner), routes!(users::update)))
        .routes(needs(Need::Everywhere(Role::Owner), routes!(users::remove)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(credentials::change_password)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(credentials::begin_totp)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(credentials::confirm_totp)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(credentials::remove_totp)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(credentials::new_recovery_codes)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(sessions::list)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(sessions::end)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(sessions::end_all)))
        .merge(api_tokens())
}

fn log_in() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Need::Nothing, routes!(session::set_up)))
        .routes(needs(Need::Everywhere(Role::Owner), routes!(session::new_set_up_secret)))
        .routes(needs(Need::Nothing, routes!(session::log_in)))
        .routes(needs(Need::Nothing, routes!(oidc::ways)))
        .routes(needs(Need::Nothing, routes!(oidc::begin)))
        .routes(needs(Need::Nothing, routes!(oidc::finish)))
}

fn api_tokens() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(api_tokens::list)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(api_tokens::create)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(api_tokens::show)))
        .routes(needs(Need::Somewhere(Role::Viewer), routes!(api_tokens::remove)))
}

fn event_destinations() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Need::Everywhere(Role::Admin), routes!(event_destinations::list)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(event_destinations::create)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(event_destinations::show)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(event_destinations::update)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(event_destinations::remove)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(event_destinations::rotate_secret)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(event_destinations::test)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(event_destinations::dead_letters)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(event_destinations::redeliver)))
}

fn of_the_cluster() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(needs(Need::Everywhere(Role::Admin), routes!(snapshots::list)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(snapshots::create)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(snapshots::read)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(snapshots::take)))
        .routes(needs(Need::Everywhere(Role::Admin), routes!(settings::show)))
        .routes(needs(Need::Everywhere(Role::Owner), routes!(settings::update)))
}

/// The API for whoever may open the admin socket.
pub fn local_router(api: Api) -> Router {
    let introduce = middleware::map_request_with_state(api.manager, introduce);
    router(api).layer(introduce)
}

/// Says who opened the socket.
async fn introduce(State(manager): State<ManagerId>, Opener(user): Opener, mut request: Request) -> Request {
    request.extensions_mut().insert(Known(Ok(Caller::local(manager, user))));
    request
}

/// The API for whoever comes over the network: every request shows who makes it.
pub fn https_router(api: Api) -> Router {
    let identify = middleware::from_fn_with_state(api.clone(), identify::identify);
    let name_authorities = middleware::from_fn_with_state(api.cluster.clone(), answer::name_authorities);
    router(api).layer(identify).layer(middleware::map_response(answer::harden)).layer(name_authorities)
}

/// What a witness has in its place: it can't check codes, and serves no API.
pub fn witness_router() -> Router {
    async fn refuse() -> Refused {
        let text = "this manager is a witness and has no API: ask a full manager of the cluster";
        Refused::new(axum::http::StatusCode::MISDIRECTED_REQUEST, "witness", text)
    }
    Router::new().fallback(refuse)
}

fn router(api: Api) -> Router {
    let (routes, _) = all().split_for_parts();
    let nested = Router::new().nest(festoon_api::BASE, routes.fallback(unknown).method_not_allowed_fallback(method));
    nested.merge(openapi::routes()).fallback(unknown).with_state(api)
}

async fn unknown() -> Refused {
    let text = "the API has no such route: see /api/v1/openapi.json for those there are";
    Refused::new(axum::http::StatusCode::NOT_FOUND, "route-unknown", text)
}

async fn method() -> Refused {
    let text = "this can't be done to it: see /api/v1/openapi.json for what can";
    Refused::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "method-unknown", text)
}
