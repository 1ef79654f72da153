//! How a state changes: what touches records and index alike.

use std::net::IpAddr;
use std::sync::Arc;

use festoon_proto::map::MapVersion;
use festoon_proto::token::SecretHash;
use festoon_proto::{EndpointId, ManagerId, NetworkId};

use super::super::UnixMs;
use super::super::address::Addresses;
use super::super::answers::{Answer, MAX_ANSWERS};
use super::super::authorities::Authority;
use super::super::given;
use super::super::record::{Endpoint, Kept, Manager, Network, Token, TokenUse, Used};
use super::super::vault::Vault;
use super::State;
use super::index::{Holder, Timer};
use super::records::Records;

/// How many endpoints of a network are waited for at most: a network whose hosts come and go under ever new names must
/// not grow without end. Those that left first are forgotten first.
const MAX_KEPT: usize = 10_000;

/// More ids than may have been given away in a part of the log that is lost.
const LOST_NETWORKS: u32 = 1_000;
const LOST_ENDPOINTS: u64 = 1_000_000;
pub(in crate::registry) const LOST_MANAGERS: u16 = 10;
const LOST_USERS: u32 = 1_000;
const LOST_API_TOKENS: u32 = 10_000;
const LOST_SESSIONS: u64 = 1_000_000;
const LOST_DESTINATIONS: u32 = 1_000;

impl State {
    pub(in crate::registry) fn at(&self, index: u64) -> Self {
        let records = Records { version: MapVersion(index), ..self.records.clone() };
        Self { records, index: self.index.clone() }
    }

    pub(in crate::registry) fn next_network(&mut self) -> NetworkId {
        self.records.last_network += 1;
        NetworkId(self.records.last_network)
    }

    pub(in crate::registry) fn next_endpoint(&mut self) -> EndpointId {
        self.records.last_endpoint += 1;
        EndpointId(self.records.last_endpoint)
    }

    pub(in crate::registry) fn next_manager(&mut self) -> Option<ManagerId> {
        self.records.last_manager = self.records.last_manager.checked_add(1)?;
        Some(ManagerId(self.records.last_manager))
    }

    /// Passes over ids that somebody may have whom this copy has not heard of.
    pub(in crate::registry) fn skip_ids(&mut self) {
        let Records { last_network, last_endpoint, last_manager, accounts, destinations, .. } = &mut self.records;
        accounts.last_user = accounts.last_user.saturating_add(LOST_USERS);
        accounts.last_api_token = accounts.last_api_token.saturating_add(LOST_API_TOKENS);
        destinations.last = destinations.last.saturating_add(LOST_DESTINATIONS);
        accounts.last_session = accounts.last_session.saturating_add(LOST_SESSIONS);
        *last_network = last_network.saturating_add(LOST_NETWORKS);
        *last_endpoint = last_endpoint.saturating_add(LOST_ENDPOINTS);
        *last_manager = last_manager.saturating_add(LOST_MANAGERS);
    }

    /// Adds a network, or replaces one. Nobody holds an address in a prefix that it loses.
    pub(in crate::registry) fn put_network(&mut self, network: Network) {
        let old = self.records.networks.get(&network.id);
        for prefix in old.iter().flat_map(|old| &old.prefixes) {
            self.index.pools.remove(&(network.id, prefix.net));
        }
        self.index.lay_out(&network);
        self.records.networks.insert(network.id, Arc::new(network));
    }

    /// The search for a free address begins behind `offset` next time. That is nothing its endpoints know of, so the
    /// network's version stays.
    pub(in crate::registry) fn move_cursor(&mut self, network: NetworkId, prefix: usize, offset: u128) {
        let Some(network) = self.records.networks.get_mut(&network) else { return };
        if let Some(prefix) = Arc::make_mut(network).prefixes.get_mut(prefix) {
            prefix.next = offset;
        }
    }

    /// Adds an endpoint that is not there yet. Nobody has its addresses.
    pub(in crate::registry) fn add_endpoint(&mut self, endpoint: Endpoint) {
        if let Some(network) = self.records.networks.get(&endpoint.network) {
            self.index.add_endpoint(&endpoint, network);
        }
        self.note_given(&endpoint);
        self.records.endpoints.insert(endpoint.id, Arc::new(endpoint));
    }

    /// Its network's hosts may have to route more into the tunnel.
    fn note_given(&mut self, endpoint: &Endpoint) {
        let Some(network) = self.records.networks.get(&endpoint.network) else { return };
        let mut given = network.given.clone();
        let mut is_more = false;
        for address in endpoint.addresses.iter() {
            if let Some(prefix) = network.prefix_of(address) {
                is_more |= given::give(&mut given, prefix, address);
            }
        }
        if is_more && let Some(network) = self.records.networks.get_mut(&endpoint.network) {
            Arc::make_mut(network).given = given;
            self.touch_network(endpoint.network);
        }
    }

