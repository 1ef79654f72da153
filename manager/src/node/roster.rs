//! Who is in the map: the little of it that a node looks up for itself, beside what its forwarder made of it.

use std::collections::BTreeMap;
use std::time::Instant;

use festoon_proto::map::{EndpointKind, ManagerMap, ManagerMapDelta, MapVersion, Timing};
use festoon_proto::{EndpointId, ManagerId, NetworkId};

/// An endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) kind: EndpointKind,
    network: NetworkId,
    changed: MapVersion,
    /// When a stock client was last found to have moved here.
    pub(super) moved_at: Option<Instant>,
    /// How often it was attached here since the start.
    pub(super) attached: u32,
}

/// All networks, managers and endpoints. Starts empty, at version 0.
#[derive(Debug, Default)]
pub(super) struct Roster {
    version: MapVersion,
    timing: Timing,
    managers: Vec<ManagerId>,
    managers_changed: MapVersion,
    networks: BTreeMap<NetworkId, MapVersion>,
    endpoints: BTreeMap<EndpointId, Known>,
}

impl Roster {
    /// The version of the map.
    pub(super) const fn version(&self) -> MapVersion {
        self.version
    }

    /// How fast failover is.
    pub(super) const fn timing(&self) -> Timing {
        self.timing
    }

    /// All managers.
    pub(super) fn managers(&self) -> impl Iterator<Item = ManagerId> + '_ {
        self.managers.iter().copied()
    }

    /// All endpoints, by id.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = EndpointId> + '_ {
        self.endpoints.keys().copied()
    }

    /// Whether there is this endpoint.
    pub(super) fn knows(&self, id: EndpointId) -> bool {
        self.endpoints.contains_key(&id)
    }

    /// What is known of an endpoint.
    pub(super) fn endpoint_mut(&mut self, id: EndpointId) -> Option<&mut Known> {
        self.endpoints.get_mut(&id)
    }

    /// The network of an endpoint.
    pub(super) fn network_of(&self, id: EndpointId) -> Option<NetworkId> {
        self.endpoints.get(&id).map(|known| known.network)
    }

    /// How often it was attached here since the start.
    pub(super) fn attached(&self, id: EndpointId) -> u32 {
        self.endpoints.get(&id).map_or(0, |known| known.attached)
    }

    /// Whether this is an endpoint with our program.
    pub(super) fn is_agent(&self, id: EndpointId) -> bool {
        self.endpoints.get(&id).is_some_and(|known| known.kind == EndpointKind::Agent)
    }

    /// The version of an endpoint's own map: the last change of anything it can see.
    pub(super) fn endpoint_version(&self, id: EndpointId) -> MapVersion {
        let Some(known) = self.endpoints.get(&id) else { return MapVersion::default() };
        let network = self.networks.get(&known.network).copied().unwrap_or_default();
        known.changed.max(network).max(self.managers_changed)
    }

    /// The way from here to a map that stands alone.
    pub(super) fn way_to(&self, map: ManagerMap) -> ManagerMapDelta {
        map.replacing(self.version, self.networks.keys().copied(), self.endpoints())
    }

    /// Goes the way of a change.
    pub(super) fn change(&mut self, delta: &ManagerMapDelta) {
        for network in &delta.networks.removed {
            self.networks.remove(network);
        }
        self.networks.extend(delta.networks.put.iter().map(|network| (network.id, network.changed)));
        for endpoint in &delta.endpoints.removed {
            self.endpoints.remove(endpoint);
        }
        for info in &delta.endpoints.put {
            let before = self.endpoints.get(&info.id);
            let (moved_at, attached) = before.map_or((None, 0), |known| (known.moved_at, known.attached));
            let known = Known { kind: info.kind, network: info.network, changed: info.changed, moved_at, attached };
            self.endpoints.insert(info.id, known);
        }
        if let Some(managers) = &delta.managers {
            self.managers = managers.iter().map(|manager| manager.id).collect();
        }
        self.managers_changed = delta.managers_changed;
        self.version = delta.version;
        self.timing = delta.timing;
    }
}
