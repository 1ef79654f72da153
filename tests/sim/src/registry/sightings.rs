//! Every state that any manager published.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use festoon_control::registry::{Addresses, State};
use festoon_proto::map::MapVersion;
use festoon_proto::{EndpointId, ManagerId, NetworkId, PublicKey};

use super::forger::is_deceived;

/// An endpoint that was in some state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: EndpointId,
    pub(super) addresses: Addresses,
    /// Where in the log it was added.
    pub(super) place: u64,
    /// When it was seen first, in moments of the history.
    pub(super) since: usize,
}

/// All states, by version, and what was wrong with them.
#[derive(Debug, Default)]
pub(super) struct Sightings(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    states: BTreeMap<MapVersion, Arc<State>>,
    endpoints: BTreeMap<PublicKey, Seen>,
    /// Since when endpoints are gone that were there.
    gone: BTreeMap<EndpointId, usize>,
    twice: usize,
    wrong: Vec<String>,
}

impl Sightings {
    /// A program of `manager` published a state at this moment, after one of version `before`.
    pub(super) fn see(&self, manager: ManagerId, before: MapVersion, state: &Arc<State>, moment: usize) {
        let mut record = self.record();
        let version = state.version();
        if is_deceived(state) {
            record.wrong.push(format!("{manager} carried out a forged change, before {version:?}"));
        }
        if version < before {
            record.wrong.push(format!("{manager} went back from {before:?} to {version:?}"));
        }
        match record.states.get(&version) {
            Some(known) if Arc::ptr_eq(known, state) || known == state => {}
            Some(_) => record.wrong.push(format!("{manager} has another state at {version:?} than the others")),
            None => record.add(state, moment),
        }
    }

    /// The endpoint with this key, if it was in any state.
    pub(super) fn endpoint(&self, key: &PublicKey) -> Option<Seen> {
        self.record().endpoints.get(key).copied()
    }

    /// Whether some manager published this state.
    pub(super) fn have(&self, state: &State) -> bool {
        self.record().states.get(&state.version()).is_some_and(|known| **known == *state)
    }

    /// When an endpoint was found gone first.
    pub(super) fn gone(&self, endpoint: EndpointId) -> Option<usize> {
        self.record().gone.get(&endpoint).copied()
    }

    /// How many addresses two endpoints of a network had at the same time, in any state.
    pub(super) fn twice(&self) -> usize {
        self.record().twice
    }

    /// How many states there were.
    pub(super) fn count(&self) -> usize {
        self.record().states.len()
    }

    /// What was wrong.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.record().wrong.clone()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn add(&mut self, state: &Arc<State>, moment: usize) {
        let version = state.version();
        let newest = self.states.last_key_value().map(|(_, newest)| Arc::clone(newest));
        if let Some(before) = newest.filter(|newest| newest.version() < version) {
            let gone = before.endpoints().filter(|endpoint| state.endpoint(endpoint.id).is_none());
            self.gone.extend(gone.map(|endpoint| (endpoint.id, moment)));
        }
        self.states.insert(version, Arc::clone(state));
        let mut taken: HashSet<(NetworkId, IpAddr)> = HashSet::new();
        for endpoint in state.endpoints() {
            let (id, addresses, place) = (endpoint.id, endpoint.addresses, endpoint.changed.0);
            let seen = Seen { id, addresses, place, since: moment };
            let known = *self.endpoints.entry(endpoint.public_key).or_insert(seen);
            if (known.id, known.addresses, known.place) != (id, addresses, place) {
                self.wrong.push(format!("{} changed its id or addresses at {version:?}", endpoint.id));
            }
            self.twice += endpoint.addresses.iter().filter(|at| !taken.insert((endpoint.network, *at))).count();
        }
    }
}
