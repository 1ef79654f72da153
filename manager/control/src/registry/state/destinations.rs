//! Destinations of events in the state.

use std::ops::Bound;
use std::sync::Arc;

use festoon_proto::EventDestinationId;

use super::super::destinations::{EventDestination, Progress};
use super::State;

impl State {
    /// All destinations of events, by id.
    pub fn event_destinations(&self) -> impl Iterator<Item = &EventDestination> {
        self.event_destinations_after(None)
    }

    /// Those behind `after`, by id; all without it.
    pub fn event_destinations_after(
        &self,
        after: Option<EventDestinationId>,
    ) -> impl Iterator<Item = &EventDestination> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.records.destinations.all.range((begin, Bound::Unbounded)).map(|(_, destination)| &**destination)
    }

    /// A destination of events.
    pub fn event_destination(&self, id: EventDestinationId) -> Option<&EventDestination> {
        self.records.destinations.all.get(&id).map(|destination| &**destination)
    }

    /// How far a destination got.
    pub fn progress(&self, id: EventDestinationId) -> Option<&Progress> {
        self.records.destinations.progress.get(&id).map(|progress| &**progress)
    }

    pub(in crate::registry) fn next_event_destination(&mut self) -> EventDestinationId {
        self.records.destinations.last += 1;
        EventDestinationId(self.records.destinations.last)
    }

    pub(in crate::registry) fn put_event_destination(&mut self, destination: EventDestination) {
        self.records.destinations.all.insert(destination.id, Arc::new(destination));
    }

    pub(in crate::registry) fn put_progress(&mut self, id: EventDestinationId, progress: Progress) {
        self.records.destinations.progress.insert(id, Arc::new(progress));
    }

    pub(in crate::registry) fn remove_event_destination(
        &mut self,
        id: EventDestinationId,
    ) -> Option<Arc<EventDestination>> {
        self.records.destinations.progress.remove(&id);
        self.records.destinations.all.remove(&id)
    }
}
