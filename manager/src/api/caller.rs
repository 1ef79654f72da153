//! What a caller may know of.

use std::fmt::Display;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use festoon_control::registry::{Endpoint, Network, State};
use festoon_proto::{EndpointId, NetworkId};

use crate::accounts::Caller;
use crate::https::Refused;

impl Caller {
    /// A network that it may know of.
    pub(super) fn network<'a>(&self, state: &'a State, id: NetworkId) -> Result<&'a Network, Refused> {
        let network = state.network(id).filter(|network| self.sees(network.id));
        network.ok_or_else(|| unknown("network", &id.to_string()))
    }

    /// The network of this id or name that it may know of; without one the only network, or the one called `default`.
    pub(super) fn network_named<'a>(&self, state: &'a State, name: Option<&str>) -> Result<&'a Network, Refused> {
        let mut seen = state.networks().filter(|network| self.sees(network.id));
        let Some(name) = name else {
            return match (seen.next(), seen.next()) {
                (Some(only), None) => Ok(only),
                _ => state.network_named("default").filter(|network| self.sees(network.id)).ok_or_else(|| {
                    Refused::new(StatusCode::CONFLICT, "network-ambiguous", "there are several networks: name one")
                }),
            };
        };
        let named = seen.find(|network| network.name == name);
        let found = named.or_else(|| name.parse().ok().and_then(|id| self.network(state, id).ok()));
        found.ok_or_else(|| unknown("network", name))
    }

    /// The id of a network that may be named; none if it is not.
    pub(super) fn network_if_named(&self, state: &State, name: Option<&str>) -> Result<Option<NetworkId>, Refused> {
        name.map(|name| Ok(self.network_named(state, Some(name))?.id)).transpose()
    }

    /// An endpoint that it may know of.
    pub(super) fn endpoint<'a>(&self, state: &'a State, id: EndpointId) -> Result<&'a Endpoint, Refused> {
        let endpoint = state.endpoint(id).filter(|endpoint| self.sees(endpoint.network));
        endpoint.ok_or_else(|| unknown("endpoint", &id.to_string()))
    }
}

/// What was just added is not in this manager's copy: a majority has it, and this manager has heard of nobody since.
pub(super) fn behind(what: &str, id: impl Display) -> Refused {
    let text = format!(
        "{what} {id} was added, but this manager was cut off from the others before it had it: look through another manager before you try again"
    );
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "copy-behind", &text)
}

pub(super) fn unknown(what: &str, id: &str) -> Refused {
    let id: String = id.chars().take(64).collect();
    Refused::new(StatusCode::NOT_FOUND, &format!("{what}-unknown"), &format!("there is no {what} {id}, or not for you"))
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        // A route that needs nothing has no caller, and asks for none.
        parts.extensions.get::<Self>().cloned().ok_or_else(Refused::internal)
    }
}
