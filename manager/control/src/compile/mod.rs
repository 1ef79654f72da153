//! From the registry's state to what one node needs to know of it.
//!
//! A map is compiled as a whole once, when a node starts. From then on [`manager_delta`] compiles what changed from one
//! state to another, at a cost that grows with the change and not with the cluster.

mod delta;
#[cfg(test)]
mod tests;

use festoon_proto::map::{
    EndpointInfo, EndpointMap, GivenRange, ManagerInfo, ManagerMap, MapVersion, NetworkInfo, OwnRoute, Timing,
};
use festoon_proto::{EndpointId, ManagerId};
use ipnet::IpNet;

use crate::registry::{Endpoint, Manager, Network, OfferedRoute, State};

pub use delta::manager_delta;

/// The map of a manager; `None` if the state has no such manager, or if it is a witness, which carries nothing.
pub fn manager_map(state: &State, manager: ManagerId) -> Option<ManagerMap> {
    state.manager(manager).filter(|manager| manager.is_full())?;
    Some(ManagerMap {
        version: state.version(),
        manager,
        networks: state.networks().map(network_info).collect(),
        endpoints: state.endpoints().filter_map(endpoint_info).collect(),
        managers: state.full_managers().map(manager_info).collect(),
        managers_changed: state.managers_changed(),
        timing: Timing::default(),
    })
}

/// The map of an endpoint; `None` if the state has no such endpoint, or if it may not use the overlay.
pub fn endpoint_map(state: &State, endpoint: EndpointId) -> Option<EndpointMap> {
    let endpoint = state.endpoint(endpoint).filter(|endpoint| endpoint.is_enabled)?;
    Some(EndpointMap {
        version: endpoint_version(state, endpoint),
        cluster: state.cluster()?,
        endpoint: endpoint.id,
        name: endpoint.name.to_string(),
        network: network_info(state.network(endpoint.network)?),
        addresses: endpoint.addresses.to_vec(),
        given: given(state.network(endpoint.network)?),
        routes: routes(state, endpoint),
        own_routes: endpoint.routes().iter().map(own_route).collect(),
        is_key_due: endpoint.is_key_due,
        managers: state.full_managers().map(manager_info).collect(),
        epoch: state.epoch().id(),
        recovery_key: state.recovery_key(),
        authorities: state.vault().authorities().iter().map(|authority| authority.fingerprint).collect(),
        timing: Timing::default(),
    })
}

fn given(network: &Network) -> Vec<GivenRange> {
    network.given.iter().map(|range| GivenRange { first: range.first, last: range.last }).collect()
}

const fn own_route(route: &OfferedRoute) -> OwnRoute {
    OwnRoute { prefix: route.prefix, is_approved: route.is_approved }
}

/// What the endpoint reaches through others.
fn routes(state: &State, endpoint: &Endpoint) -> Vec<IpNet> {
    state.routes(endpoint.network).filter(|(_, by)| *by != endpoint.id).map(|(prefix, _)| prefix).collect()
}

/// The last command that changed anything the endpoint can see. Not the state's own version, or every change anywhere
/// would make every agent fetch its map.
pub fn endpoint_version(state: &State, endpoint: &Endpoint) -> MapVersion {
    let network = state.network(endpoint.network).map_or(MapVersion(0), |network| network.changed);
    endpoint.changed.max(network).max(state.managers_changed())
}

fn network_info(network: &Network) -> NetworkInfo {
    NetworkInfo {
        id: network.id,
        name: network.name.clone(),
        prefixes: network.prefixes.iter().map(|prefix| prefix.net).collect(),
        gateways: network.prefixes.iter().map(|prefix| prefix.gateway()).collect(),
        mtu: network.mtu,
        changed: network.changed,
    }
}

fn manager_info(manager: &Manager) -> ManagerInfo {
    ManagerInfo {
        id: manager.id,
        name: manager.name.clone(),
        public_key: manager.public_key,
        previous_key: manager.previous_key.map(|previous| previous.key),
        signing_key: manager.signing_key,
        underlay: manager.underlay.clone(),
        https: manager.https.clone(),
        priority: manager.priority,
    }
}

/// None of one that may not use the overlay.
fn endpoint_info(endpoint: &Endpoint) -> Option<EndpointInfo> {
    let own = endpoint.addresses.iter().map(IpNet::from);
    endpoint.is_enabled.then(|| EndpointInfo {
        id: endpoint.id,
        name: endpoint.name.to_string(),
        network: endpoint.network,
        public_key: endpoint.public_key,
        previous_key: endpoint.previous_key.as_ref().map(|previous| previous.key),
        kind: endpoint.kind,
        allowed: own.chain(endpoint.approved_routes()).collect(),
        changed: endpoint.changed,
    })
}
