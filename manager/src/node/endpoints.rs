//! What this manager hears from endpoints, and what it tells them.

use std::time::{Duration, Instant};

use festoon_dataplane::Effects;
use festoon_dataplane::forwarder::Neighbour;
use festoon_proto::signal::{Attach, AttachReply, Detach, Message, Suspect};
use festoon_proto::{Attachment, EndpointId, Generation, ManagerId};

use super::{ManagerNode, Suspicion};

/// A stock client that is seen at two managers moves at most this often.
const CLIENT_MOVE_INTERVAL: Duration = Duration::from_secs(1);
/// Endpoints that are told of a mere suspicion, at most, and how often: each of them sends a burst of probes then. More
/// are told only of a death.
const EARLY_WARNINGS: usize = 1_000;
const EARLY_WARNING_INTERVAL: Duration = Duration::from_secs(1);

impl ManagerNode {
    pub(super) fn handle_endpoint(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        message: &Message,
        effects: &mut Effects,
    ) {
        if !self.may_speak(now, endpoint) {
            return;
        }
        let to = Neighbour::Endpoint(endpoint);
        match *message {
            Message::Probe(probe) => {
                let version = self.roster.endpoint_version(endpoint);
                let reply = self.answer(probe, version, self.mesh.attachment(endpoint), to);
                self.forwarder.signal(to, &reply, effects);
            }
            Message::Attach(attach) => {
                if let Some(attachment) = self.handle_attach(now, endpoint, attach) {
                    self.forwarder.signal(to, &Message::AttachReply(AttachReply { attachment }), effects);
                }
            }
            Message::Detach(detach) => self.handle_detach(now, endpoint, detach),
            // The rest is for endpoints, or between managers.
            _ => {}
        }
    }

    /// An endpoint wants to be carried here. The answer is the highest attachment that is known; none if it asks too often.
    ///
    /// A generation that it can't have is refused: the answer has a lower one then, and the agent goes on from that.
    fn handle_attach(&mut self, now: Instant, endpoint: EndpointId, attach: Attach) -> Option<Attachment> {
        let Attach { generation, why, gap_ms } = attach;
        let wanted = Attachment { endpoint, manager: self.me, generation };
        if !self.mesh.may_have(endpoint, generation) {
            self.suspect(now, endpoint, Suspicion::Generation(generation));
            let known = Generation(self.mesh.generation(endpoint).map_or(0, |known| known.0));
            return Some(Attachment { generation: known, ..wanted });
        }
        if self.mesh.is_news(wanted) && !self.may_change(now, endpoint) {
            return None;
        }
        let gap = gap_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        Some(self.attach(now, wanted, Some(why), gap))
    }

    /// An endpoint says that it goes.
    fn handle_detach(&mut self, now: Instant, endpoint: EndpointId, Detach { generation }: Detach) {
        if !self.mesh.may_have(endpoint, generation) {
            self.suspect(now, endpoint, Suspicion::Generation(generation));
        } else if self.mesh.attachment(endpoint).is_some() && self.may_change(now, endpoint) {
            self.detach(now, endpoint, generation);
        }
    }

    /// A stock client says nothing of attachments: where it is heard, there it is.
    pub(super) fn attach_client(&mut self, now: Instant, endpoint: EndpointId) {
        let Some(known) = self.roster.endpoint_mut(endpoint) else { return };
        if known.moved_at.is_some_and(|at| now < at + CLIENT_MOVE_INTERVAL) {
            return;
        }
        known.moved_at = Some(now);
        if !self.may_change(now, endpoint) {
            return;
        }
        // Also above the generation with which it left.
        let generation = self.mesh.generation(endpoint).map_or(Generation(1), Generation::next);
        self.attach(now, Attachment { endpoint, manager: self.me, generation }, None, None);
    }

    /// While they are few, endpoints of a manager that is only suspected look for themselves already.
    pub(super) fn warn_early(&mut self, now: Instant, manager: ManagerId, effects: &mut Effects) {
        let is_soon = self.warned_at.get(&manager).is_some_and(|&at| now < at + EARLY_WARNING_INTERVAL);
        let theirs = self.agents_of(manager);
        if !is_soon && theirs.len() <= EARLY_WARNINGS {
            self.warned_at.insert(manager, now);
            self.warn(theirs, manager, effects);
        }
    }

    pub(super) fn agents_of(&self, manager: ManagerId) -> Vec<EndpointId> {
        self.mesh.carried_by(manager).iter().copied().filter(|&id| self.roster.is_agent(id)).collect()
    }

    /// Endpoints that a manager carries look for themselves at once whether it is there, instead of at their next probe.
    pub(super) fn warn(&mut self, theirs: Vec<EndpointId>, manager: ManagerId, effects: &mut Effects) {
        for endpoint in theirs {
            let neighbour = Neighbour::Endpoint(endpoint);
            // One that has no session here could not be told: a handshake would have to come from its side.
            if self.forwarder.neighbour(neighbour).is_some_and(|stats| stats.session_age.is_some()) {
                self.forwarder.signal(neighbour, &Message::Suspect(Suspect { manager }), effects);
            }
        }
    }
}
