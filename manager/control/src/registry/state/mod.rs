//! The state: records, and the index that finds them.

mod accounts;
mod change;
mod destinations;
mod index;
mod pool;
mod records;

use std::net::IpAddr;
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;

use festoon_proto::map::MapVersion;
use festoon_proto::token::SecretHash;
use festoon_proto::{ClusterId, EndpointId, JoinTokenId, ManagerId, NetworkId, PublicKey};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::UnixMs;
use super::audit::Head;
use super::record::{Endpoint, Epoch, Kept, Manager, Network, Token};
use super::vault::Vault;
use index::Index;

pub(super) use change::LOST_MANAGERS;
pub(super) use index::{DamagedError, Holder, Node, Timer};
pub(super) use records::Records;

/// The desired state of a cluster after some command of its log. Immutable to the outside; a clone shares its structure.
///
/// Stored as its records alone, with the format in front: reading one that a later program wrote, or one whose records
/// contradict one another, fails with an error that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(try_from = "Records", into = "Records")]
pub struct State {
    pub(super) records: Records,
    index: Index,
}

impl TryFrom<Records> for State {
    type Error = DamagedError;

    fn try_from(records: Records) -> Result<Self, DamagedError> {
        let index = Index::of(&records)?;
        Ok(Self { records, index })
    }
}

impl From<State> for Records {
    fn from(state: State) -> Self {
        state.records
    }
}

impl State {
    /// The index of the last command that changed the state.
    pub const fn version(&self) -> MapVersion {
        self.records.version
    }

    /// The cluster; none before the bootstrap.
    pub const fn cluster(&self) -> Option<ClusterId> {
        self.records.cluster
    }

    /// The epoch.
    pub const fn epoch(&self) -> Epoch {
        self.records.epoch
    }

    /// The format of the log and of snapshots: the highest that the programs of all managers understand. Never goes down.
    pub const fn format(&self) -> u16 {
        self.records.format.number()
    }

