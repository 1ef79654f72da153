//! What finds a record. All of it follows from the records: it is never stored, and can't contradict them.

use std::net::IpAddr;
use std::sync::Arc;

use festoon_proto::token::SecretHash;
use festoon_proto::{ApiTokenId, EndpointId, ManagerId, NetworkId, PublicKey, SessionId};
use imbl::{OrdMap, OrdSet};
use ipnet::IpNet;

use super::super::UnixMs;
use super::super::address;
use super::super::record::{Endpoint, Kept, Manager, Network, Token};
use super::accounts::{self, AccountIndex};
use super::pool::Pool;
use super::records::Records;

/// Who has an address. Nobody else gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::registry) enum Holder {
    /// An endpoint.
    Endpoint(EndpointId),
    /// An endpoint that was here: the record of this number. It gives way when an admin names the address or when nothing
    /// else is free.
    Kept(u64),
    /// A join token that promises it.
    Promise,
}

/// Whose a public key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::registry) enum Node {
    /// An endpoint's.
    Endpoint(EndpointId),
    /// A manager's.
    Manager(ManagerId),
}

/// What is to be forgotten at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::registry) enum Timer {
    /// The addresses a token promises.
    Promise(SecretHash),
    /// A token that expired long ago.
    Token(SecretHash),
    /// Addresses that wait for an endpoint.
    Kept(NetworkId, u64),
    /// The previous key of an endpoint.
    EndpointKey(EndpointId),
    /// The previous key of a manager.
    ManagerKey(ManagerId),
    /// An endpoint.
    Endpoint(EndpointId),
    /// The answer to the request with this idempotency key.
    Answer([u8; 16]),
    /// A session.
    Session(SessionId),
    /// An API token that expired long ago.
    ApiToken(ApiTokenId),
}

/// How long an expired token is remembered, so that whoever still has it learns that it expired.
pub(super) const REMEMBER_TOKEN_MS: u64 = 7 * 24 * 3600 * 1000;

/// Stored records contradict one another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stored registry is damaged: {0}. Restore a snapshot, or let this manager begin anew and copy from another"
)]
pub(in crate::registry) struct DamagedError(String);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::registry) struct Index {
    pub(super) names: OrdMap<(NetworkId, Arc<str>), EndpointId>,
    pub(super) keys: OrdMap<PublicKey, Node>,
    pub(super) holders: OrdMap<(NetworkId, IpAddr), Holder>,
    pub(super) pools: OrdMap<(NetworkId, IpNet), Pool>,
    /// Approved ones.
    pub(super) routes: OrdMap<(NetworkId, IpNet), EndpointId>,
    pub(super) kept_names: OrdMap<(NetworkId, Arc<str>), u64>,
    pub(super) kept_keys: OrdMap<(NetworkId, PublicKey), u64>,
    pub(super) timers: OrdSet<(UnixMs, Timer)>,
    pub(super) accounts: AccountIndex,
}

impl Index {
    /// The index of `records`, which come from a disk or from another manager.
    pub(super) fn of(records: &Records) -> Result<Self, DamagedError> {
        let mut index = Self::default();
        records.networks.values().for_each(|network| index.lay_out(network));
        let network = |id: NetworkId| {
            records.networks.get(&id).map(|network| &**network).ok_or_else(|| damaged(&format!("there is no {id}")))
        };
        for endpoint in records.endpoints.values() {
            index.check(endpoint, network(endpoint.network)?)?;
            index.add_endpoint(endpoint, network(endpoint.network)?);
        }
        for (id, kept) in &records.kept {
            let network = network(*id)?;
            kept.iter().for_each(|(number, kept)| index.add_kept(network, *number, kept));
        }
        for (hash, token) in &records.tokens {
            index.add_token(*hash, token, token.network.map(network).transpose()?);
        }
        records.managers.values().for_each(|manager| index.add_manager(manager));
        for (key, answer) in &records.answers {
            index.timers.insert((answer.until, Timer::Answer(*key)));
        }
        index.accounts = AccountIndex::of(&records.accounts).map_err(damaged)?;
        index.timers.extend(accounts::timers(&records.accounts));
        records.destinations.check().map_err(damaged)?;
        index.check_counts(records)?;
        Ok(index)
    }

    /// Whether everything that only one may have was found as often as it is there.
    fn check_counts(&self, records: &Records) -> Result<(), DamagedError> {
        let of_endpoints = records.endpoints.values().map(|endpoint| endpoint.addresses);
        let kept = records.kept.values().flat_map(|all| all.values()).map(|kept| kept.addresses);
        let promised = records.tokens.values().map(|token| token.promised);
        let addresses: usize = of_endpoints.chain(kept).chain(promised).map(|all| all.iter().count()).sum();
        if addresses != self.holders.len() {
            return Err(damaged("an address is given twice"));
        }
        let of_managers: usize = records.managers.values().map(|manager| manager.keys().count()).sum();
        let of_endpoints: usize = records.endpoints.values().map(|endpoint| endpoint.keys().count()).sum();
        if of_managers + of_endpoints != self.keys.len() {
            return Err(damaged("two nodes have the same key"));
        }
        let routes: usize = records.endpoints.values().map(|endpoint| endpoint.approved_routes().count()).sum();
        if routes != self.routes.len() {
            return Err(damaged("a route is approved twice"));
        }
        Ok(())
    }

    fn check(&self, endpoint: &Endpoint, network: &Network) -> Result<(), DamagedError> {
        let id = endpoint.id;
        if self.names.contains_key(&(network.id, Arc::clone(&endpoint.name))) {
            return Err(damaged(&format!("{id} has the name of another")));
        }
        if endpoint.keys().any(|key| self.keys.contains_key(&key)) {
            return Err(damaged(&format!("{id} has the key of another")));
        }
        let bad = |address: &IpAddr| {
            network.prefix_of(*address).is_none() || self.holders.contains_key(&(network.id, *address))
        };
        match endpoint.addresses.iter().find(bad) {
            Some(address) => Err(damaged(&format!("{id} can't have {address}"))),
            None => Ok(()),
        }
    }

