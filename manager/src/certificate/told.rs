//! Which agents know of the next CA: those that were sent a map that names it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use festoon_proto::map::EndpointMap;
use festoon_proto::{EndpointId, Fingerprint};

/// The agents that this manager told of the next CA since it was started. A clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<Agents>>);

#[derive(Debug, Default)]
struct Agents {
    /// The CA that was added last, while it takes the place of another.
    of: Option<Fingerprint>,
    told: BTreeSet<EndpointId>,
}

impl Told {
    /// This map was sent to its endpoint. Nothing is kept while there is one CA: then nobody has to hear of another.
    pub fn note(&self, map: &EndpointMap) {
        let newest = if map.authorities.len() > 1 { map.authorities.last().copied() } else { None };
        let mut agents = self.lock();
        if agents.of != newest {
            *agents = Agents { of: newest, told: BTreeSet::new() };
        }
        if newest.is_some() {
            agents.told.insert(map.endpoint);
        }
    }

    /// Those that were told of this CA.
    pub fn of(&self, newest: Fingerprint) -> BTreeSet<EndpointId> {
        let agents = self.lock();
        if agents.of == Some(newest) { agents.told.clone() } else { BTreeSet::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Agents> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
