//! What the map says, made into tunnels, links and routes; changes of it touch only what they name.

use std::collections::BTreeMap;

use festoon_proto::map::{EndpointInfo, EndpointKind, ManagerInfo, ManagerMapDelta, NetworkInfo};
use festoon_proto::{EndpointId, ManagerId, PrivateKey, PublicKey};
use ipnet::IpNet;

use super::{Member, Network, Place, Role, RouterForwarder, Target};
use crate::peers::{Pair, PeerId};

impl RouterForwarder {
    /// Takes over a change of the map. Who is gone is cut off at once, and so is a key that is no longer good; whoever stays
    /// keeps its place, and its sessions with keys that stay.
    ///
    /// First everything that changes is withdrawn, then put: an address or a key may go from one to another.
    pub fn change_map(&mut self, delta: &ManagerMapDelta) {
        let places = self.withdraw_members(delta);
        if let Some(managers) = &delta.managers {
            let others: Vec<_> = managers.iter().filter(|manager| manager.id != delta.manager).collect();
            self.withdraw_links(&others);
            others.iter().for_each(|manager| self.put_link(manager));
            self.bring_over.begin();
        }
        for network in &delta.networks.removed {
            self.networks.remove(network);
        }
        for network in &delta.networks.put {
            self.networks.entry(network.id).or_default().set(network);
        }
        for endpoint in &delta.endpoints.put {
            self.put_member(endpoint, places.get(&endpoint.id).copied().unwrap_or(Place::Nowhere));
        }
    }

    /// Withdraws the endpoints that are gone or different, and says where they were.
    fn withdraw_members(&mut self, delta: &ManagerMapDelta) -> BTreeMap<EndpointId, Place> {
        let gone = delta.endpoints.removed.iter().map(|&id| (id, [None, None]));
        let put = delta.endpoints.put.iter().map(|info| (info.id, [Some(info.public_key), info.previous_key]));
        gone.chain(put).filter_map(|(id, keys)| Some((id, self.withdraw_member(id, keys)?))).collect()
    }

    /// Withdraws the routes of an endpoint, and its sessions but those with keys that stay good.
    fn withdraw_member(&mut self, endpoint: EndpointId, keys: [Option<PublicKey>; 2]) -> Option<Place> {
        let id = self.by_endpoint.remove(&endpoint)?;
        let Some(Role::Endpoint(member)) = self.peers.get(id).map(|peer| &peer.role) else { return None };
        if let Some(network) = self.networks.get_mut(&member.network) {
            network.withdraw(id, &member.allowed);
        }
        let (place, former) = (member.place, member.former);
        self.silent.remove(&endpoint);
        for peer in [Some(id), former].into_iter().flatten() {
            if !keys.contains(&self.peers.get(peer).map(|peer| *peer.key())) {
                self.peers.remove(peer);
            }
        }
        Some(place)
    }

    fn put_member(&mut self, info: &EndpointInfo, place: Place) {
        let member = Member {
            id: info.id,
            network: info.network,
            allowed: info.allowed.clone().into_boxed_slice(),
            is_client: info.kind == EndpointKind::Client,
            place,
            former: info.previous_key.and_then(|key| self.peers.insert(key, Role::Former(info.id))),
        };
        let Some(peer) = self.peers.insert(info.public_key, Role::Endpoint(member)) else { return };
        self.by_endpoint.insert(info.id, peer);
        if let Some(network) = self.networks.get_mut(&info.network) {
            network.put(peer, &info.allowed);
        }
    }

    /// Withdraws the links to managers that are gone, and those with keys that are no longer good.
    fn withdraw_links(&mut self, managers: &[&ManagerInfo]) {
        for (id, pair) in std::mem::take(&mut self.links) {
            let manager = managers.iter().find(|manager| manager.id == id);
            let keys = manager.map_or([None, None], |manager| [Some(manager.public_key), manager.previous_key]);
            for peer in pair.peers() {
                if !keys.contains(&self.peers.get(peer).map(|peer| *peer.key())) {
                    self.peers.remove(peer);
                }
            }
        }
    }

    fn put_link(&mut self, manager: &ManagerInfo) {
        let former = manager.previous_key.and_then(|key| self.peers.insert(key, Role::Link(manager.id)));
        let Some(present) = self.peers.insert(manager.public_key, Role::Link(manager.id)) else { return };
        let pair = Pair { present, former };
        pair.peers().for_each(|peer| self.peers.set_candidates(peer, &manager.underlay));
        self.links.insert(manager.id, pair);
    }

    /// Starts handshakes with `key` from now on, and answers to those for `former` too. Links and tunnels with other keys are
    /// cut off.
    pub fn set_keys(&mut self, key: &PrivateKey, former: Option<&PrivateKey>) {
        self.peers.set_keys(key, former);
        self.bring_over.begin();
    }

    /// Sets where an endpoint is.
    pub fn set_place(&mut self, endpoint: EndpointId, place: Place) {
        let peer = self.by_endpoint.get(&endpoint).and_then(|&peer| self.peers.get_mut(peer));
        if let Some(Role::Endpoint(member)) = peer.map(|peer| &mut peer.role) {
            member.place = place;
        }
        if place != Place::Here {
            self.silent.remove(&endpoint);
        }
    }

    /// Sets over which link each manager is reached. One that is not named is not reached.
    pub fn set_paths(&mut self, paths: impl IntoIterator<Item = (ManagerId, ManagerId)>) {
        self.paths = paths.into_iter().collect();
    }
}

impl Network {
    /// Takes over what the map says of the network itself. Its endpoints' routes stay.
    fn set(&mut self, info: &NetworkInfo) {
        for &gateway in &self.gateways {
            self.table.remove_if(IpNet::from(gateway), |target| *target == Target::Gateway);
        }
        for &gateway in &info.gateways {
            self.table.insert(IpNet::from(gateway), Target::Gateway);
        }
        self.mtu = info.mtu;
        self.gateways.clone_from(&info.gateways);
    }

    fn put(&mut self, peer: PeerId, prefixes: &[IpNet]) {
        for prefix in prefixes {
            self.table.insert(*prefix, Target::Member(peer));
        }
    }

    fn withdraw(&mut self, peer: PeerId, prefixes: &[IpNet]) {
        for prefix in prefixes {
            self.table.remove_if(*prefix, |target| *target == Target::Member(peer));
        }
    }
}