    /// Computes anew what is free in `network`, after its prefixes or reserved ranges changed.
    pub(super) fn lay_out(&mut self, network: &Network) {
        for prefix in &network.prefixes {
            let net = prefix.net;
            let mut pool = Pool::new(address::hosts(net));
            for range in network.reserved.iter().filter(|range| net.contains(&range.first) && net.contains(&range.last))
            {
                pool.take(address::offset(net, range.first), address::offset(net, range.last));
            }
            for ((_, held), _) in self.holders.range((network.id, net.network())..=(network.id, net.broadcast())) {
                pool.take(address::offset(net, *held), address::offset(net, *held));
            }
            self.pools.insert((network.id, net), pool);
        }
    }

    /// `address` is `holder`'s from now on.
    pub(super) fn hold(&mut self, network: &Network, address: IpAddr, holder: Holder) {
        self.holders.insert((network.id, address), holder);
        let Some(net) = network.prefix_of(address) else { return };
        if let Some(pool) = self.pools.get_mut(&(network.id, net)) {
            pool.take(address::offset(net, address), address::offset(net, address));
        }
    }

    /// `address` is nobody's from now on.
    pub(super) fn release(&mut self, network: &Network, address: IpAddr) {
        self.holders.remove(&(network.id, address));
        let Some(net) = network.prefix_of(address).filter(|_| !network.is_reserved(address)) else { return };
        if let Some(pool) = self.pools.get_mut(&(network.id, net)) {
            pool.give(address::offset(net, address));
        }
    }

    pub(super) fn add_endpoint(&mut self, endpoint: &Endpoint, network: &Network) {
        self.names.insert((network.id, Arc::clone(&endpoint.name)), endpoint.id);
        endpoint.addresses.iter().for_each(|address| self.hold(network, address, Holder::Endpoint(endpoint.id)));
        self.routes.extend(endpoint.approved_routes().map(|route| ((network.id, route), endpoint.id)));
        self.timers.extend(timers_of(endpoint));
        self.keys.extend(endpoint.keys().map(|key| (key, Node::Endpoint(endpoint.id))));
    }

    pub(super) fn remove_endpoint(&mut self, endpoint: &Endpoint, network: &Network) {
        self.names.remove(&(network.id, Arc::clone(&endpoint.name)));
        endpoint.addresses.iter().for_each(|address| self.release(network, address));
        for route in endpoint.approved_routes() {
            self.routes.remove(&(network.id, route));
        }
        for timer in timers_of(endpoint) {
            self.timers.remove(&timer);
        }
        for key in endpoint.keys() {
            self.keys.remove(&key);
        }
    }

    pub(super) fn add_manager(&mut self, manager: &Manager) {
        self.keys.extend(manager.keys().map(|key| (key, Node::Manager(manager.id))));
        if let Some(previous) = manager.previous_key {
            self.timers.insert((previous.until, Timer::ManagerKey(manager.id)));
        }
    }

    pub(super) fn remove_manager(&mut self, manager: &Manager) {
        for key in manager.keys() {
            self.keys.remove(&key);
        }
        if let Some(previous) = manager.previous_key {
            self.timers.remove(&(previous.until, Timer::ManagerKey(manager.id)));
        }
    }

    pub(super) fn add_kept(&mut self, network: &Network, number: u64, kept: &Kept) {
        self.kept_names.insert((network.id, Arc::clone(&kept.name)), number);
        self.kept_keys.insert((network.id, kept.public_key), number);
        kept.addresses.iter().for_each(|address| self.hold(network, address, Holder::Kept(number)));
        self.timers.insert((kept.until, Timer::Kept(network.id, number)));
    }

    pub(super) fn remove_kept(&mut self, network: &Network, number: u64, kept: &Kept) {
        self.kept_names.remove(&(network.id, Arc::clone(&kept.name)));
        self.kept_keys.remove(&(network.id, kept.public_key));
        kept.addresses.iter().for_each(|address| self.release(network, address));
        self.timers.remove(&(kept.until, Timer::Kept(network.id, number)));
    }

    pub(super) fn add_token(&mut self, hash: SecretHash, token: &Token, network: Option<&Network>) {
        if let Some(network) = network.filter(|_| !token.promised.is_empty()) {
            token.promised.iter().for_each(|address| self.hold(network, address, Holder::Promise));
            self.timers.insert((token.expires, Timer::Promise(hash)));
        }
        self.timers.insert((token.expires.after(REMEMBER_TOKEN_MS), Timer::Token(hash)));
    }

    pub(super) fn remove_token(&mut self, hash: SecretHash, token: &Token, network: Option<&Network>) {
        if let Some(network) = network {
            token.promised.iter().for_each(|address| self.release(network, address));
        }
        self.timers.remove(&(token.expires, Timer::Promise(hash)));
        self.timers.remove(&(token.expires.after(REMEMBER_TOKEN_MS), Timer::Token(hash)));
    }
}

/// What is to be forgotten of an endpoint, and when.
fn timers_of(endpoint: &Endpoint) -> impl Iterator<Item = (UnixMs, Timer)> {
    let key = endpoint.previous_key.as_ref().map(|previous| (previous.until, Timer::EndpointKey(endpoint.id)));
    let all = endpoint.expires().map(|at| (at, Timer::Endpoint(endpoint.id)));
    [key, all].into_iter().flatten()
}

fn damaged(what: &str) -> DamagedError {
    DamagedError(what.to_owned())
}