    /// Replaces an endpoint. Nobody else has its addresses, its name, its keys or its routes.
    pub(in crate::registry) fn replace_endpoint(&mut self, endpoint: Endpoint) {
        let before = self.take_endpoint(endpoint.id);
        let same_routes = |before: &Endpoint| {
            before.network == endpoint.network && before.approved_routes().eq(endpoint.approved_routes())
        };
        if let Some(before) = before.filter(|before| !same_routes(before)) {
            self.touch_network(before.network);
            self.touch_network(endpoint.network);
        }
        self.add_endpoint(Endpoint { changed: self.records.version, ..endpoint });
    }

    /// What the endpoints of a network know of it has changed.
    fn touch_network(&mut self, id: NetworkId) {
        if let Some(network) = self.records.networks.get_mut(&id) {
            Arc::make_mut(network).changed = self.records.version;
        }
    }

    /// Gives a network up, and all that waits for its endpoints. It has none.
    pub(in crate::registry) fn remove_network(&mut self, id: NetworkId) {
        let kept: Vec<_> = self.records.kept.get(&id).into_iter().flat_map(|all| all.keys().copied()).collect();
        for number in kept {
            self.forget_kept(id, number);
        }
        self.records.kept.remove(&id);
        let Some(network) = self.records.networks.remove(&id) else { return };
        for prefix in &network.prefixes {
            self.index.pools.remove(&(id, prefix.net));
        }
    }

    pub(in crate::registry) fn remove_endpoint(&mut self, id: EndpointId) -> Option<Arc<Endpoint>> {
        let endpoint = self.take_endpoint(id)?;
        if endpoint.approved_routes().next().is_some() {
            self.touch_network(endpoint.network);
        }
        Some(endpoint)
    }

    fn take_endpoint(&mut self, id: EndpointId) -> Option<Arc<Endpoint>> {
        let endpoint = self.records.endpoints.remove(&id)?;
        if let Some(network) = self.records.networks.get(&endpoint.network) {
            self.index.remove_endpoint(&endpoint, network);
        }
        Some(endpoint)
    }

    /// The addresses of an endpoint that was just removed wait for it, in place of what waited for its name or key.
    pub(in crate::registry) fn keep(&mut self, id: NetworkId, kept: Kept) {
        let by_name = self.index.kept_names.get(&(id, Arc::clone(&kept.name)));
        let by_key = self.index.kept_keys.get(&(id, kept.public_key));
        for number in [by_name, by_key].into_iter().flatten().copied().collect::<Vec<_>>() {
            self.forget_kept(id, number);
        }
        let all = self.records.kept.entry(id).or_default();
        let number = all.get_max().map_or(0, |(last, _)| last + 1);
        let one_too_many = all.get_min().filter(|_| all.len() >= MAX_KEPT).map(|(first, _)| *first);
        if let Some(first) = one_too_many {
            self.forget_kept(id, first);
        }
        if let Some(network) = self.records.networks.get(&id) {
            self.index.add_kept(network, number, &kept);
        }
        self.records.kept.entry(id).or_default().insert(number, kept);
    }

    /// Nothing waits there any more.
    pub(in crate::registry) fn forget_kept(&mut self, id: NetworkId, number: u64) {
        let Some(kept) = self.records.kept.get_mut(&id).and_then(|all| all.remove(&number)) else { return };
        if let Some(network) = self.records.networks.get(&id) {
            self.index.remove_kept(network, number, &kept);
        }
    }

    /// `address` no longer waits for anybody, if it did.
    pub(in crate::registry) fn strike_kept(&mut self, id: NetworkId, address: IpAddr) {
        let Some(Holder::Kept(number)) = self.holder(id, address) else { return };
        let Some(kept) = self.records.kept.get_mut(&id).and_then(|all| all.get_mut(&number)) else { return };
        kept.addresses.strike(address);
        let is_empty = kept.addresses.is_empty();
        if let Some(network) = self.records.networks.get(&id) {
            self.index.release(network, address);
        }
        if is_empty {
            self.forget_kept(id, number);
        }
    }

    /// Adds a manager, or replaces it. Endpoints learn of it if it carries any.
    pub(in crate::registry) fn put_manager(&mut self, manager: Manager) {
        if manager.is_full() {
            self.records.managers_changed = self.records.version;
        }
        self.note_manager(manager);
    }

    /// Replaces a manager by one that differs in nothing an endpoint knows of.
    pub(in crate::registry) fn note_manager(&mut self, manager: Manager) {
        if let Some(old) = self.records.managers.get(&manager.id) {
            self.index.remove_manager(old);
        }
        self.index.add_manager(&manager);
        self.records.managers.insert(manager.id, Manager { changed: self.records.version, ..manager });
    }

