//! Attachments that begin and end here, and what a node tells of that and of what else it saw.

use std::time::{Duration, Instant};

use festoon_dataplane::forwarder::Neighbour;
use festoon_proto::signal::MoveReason;
use festoon_proto::{Attachment, EndpointId, Generation, ManagerId};

use super::silence::limit;
use super::{Ending, ManagerNode, Seen, Step};

impl ManagerNode {
    /// Carries an endpoint, unless a later attachment is known. Returns the highest.
    pub(super) fn attach(
        &mut self,
        now: Instant,
        wanted: Attachment,
        why: Option<MoveReason>,
        gap: Option<Duration>,
    ) -> Attachment {
        let before = self.mesh.attachment(wanted.endpoint);
        let highest = self.mesh.attach(now, wanted);
        if highest == wanted && before != Some(wanted) {
            self.silence.forget(wanted.endpoint);
            if let Some(known) = self.roster.endpoint_mut(wanted.endpoint) {
                known.attached = known.attached.saturating_add(1);
            }
            self.see_endpoint(now, wanted, Step::arrived(wanted, before, why, gap));
        }
        highest
    }

    pub(super) fn detach(&mut self, now: Instant, endpoint: EndpointId, generation: Generation) {
        self.end(now, endpoint, generation, Ending::Left);
    }

    /// An admin cuts it off, if it is carried here. What comes of its session from then on is of none.
    pub(super) fn disconnect(&mut self, now: Instant, endpoint: EndpointId) {
        self.forwarder.disconnect(endpoint);
        if let Some(attachment) = self.mesh.attachment(endpoint).filter(|known| known.manager == self.me) {
            self.end(now, endpoint, attachment.generation, Ending::Disconnected);
        }
    }

    fn end(&mut self, now: Instant, endpoint: EndpointId, generation: Generation, ending: Ending) {
        let before = self.mesh.attachment(endpoint);
        self.mesh.detach(now, endpoint, generation);
        if let (Some(before), None) = (before, self.mesh.attachment(endpoint))
            && !self.silence.forget(endpoint)
        {
            self.see_endpoint(now, before, Step::Down(ending));
        }
    }

    fn see_endpoint(&mut self, now: Instant, attachment: Attachment, what: Step) {
        let Attachment { endpoint, generation, .. } = attachment;
        let network = self.roster.network_of(endpoint);
        self.sightings.add(now, Seen::Endpoint { endpoint, network, generation, what });
    }

    /// An endpoint is about to be forgotten.
    pub(super) fn see_removed(&mut self, now: Instant, endpoint: EndpointId) {
        if let Some(attachment) = self.mesh.attachment(endpoint).filter(|known| known.manager == self.me)
            && !self.silence.forget(endpoint)
        {
            self.see_endpoint(now, attachment, Step::Down(Ending::Removed));
        }
    }

    pub(super) fn see_lost(&mut self, now: Instant, manager: ManagerId) {
        self.absent.lost(manager);
        if self.speaks_of(manager) {
            self.sightings.add(now, Seen::ManagerLost(manager));
        }
    }

    pub(super) fn see_returned(&mut self, now: Instant, manager: ManagerId) {
        if self.absent.returned(now, manager) && self.speaks_of(manager) {
            self.sightings.add(now, Seen::ManagerReturned(manager));
        }
    }

    /// Whether this is the manager that tells of another: the lowest of those that reach each other beside that one.
    fn speaks_of(&self, other: ManagerId) -> bool {
        self.roster.managers().filter(|&id| id != other && self.mesh.is_reachable(id)).min() == Some(self.me)
    }

    /// Listens whether some of the endpoints that are carried here are still heard.
    pub(super) fn listen(&mut self, now: Instant) {
        let interval = Duration::from_millis(u64::from(self.probe_interval_ms()));
        for endpoint in self.silence.turn(now, self.mesh.carried_by(self.me)) {
            let stats = self.forwarder.neighbour(Neighbour::Endpoint(endpoint));
            let heard = stats.and_then(|stats| stats.last_heard);
            let limit = limit(self.roster.is_agent(endpoint), interval);
            let news = self.silence.judge(now, endpoint, heard, limit);
            if let Some(is_silent) = news {
                self.forwarder.set_silent(endpoint, is_silent.then_some(now));
            }
            if let (Some(is_silent), Some(attachment)) = (news, self.mesh.attachment(endpoint)) {
                let what = if is_silent { Step::Down(Ending::Silent) } else { Step::Up };
                self.see_endpoint(now, attachment, what);
            }
        }
    }
}
