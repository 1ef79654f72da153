//! The state: records, and the indexes that find them.

use std::net::IpAddr;

use festoon_proto::map::MapVersion;
use festoon_proto::token::SecretHash;
use festoon_proto::{ClusterId, EndpointId, ManagerId, NetworkId, PublicKey};
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::record::{Endpoint, Manager, Network, Token, TokenUse};
use super::{UnixMs, name};

/// The desired state of a cluster after some command of its log. Immutable to the outside; a clone shares its structure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct State {
    version: MapVersion,
    cluster: Option<ClusterId>,
    writer: Option<ManagerId>,
    pub(super) networks: OrdMap<NetworkId, Network>,
    pub(super) endpoints: OrdMap<EndpointId, Endpoint>,
    managers: OrdMap<ManagerId, Manager>,
    managers_changed: MapVersion,
    tokens: OrdMap<SecretHash, Token>,
    addresses: OrdMap<(NetworkId, IpAddr), EndpointId>,
    names: OrdMap<(NetworkId, String), EndpointId>,
    keys: OrdSet<PublicKey>,
    // Ids are never used again: a late packet or an old backup must not speak for somebody new.
    last_network: u32,
    last_endpoint: u64,
    last_manager: u16,
}

impl State {
    /// The index of the last command that changed the state.
    pub const fn version(&self) -> MapVersion {
        self.version
    }

    /// The cluster; none before the bootstrap.
    pub const fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// The manager that writes the log.
    pub const fn writer(&self) -> Option<ManagerId> {
        self.writer
    }

    /// All networks, by id.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.values()
    }

    /// A network.
    pub fn network(&self, id: NetworkId) -> Option<&Network> {
        self.networks.get(&id)
    }

    /// The network with this name.
    pub fn network_named(&self, name: &str) -> Option<&Network> {
        self.networks().find(|network| network.name == name)
    }

    /// All endpoints, by id.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.values()
    }

    /// An endpoint.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        self.endpoints.get(&id)
    }

    /// Whether this id was given to an endpoint at some time. Tells one that was removed from one that a manager which
    /// lags behind has not heard of yet.
    pub const fn was_given(&self, id: EndpointId) -> bool {
        id.0 <= self.last_endpoint
    }

    /// The endpoint with this name in `network`.
    pub fn endpoint_named(&self, network: NetworkId, name: &str) -> Option<&Endpoint> {
        self.names.get(&(network, name.to_owned())).and_then(|id| self.endpoint(*id))
    }

    /// The endpoint that has `address` in `network`.
    pub fn owner(&self, network: NetworkId, address: IpAddr) -> Option<EndpointId> {
        self.addresses.get(&(network, address)).copied()
    }

    /// All managers, by id.
    pub fn managers(&self) -> impl Iterator<Item = &Manager> {
        self.managers.values()
    }

    /// A manager.
    pub fn manager(&self, id: ManagerId) -> Option<&Manager> {
        self.managers.get(&id)
    }

    /// The last command that changed what endpoints know of the managers.
    pub const fn managers_changed(&self) -> MapVersion {
        self.managers_changed
    }

    /// The token with this hash.
    pub fn token(&self, hash: &SecretHash) -> Option<&Token> {
        self.tokens.get(hash)
    }

    pub(super) fn knows_key(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }

    pub(super) fn at(&self, index: u64) -> Self {
        Self { version: MapVersion(index), ..self.clone() }
    }

    pub(super) fn found(&mut self, cluster: ClusterId, writer: ManagerId) {
        self.cluster = Some(cluster);
        self.writer = Some(writer);
    }

    pub(super) fn next_network(&mut self) -> NetworkId {
        self.last_network += 1;
        NetworkId(self.last_network)
    }

    pub(super) fn next_endpoint(&mut self) -> EndpointId {
        self.last_endpoint += 1;
        EndpointId(self.last_endpoint)
    }

    pub(super) fn next_manager(&mut self) -> Option<ManagerId> {
        self.last_manager = self.last_manager.checked_add(1)?;
        Some(ManagerId(self.last_manager))
    }

    pub(super) fn put_network(&mut self, network: Network) {
        self.networks.insert(network.id, network);
    }

    /// Adds an endpoint that is not there yet.
    pub(super) fn put_endpoint(&mut self, endpoint: Endpoint) {
        debug_assert!(name::check(&endpoint.name).is_ok(), "names are checked before");
        self.keys.insert(endpoint.public_key);
        self.names.insert((endpoint.network, endpoint.name.clone()), endpoint.id);
        for address in &endpoint.addresses {
            self.addresses.insert((endpoint.network, *address), endpoint.id);
        }
        self.endpoints.insert(endpoint.id, endpoint);
    }

    pub(super) fn remove_endpoint(&mut self, id: EndpointId) -> Option<Endpoint> {
        let endpoint = self.endpoints.remove(&id)?;
        self.keys.remove(&endpoint.public_key);
        self.names.remove(&(endpoint.network, endpoint.name.clone()));
        for address in &endpoint.addresses {
            self.addresses.remove(&(endpoint.network, *address));
        }
        Some(endpoint)
    }

    /// Adds a manager, or replaces it by one with the same key.
    pub(super) fn put_manager(&mut self, manager: Manager) {
        self.keys.insert(manager.public_key);
        self.managers.insert(manager.id, manager);
        self.managers_changed = self.version;
    }

    pub(super) fn remove_manager(&mut self, id: ManagerId) -> Option<Manager> {
        let manager = self.managers.remove(&id)?;
        self.keys.remove(&manager.public_key);
        self.managers_changed = self.version;
        Some(manager)
    }

    pub(super) fn put_token(&mut self, hash: SecretHash, token: Token) {
        self.tokens.insert(hash, token);
    }

    pub(super) fn use_token(&mut self, hash: SecretHash, by: TokenUse) {
        if let Some(token) = self.tokens.get_mut(&hash) {
            token.used = Some(by);
        }
    }

    /// Forgets the tokens that expired before `limit`.
    pub(super) fn forget_tokens(&mut self, limit: UnixMs) {
        let old: Vec<_> =
            self.tokens.iter().filter(|(_, token)| token.expires < limit).map(|(hash, _)| *hash).collect();
        for hash in old {
            self.tokens.remove(&hash);
        }
    }
}
