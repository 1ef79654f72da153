//! What an admin means by a name.

use axum::http::StatusCode;
use festoon_control::registry::{Endpoint, Manager, Network, State};

use crate::https::Refused;

/// The network of this name; without one the only network, or the one called `default`.
pub(super) fn network<'a>(state: &'a State, name: Option<&str>) -> Result<&'a Network, Refused> {
    let Some(name) = name else {
        let mut all = state.networks();
        return match (all.next(), all.next()) {
            (Some(only), None) => Ok(only),
            _ => state.network_named("default").ok_or_else(|| {
                let text = "this cluster has several networks: name one with --network";
                Refused::new(StatusCode::CONFLICT, "network-ambiguous", text)
            }),
        };
    };
    let by_name = state.network_named(name);
    let found = by_name.or_else(|| name.parse().ok().and_then(|id| state.network(id)));
    found.ok_or_else(|| not_found("network", name))
}

/// The endpoint of this name, if it is the only one, or of this id.
pub(super) fn endpoint<'a>(state: &'a State, name: &str) -> Result<&'a Endpoint, Refused> {
    let mut named = state.endpoints().filter(|endpoint| *endpoint.name == *name);
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only),
        (Some(one), Some(other)) => {
            let text = format!("several networks have an endpoint {name}: name {}, {} or another id", one.id, other.id);
            Err(Refused::new(StatusCode::CONFLICT, "endpoint-ambiguous", &text))
        }
        _ => name.parse().ok().and_then(|id| state.endpoint(id)).ok_or_else(|| not_found("endpoint", name)),
    }
}

/// The manager of this name or id.
pub(super) fn manager<'a>(state: &'a State, name: &str) -> Result<&'a Manager, Refused> {
    let by_name = state.managers().find(|manager| manager.name == name);
    let found = by_name.or_else(|| name.parse().ok().and_then(|id| state.manager(id)));
    found.ok_or_else(|| not_found("manager", name))
}

fn not_found(what: &str, name: &str) -> Refused {
    let text = format!("there is no {what} {name}: see `festoon-manager status` for those there are");
    Refused::new(StatusCode::NOT_FOUND, &format!("{what}-unknown"), &text)
}