    /// All networks, by id.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        self.records.networks.values().map(|network| &**network)
    }

    /// A network.
    pub fn network(&self, id: NetworkId) -> Option<&Network> {
        self.records.networks.get(&id).map(|network| &**network)
    }

    /// The network with this name.
    pub fn network_named(&self, name: &str) -> Option<&Network> {
        self.networks().find(|network| network.name == name)
    }

    /// All endpoints, by id.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.records.endpoints.values().map(|endpoint| &**endpoint)
    }

    /// The endpoints behind `after`, by id; all without it.
    pub fn endpoints_after(&self, after: Option<EndpointId>) -> impl Iterator<Item = &Endpoint> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.records.endpoints.range((begin, Bound::Unbounded)).map(|(_, endpoint)| &**endpoint)
    }

    /// How many endpoints there are.
    pub fn endpoint_count(&self) -> usize {
        self.records.endpoints.len()
    }

    /// An endpoint.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        self.records.endpoints.get(&id).map(|endpoint| &**endpoint)
    }

    /// Whether this id was given to an endpoint at some time. Tells one that was removed from one that a manager which
    /// lags behind has not heard of yet.
    pub const fn was_given(&self, id: EndpointId) -> bool {
        id.0 <= self.records.last_endpoint
    }

    /// Whether this id was given to a manager at some time. Tells one that was removed from one that a copy which is still
    /// being made has not come to yet.
    pub const fn was_given_to_manager(&self, id: ManagerId) -> bool {
        id.0 <= self.records.last_manager
    }

    /// The endpoint with this name in `network`.
    pub fn endpoint_named(&self, network: NetworkId, name: &str) -> Option<&Endpoint> {
        self.index.names.get(&(network, Arc::from(name))).and_then(|id| self.endpoint(*id))
    }

    /// The endpoints of a network, by name.
    pub fn endpoints_of(&self, network: NetworkId) -> impl Iterator<Item = &Endpoint> {
        self.endpoints_named_after(network, None)
    }

    /// How many endpoints a network has.
    pub fn endpoint_count_of(&self, network: NetworkId) -> u64 {
        let all = self.index.names.range((network, Arc::from(""))..);
        all.take_while(|((of, _), _)| *of == network).map(|_| 1).sum()
    }

    /// The endpoints of a network with names behind `after`, by name; all without it.
    pub fn endpoints_named_after(&self, network: NetworkId, after: Option<&str>) -> impl Iterator<Item = &Endpoint> {
        let begin = match after {
            Some(name) => Bound::Excluded((network, Arc::from(name))),
            None => Bound::Included((network, Arc::from(""))),
        };
        let all = self.index.names.range((begin, Bound::Unbounded)).take_while(move |((of, _), _)| *of == network);
        all.filter_map(|(_, id)| self.endpoint(*id))
    }

    /// The endpoint that has `address` in `network`.
    pub fn owner(&self, network: NetworkId, address: IpAddr) -> Option<EndpointId> {
        match self.holder(network, address) {
            Some(Holder::Endpoint(id)) => Some(id),
            _ => None,
        }
    }

    /// All managers, witnesses too, by id.
    pub fn managers(&self) -> impl Iterator<Item = &Manager> {
        self.records.managers.values()
    }

    /// The managers that carry endpoints, by id.
    pub fn full_managers(&self) -> impl Iterator<Item = &Manager> {
        self.managers().filter(|manager| manager.is_full())
    }

    /// A manager.
    pub fn manager(&self, id: ManagerId) -> Option<&Manager> {
        self.records.managers.get(&id)
    }

    /// The last command that changed what endpoints know of the managers, or whom they believe to be one.
    pub const fn managers_changed(&self) -> MapVersion {
        self.records.managers_changed
    }

    /// The token with this hash.
    pub fn token(&self, hash: &SecretHash) -> Option<&Token> {
        self.records.tokens.get(hash).map(|token| &**token)
    }

    /// All join tokens that are remembered, by id.
    pub fn join_tokens(&self) -> impl Iterator<Item = (JoinTokenId, &Token)> {
        self.records.tokens.iter().map(|(hash, token)| (JoinTokenId::of(hash), &**token))
    }

    /// How many join tokens are remembered.
    pub fn join_token_count(&self) -> usize {
        self.records.tokens.len()
    }

    /// The join token with this id, and the hash of its secret.
    pub fn join_token(&self, id: JoinTokenId) -> Option<(SecretHash, &Token)> {
        let found = self.records.tokens.range(id.first_hash()..).next();
        found.filter(|(hash, _)| JoinTokenId::of(hash) == id).map(|(hash, token)| (*hash, &**token))
    }

    /// The routes of a network that an admin approved, each with the endpoint that carries it, by prefix.
    pub fn routes(&self, network: NetworkId) -> impl Iterator<Item = (IpNet, EndpointId)> {
        let first = (network, IpNet::default());
        let all = self.index.routes.range(first..).take_while(move |((of, _), _)| *of == network);
        all.map(|((_, prefix), endpoint)| (*prefix, *endpoint))
    }

    /// Who carries a route of a network, if it is approved.
    pub fn route(&self, network: NetworkId, prefix: IpNet) -> Option<EndpointId> {
        self.index.routes.get(&(network, prefix)).copied()
    }

    /// The end of the audit log.
    pub const fn audited(&self) -> Head {
        self.records.audited
    }

    /// Certificates and encrypted secrets.
    pub fn vault(&self) -> &Vault {
        &self.records.vault
    }

    /// When something is to be forgotten next: an [`Expire`](super::Command::Expire) is due then.
    pub fn next_expiry(&self) -> Option<UnixMs> {
        self.index.timers.get_min().map(|(at, _)| *at)
    }

    pub(super) fn knows_key(&self, key: &PublicKey) -> bool {
        self.index.keys.contains_key(key)
    }

    /// Whose this public key is.
    pub(super) fn node(&self, key: &PublicKey) -> Option<Node> {
        self.index.keys.get(key).copied()
    }

    pub(super) fn holder(&self, network: NetworkId, address: IpAddr) -> Option<Holder> {
        self.index.holders.get(&(network, address)).copied()
    }

    /// Whoever holds addresses in `range`.
    pub(super) fn holders_in(
        &self,
        network: NetworkId,
        range: RangeInclusive<IpAddr>,
    ) -> impl Iterator<Item = (IpAddr, Holder)> {
        let range = (network, *range.start())..=(network, *range.end());
        self.index.holders.range(range).map(|((_, address), holder)| (*address, *holder))
    }

    /// The first free offset in a prefix from `from` on, or else the first of all.
    pub(super) fn next_free(&self, network: NetworkId, net: IpNet, from: u128) -> Option<u128> {
        self.index.pools.get(&(network, net))?.next(from)
    }

    /// What waits for an endpoint with this key or, failing that, for one with this name.
    pub(super) fn kept_for(&self, network: NetworkId, key: PublicKey, name: &str) -> Option<(u64, &Kept)> {
        let by_key = self.index.kept_keys.get(&(network, key));
        let number = by_key.or_else(|| self.index.kept_names.get(&(network, Arc::from(name))))?;
        self.records.kept.get(&network)?.get(number).map(|kept| (*number, kept))
    }

    /// All that waits for endpoints of `network`, the longest first.
    pub(super) fn kept(&self, network: NetworkId) -> impl Iterator<Item = &Kept> {
        self.records.kept.get(&network).into_iter().flat_map(|all| all.values())
    }

    /// Whether the index is that of the records.
    #[cfg(test)]
    pub(super) fn index_agrees(&self) -> bool {
        Index::of(&self.records).as_ref() == Ok(&self.index)
    }
}
