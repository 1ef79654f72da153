//! What the listener serves once it is there. It listens before: a manager that has just joined gets its copy of the registry
//! through it.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use tower_service::Service as _;

use super::Refused;

/// Routes that come later. A clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Later(Arc<OnceLock<Router>>);

impl Later {
    /// They are here. The first ones stay.
    pub fn set(&self, routes: Router) {
        // A witness has none, and a layer wants some.
        let routes = if routes.has_routes() { routes.route_layer(from_fn(tell_route)) } else { routes };
        let _ = self.0.set(routes);
    }

    /// What takes every request that no other route takes.
    pub fn router(&self) -> Router {
        Router::new().fallback(hand_on).with_state(self.clone())
    }
}

async fn hand_on(State(Later(routes)): State<Later>, request: Request) -> Response {
    let Some(routes) = routes.get() else {
        let text = "this manager is starting: try again soon";
        return Refused::new(StatusCode::SERVICE_UNAVAILABLE, "starting", text).retry_after(1).into_response();
    };
    match routes.clone().call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Has the answer say which route it is of, for those outside who count and see only that nothing else took it.
async fn tell_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}
