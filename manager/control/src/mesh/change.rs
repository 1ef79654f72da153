//! What the rest of the manager should know.

use std::collections::BTreeSet;

use festoon_proto::{EndpointId, ManagerId};

use super::topology::PathChanges;

/// Something changed. Told once however often it did until it was polled; ask the getters for what it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Next hops may have changed, and with them the route of any endpoint.
    Paths,
    /// A manager can no longer be reached because links went down. Not told of one that was removed from the cluster.
    ManagerLost(ManagerId),
    /// A manager can be reached, which it could not.
    ManagerReturned(ManagerId),
    /// The route of one endpoint may have changed.
    Endpoint(EndpointId),
}

/// Changes not polled yet.
#[derive(Debug, Default)]
pub(super) struct Changes(BTreeSet<Change>);

impl Changes {
    pub(super) fn pop(&mut self) -> Option<Change> {
        self.0.pop_first()
    }

    pub(super) fn add_endpoint(&mut self, endpoint: EndpointId) {
        self.0.insert(Change::Endpoint(endpoint));
    }

    pub(super) fn add_paths(&mut self, changes: &PathChanges) {
        if changes.next_hops {
            self.0.insert(Change::Paths);
        }
        for &manager in &changes.lost {
            self.0.remove(&Change::ManagerReturned(manager));
            self.0.insert(Change::ManagerLost(manager));
        }
        for &manager in &changes.returned {
            self.0.remove(&Change::ManagerLost(manager));
            self.0.insert(Change::ManagerReturned(manager));
        }
    }
}
