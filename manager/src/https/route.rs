//! The routes that the OpenAPI document does not have: of agents, of other managers, and of the admin socket.
//!
//! They stand in one table. The routers are made from it, and `festoon-manager internal-routes` prints it. So whoever tests which
//! request is answered to whom can see every route; clippy forbids to add one to a router in any other way (`clippy.toml`).

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use festoon_proto::http;
use serde::Serialize;

use crate::local;

/// Where a route is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Listener {
    /// HTTPS, to everybody.
    Everybody,
    /// HTTPS, to managers of the cluster ([`CLUSTER_ALPN`](crate::pki::CLUSTER_ALPN)).
    Managers,
    /// HTTPS, to managers of the cluster ([`CONSENSUS_ALPN`](crate::pki::CONSENSUS_ALPN)).
    Consensus,
    /// The admin socket.
    Socket,
}

/// How a route is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    Get,
    Post,
    Put,
}

impl Method {
    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
        }
    }
}

/// A route. Only the table makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Route {
    listener: Listener,
    method: Method,
    path: &'static str,
}

impl Route {
    /// Its path.
    pub const fn path(self) -> &'static str {
        self.path
    }
}

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident: $listener:ident, $method:ident, $path:expr;)*) => {
        $($(#[$doc])* pub const $name: Route = Route { listener: Listener::$listener, method: Method::$method, path: $path };)*

        /// All routes of the table.
        pub const ALL: &[Route] = &[$($name),*];
    };
}

table! {
    /// An endpoint joins with a token.
    AGENT_JOIN: Everybody, Post, http::AGENT_JOIN;
    /// An endpoint fetches its map.
    AGENT_MAP: Everybody, Get, http::AGENT_MAP;
    /// How the epoch of the cluster began.
    AGENT_EPOCH: Everybody, Get, http::AGENT_EPOCH;
    /// An endpoint has a new key and a new credential.
    AGENT_ROTATE: Everybody, Post, http::AGENT_ROTATE;
    /// An endpoint says which routes it offers.
    AGENT_ROUTES: Everybody, Put, http::AGENT_ROUTES;
    /// An endpoint leaves for good.
    AGENT_LEAVE: Everybody, Post, http::AGENT_LEAVE;
    /// A manager joins with a token.
    MANAGER_JOIN: Everybody, Post, http::MANAGER_JOIN;

    /// One question of consensus, and its answer.
    ASK: Consensus, Post, "/cluster/v1/ask";
    /// What a manager has to sign to begin anew.
    RENEW_OFFER: Managers, Post, "/cluster/v1/renew/offer";
    /// A manager begins anew, and has signed that.
    RENEW: Managers, Post, "/cluster/v1/renew";
    /// A signing request in PEM gets a certificate for whoever asks, and those behind it, in PEM.
    CERTIFICATE: Managers, Post, "/cluster/v1/certificate";
    /// Which certificate a manager shows now, and which agents it told of the next CA.
    CERTIFICATE_SHOWN: Managers, Post, "/cluster/v1/certificate/shown";
    /// Entries of the audit log.
    AUDIT: Managers, Post, "/cluster/v1/audit";
    /// The hash of an entry of the audit log.
    AUDIT_HEAD: Managers, Post, "/cluster/v1/audit-head";
    /// What a manager tells behind a cursor.
    EVENTS: Managers, Post, "/cluster/v1/events";
    /// How all deliveries of events go.
    DELIVERIES: Managers, Post, "/cluster/v1/deliveries";
    /// Cut off the endpoint whose id is the body.
    DISCONNECT: Managers, Post, "/cluster/v1/disconnect";

    /// What the manager says of itself and the cluster.
    STATUS: Socket, Get, local::STATUS;
    /// The manager leaves the cluster, and stops.
    LEAVE: Socket, Post, local::LEAVE;
    /// Why a promotion would be refused.
    PROMOTION: Socket, Get, local::PROMOTE;
    /// The cluster goes on from the copy of this manager alone.
    PROMOTE: Socket, Post, local::PROMOTE;
    /// The manager was fenced off, and begins anew.
    REJOIN: Socket, Post, local::REJOIN;
    /// The CAs, and who knows of them.
    CA: Socket, Get, local::CA;
    /// Makes the next CA.
    CA_ROTATE: Socket, Post, local::CA_ROTATE;
    /// The next CA issues certificates.
    CA_PROMOTE: Socket, Post, local::CA_PROMOTE;
    /// The CA before is trusted no longer.
    CA_RETIRE: Socket, Post, local::CA_RETIRE;
    /// The manager gets another key for its tunnels and links.
    OWN_KEY: Socket, Post, local::OWN_KEY;
}

/// The table, a line of JSON for each route.
pub fn text() -> String {
    let lines = ALL.iter().filter_map(|route| serde_json::to_string(route).ok());
    lines.map(|line| line + "\n").collect()
}

/// Adds routes of the table to a router.
pub trait Serve<S> {
    /// `handler` answers `route`.
    #[must_use]
    fn serve<T: 'static>(self, route: Route, handler: impl Handler<T, S>) -> Self;
}

impl<S: Clone + Send + Sync + 'static> Serve<S> for Router<S> {
    #[expect(clippy::disallowed_methods, reason = "this is how routes of the table are added")]
    fn serve<T: 'static>(self, route: Route, handler: impl Handler<T, S>) -> Self {
        self.route(route.path, on(route.method.filter(), handler))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_route_is_there_once_and_printed_as_a_line() {
        let text = text();
        let lines: BTreeSet<&str> = text.lines().collect();
        assert_eq!(lines.len(), ALL.len());
        assert!(lines.contains(r#"{"listener":"consensus","method":"POST","path":"/cluster/v1/ask"}"#), "{text}");
    }
}