    pub(in crate::registry) fn remove_manager(&mut self, id: ManagerId) -> Option<Manager> {
        let manager = self.records.managers.remove(&id)?;
        self.index.remove_manager(&manager);
        if manager.is_full() {
            self.records.managers_changed = self.records.version;
        }
        Some(manager)
    }

    /// Adds a token, or replaces it.
    pub(in crate::registry) fn put_token(&mut self, hash: SecretHash, token: Token) {
        self.remove_token(hash);
        let network = token.network.and_then(|id| self.records.networks.get(&id));
        self.index.add_token(hash, &token, network.map(|network| &**network));
        self.records.tokens.insert(hash, Arc::new(Token { changed: self.records.version, ..token }));
    }

    pub(in crate::registry) fn remove_token(&mut self, hash: SecretHash) {
        let Some(token) = self.records.tokens.remove(&hash) else { return };
        let network = token.network.and_then(|id| self.records.networks.get(&id));
        self.index.remove_token(hash, &token, network.map(|network| &**network));
    }

    /// The addresses that a token promised are nobody's from now on.
    pub(in crate::registry) fn lift_promise(&mut self, hash: SecretHash) -> Addresses {
        let Some(token) = self.token(&hash).cloned() else { return Addresses::NONE };
        let promised = token.promised;
        if !promised.is_empty() {
            self.put_token(hash, Token { promised: Addresses::NONE, ..token });
        }
        promised
    }

    pub(in crate::registry) fn use_token(&mut self, hash: SecretHash, who: TokenUse, at: UnixMs) {
        if let Some(token) = self.records.tokens.get_mut(&hash) {
            let token = Arc::make_mut(token);
            token.used = Some(Used { who, at });
            token.uses = token.uses.saturating_add(1);
            token.changed = self.records.version;
        }
    }

    /// Remembers what a request was answered.
    pub(in crate::registry) fn put_answer(&mut self, key: [u8; 16], answer: Answer) {
        let oldest = || {
            let first = |(_, timer): &(UnixMs, Timer)| matches!(timer, Timer::Answer(_));
            self.index.timers.iter().find(|timer| first(timer)).copied()
        };
        if self.records.answers.len() >= MAX_ANSWERS
            && let Some((at, Timer::Answer(key))) = oldest()
        {
            self.index.timers.remove(&(at, Timer::Answer(key)));
            self.records.answers.remove(&key);
        }
        self.index.timers.insert((answer.until, Timer::Answer(key)));
        self.records.answers.insert(key, answer);
    }

    /// Certificates and secrets, to be changed.
    pub(in crate::registry) fn vault_mut(&mut self) -> &mut Vault {
        let vault = Arc::make_mut(&mut self.records.vault);
        vault.changed = self.records.version;
        vault
    }

    /// The CAs, to be changed. Endpoints learn of it: these are whom they believe to be managers.
    pub(in crate::registry) fn authorities_mut(&mut self) -> &mut Vec<Authority> {
        self.records.managers_changed = self.records.version;
        &mut self.vault_mut().authorities
    }

    /// What is to be forgotten by now, the first of it.
    pub(in crate::registry) fn next_due(&self, now: UnixMs) -> Option<(UnixMs, Timer)> {
        self.index.timers.get_min().copied().filter(|(at, _)| *at <= now)
    }

    /// Forgets what a timer is for.
    pub(in crate::registry) fn forget(&mut self, at: UnixMs, timer: Timer) {
        self.index.timers.remove(&(at, timer));
        match timer {
            Timer::Promise(hash) => drop(self.lift_promise(hash)),
            Timer::Token(hash) => self.remove_token(hash),
            Timer::Kept(network, number) => self.forget_kept(network, number),
            Timer::EndpointKey(id) => self.forget_endpoint_key(id),
            Timer::ManagerKey(id) => self.forget_manager_key(id),
            Timer::Endpoint(id) => drop(self.remove_endpoint(id)),
            Timer::Answer(key) => drop(self.records.answers.remove(&key)),
            Timer::Session(id) => drop(self.remove_session(id)),
            Timer::ApiToken(id) => drop(self.remove_api_token(id)),
        }
    }

    fn forget_endpoint_key(&mut self, id: EndpointId) {
        if let Some(endpoint) = self.endpoint(id).cloned() {
            self.replace_endpoint(Endpoint { previous_key: None, ..endpoint });
        }
    }

    fn forget_manager_key(&mut self, id: ManagerId) {
        if let Some(manager) = self.manager(id).cloned() {
            self.put_manager(Manager { previous_key: None, ..manager });
        }
    }
}
