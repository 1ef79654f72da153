//! Routes that endpoints offer, and that an admin approves.
//!
//! A route leads out of the overlay: an endpoint carries packets to a prefix behind it. Two endpoints of a network may offer
//! the same prefix, and one of them carries it.

use festoon_proto::EndpointId;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::networks::{self, NetworkError};
use super::record::{Endpoint, Network, OfferedRoute};
use super::state::State;
use super::{EndpointError, OfferRoutes, Refusal};

/// Routes that an endpoint may offer.
pub const MAX_ROUTES: usize = 64;

/// A route is not offered or approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RouteError {
    /// It is no prefix that leads anywhere.
    #[error(transparent)]
    Prefix(#[from] NetworkError),
    /// There are too many.
    #[error("an endpoint offers at most {MAX_ROUTES} routes, not {0}: join those that touch")]
    TooMany(usize),
    /// The same twice.
    #[error("{0} is there twice: leave one out")]
    Twice(IpNet),
    /// The overlay itself is there.
    #[error("{route} and {prefix}, which is the network's own, overlap: offer what is outside of the overlay")]
    OfNetwork {
        /// The route.
        route: IpNet,
        /// A prefix of the network.
        prefix: IpNet,
    },
    /// Its endpoint does not offer it.
    #[error("{0} is not offered by this endpoint: start its agent with --route {0} first")]
    NotOffered(IpNet),
    /// Another carries it.
    #[error("{route} is carried by {by} already: withdraw that first")]
    Taken {
        /// The route.
        route: IpNet,
        /// Who carries it.
        by: EndpointId,
    },
}

impl RouteError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Prefix(_) | Self::Twice(_) => "bad-route",
            Self::TooMany(_) => "too-many-routes",
            Self::OfNetwork { .. } => "route-overlap",
            Self::NotOffered(_) => "route-unknown",
            Self::Taken { .. } => "route-taken",
        }
    }
}

pub(super) fn offer(state: &mut State, command: &OfferRoutes) -> Result<(), Refusal> {
    let id = command.endpoint;
    let mut endpoint = state.endpoint(id).cloned().ok_or(EndpointError::Unknown(id))?;
    let network = state.network(endpoint.network).cloned().ok_or(EndpointError::NoNetwork(endpoint.network))?;
    check(&network, &command.prefixes)?;
    let is_approved = |prefix: &IpNet| endpoint.approved_routes().any(|approved| approved == *prefix);
    let offered = |prefix: &IpNet| OfferedRoute { prefix: *prefix, is_approved: is_approved(prefix) };
    let mut routes: Vec<_> = command.prefixes.iter().map(offered).collect();
    routes.sort_by_key(|route| route.prefix);
    if routes != endpoint.routes() {
        endpoint.set_details(|details| details.routes = routes);
        state.replace_endpoint(endpoint);
    }
    Ok(())
}

/// All routes of an endpoint, of which those that are `approved` are used.
pub(super) fn approve(state: &State, endpoint: &Endpoint, approved: &[IpNet]) -> Result<Vec<OfferedRoute>, RouteError> {
    let is_offered = |prefix: &&IpNet| endpoint.routes().iter().any(|route| route.prefix == **prefix);
    if let Some(prefix) = approved.iter().find(|prefix| !is_offered(prefix)) {
        return Err(RouteError::NotOffered(*prefix));
    }
    for route in approved {
        if let Some(by) = state.route(endpoint.network, *route).filter(|by| *by != endpoint.id) {
            return Err(RouteError::Taken { route: *route, by });
        }
    }
    let offered = |route: &OfferedRoute| OfferedRoute { is_approved: approved.contains(&route.prefix), ..*route };
    Ok(endpoint.routes().iter().map(offered).collect())
}

fn check(network: &Network, prefixes: &[IpNet]) -> Result<(), RouteError> {
    if prefixes.len() > MAX_ROUTES {
        return Err(RouteError::TooMany(prefixes.len()));
    }
    for (at, route) in prefixes.iter().enumerate() {
        networks::check_route(*route)?;
        if prefixes[..at].contains(route) {
            return Err(RouteError::Twice(*route));
        }
        let overlaps = |prefix: &IpNet| prefix.contains(route) || route.contains(prefix);
        if let Some(prefix) = network.prefixes.iter().map(|prefix| prefix.net).find(overlaps) {
            return Err(RouteError::OfNetwork { route: *route, prefix });
        }
    }
    Ok(())
}
