//! The way from one map of a manager to another: as long as what changed, however large the maps are.

use std::collections::BTreeSet;

use super::{EndpointInfo, ManagerInfo, ManagerMap, MapVersion, NetworkInfo, Timing};
use crate::{EndpointId, ManagerId, NetworkId};

/// What became of the records of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes<Id, Info> {
    /// The ids of those that are gone.
    pub removed: Vec<Id>,
    /// Those that are new or different, as they are now.
    pub put: Vec<Info>,
}

impl<Id, Info> Default for Changes<Id, Info> {
    fn default() -> Self {
        Self { removed: Vec::new(), put: Vec::new() }
    }
}

/// The way from one map of a manager to another. [`ManagerMap::change`] says what it means; a node does the same to what it
/// made of its map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerMapDelta {
    /// The version of the map it begins at. Of any other it would make nonsense.
    pub base: MapVersion,
    /// The version of the map it ends at.
    pub version: MapVersion,
    /// The manager both maps are for.
    pub manager: ManagerId,
    /// What became of the networks.
    pub networks: Changes<NetworkId, NetworkInfo>,
    /// What became of the endpoints.
    pub endpoints: Changes<EndpointId, EndpointInfo>,
    /// All managers, if anything became of one.
    pub managers: Option<Vec<ManagerInfo>>,
    /// The last command that changed any of the managers.
    pub managers_changed: MapVersion,
    /// How fast failover is.
    pub timing: Timing,
}

impl ManagerMap {
    /// The way here from a map of which no more is known than its version and who is in it. Puts everything.
    pub fn replacing(
        self,
        base: MapVersion,
        networks: impl IntoIterator<Item = NetworkId>,
        endpoints: impl IntoIterator<Item = EndpointId>,
    ) -> ManagerMapDelta {
        let networks_here: BTreeSet<_> = self.networks.iter().map(|network| network.id).collect();
        let endpoints_here: BTreeSet<_> = self.endpoints.iter().map(|endpoint| endpoint.id).collect();
        ManagerMapDelta {
            base,
            version: self.version,
            manager: self.manager,
            networks: Changes {
                removed: networks.into_iter().filter(|id| !networks_here.contains(id)).collect(),
                put: self.networks,
            },
            endpoints: Changes {
                removed: endpoints.into_iter().filter(|id| !endpoints_here.contains(id)).collect(),
                put: self.endpoints,
            },
            managers: Some(self.managers),
            managers_changed: self.managers_changed,
            timing: self.timing,
        }
    }

    /// Goes the way of `delta`, which must begin here.
    pub fn change(&mut self, delta: &ManagerMapDelta) {
        change_records(&mut self.networks, &delta.networks, |network| network.id);
        change_records(&mut self.endpoints, &delta.endpoints, |endpoint| endpoint.id);
        if let Some(managers) = &delta.managers {
            self.managers.clone_from(managers);
        }
        self.version = delta.version;
        self.managers_changed = delta.managers_changed;
        self.timing = delta.timing;
    }
}

/// Changes `records`, which are in the order of their ids and stay so.
fn change_records<Id: Ord, Info: Clone>(
    records: &mut Vec<Info>,
    changes: &Changes<Id, Info>,
    id: impl Fn(&Info) -> Id,
) {
    for gone in &changes.removed {
        if let Ok(at) = records.binary_search_by_key(gone, &id) {
            records.remove(at);
        }
    }
    for info in &changes.put {
        match records.binary_search_by_key(&id(info), &id) {
            Ok(at) => records[at] = info.clone(),
            Err(at) => records.insert(at, info.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PublicKey;
    use crate::map::EndpointKind;

    fn endpoint(id: u64, name: &str) -> EndpointInfo {
        EndpointInfo {
            id: EndpointId(id),
            name: name.to_owned(),
            network: NetworkId(1),
            public_key: PublicKey::from_bytes([id as u8; 32]),
            previous_key: None,
            kind: EndpointKind::Agent,
            allowed: Vec::new(),
            changed: MapVersion(id),
        }
    }

    fn map(version: u64, networks: &[u32], endpoints: &[(u64, &str)]) -> ManagerMap {
        let network = |id: &u32| NetworkInfo {
            id: NetworkId(*id),
            name: format!("n{id}"),
            prefixes: Vec::new(),
            gateways: Vec::new(),
            mtu: 1360,
            changed: MapVersion(version),
        };
        ManagerMap {
            version: MapVersion(version),
            manager: ManagerId(1),
            networks: networks.iter().map(network).collect(),
            endpoints: endpoints.iter().map(|(id, name)| endpoint(*id, name)).collect(),
            managers: Vec::new(),
            managers_changed: MapVersion(1),
            timing: Timing::default(),
        }
    }

    #[test]
    fn a_delta_removes_replaces_and_adds_in_place() {
        let mut start = map(1, &[1, 3], &[(1, "a"), (2, "b"), (4, "d")]);
        let delta = ManagerMapDelta {
            base: start.version,
            version: MapVersion(2),
            manager: start.manager,
            networks: Changes { removed: vec![NetworkId(3)], put: Vec::new() },
            endpoints: Changes { removed: vec![EndpointId(1)], put: vec![endpoint(3, "c"), endpoint(4, "D")] },
            managers: None,
            managers_changed: MapVersion(1),
            timing: Timing::default(),
        };
        start.change(&delta);
        let mut expected = map(2, &[1], &[(2, "b"), (3, "c"), (4, "D")]);
        expected.networks[0].changed = MapVersion(1);
        assert_eq!(start, expected);
    }

    #[test]
    fn a_map_replaces_any_other() {
        let old = map(7, &[1, 2], &[(1, "a"), (2, "b")]);
        let new = map(9, &[2, 3], &[(2, "B"), (5, "e")]);
        let (networks, endpoints) = (old.networks.iter().map(|n| n.id), old.endpoints.iter().map(|e| e.id));
        let delta = new.clone().replacing(old.version, networks, endpoints);
        assert_eq!(
            (&delta.networks.removed[..], &delta.endpoints.removed[..]),
            (&[NetworkId(1)][..], &[EndpointId(1)][..])
        );
        let mut changed = old.clone();
        changed.change(&delta);
        assert_eq!(changed, new);
    }
}
