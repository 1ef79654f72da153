//! What one endpoint may ask of this manager inside its tunnel: how often, and with which generations.
//!
//! Whatever an endpoint says costs this manager time, and an attachment costs every manager an event. So each endpoint has a
//! rate of its own, and what it says beyond is dropped before anything is done for it.

use std::time::{Duration, Instant};

use festoon_dataplane::bucket::{Buckets, Rate};
use festoon_dataplane::drop_reason::DropReason;
use festoon_proto::signal::{Attach, Detach};
use festoon_proto::{Attachment, EndpointId, Generation};

use super::{ManagerNode, Seen, Suspicion};

/// Messages of any kind. An agent sends some 20 probes a second, and a few bursts.
const MESSAGES: Rate = Rate { burst: 500, every: Duration::from_millis(5) };
/// Changes of its attachment. More than an endpoint moves whose managers come and go.
const CHANGES: Rate = Rate { burst: 16, every: Duration::from_secs(2) };
/// Events that tell of an endpoint that does odd things.
const ALARMS: Rate = Rate { burst: 1, every: Duration::from_secs(60) };

/// What each endpoint has used of its rates.
#[derive(Debug, Default)]
pub(super) struct Doors {
    messages: Buckets<EndpointId>,
    changes: Buckets<EndpointId>,
    alarms: Buckets<(EndpointId, &'static str)>,
}

impl ManagerNode {
    /// Whether a message of this endpoint is to be looked at.
    pub(super) fn may_speak(&mut self, now: Instant, endpoint: EndpointId) -> bool {
        let may = self.doors.messages.take(endpoint, MESSAGES, now).is_ok();
        if !may {
            self.forwarder.count_drop(DropReason::SignalLimit);
        }
        may
    }

    /// An endpoint wants to be carried here. The answer is the highest attachment that is known; none if it asks too often.
    ///
    /// A generation that it can't have is refused: the answer has a lower one then, and the agent goes on from that.
    pub(super) fn handle_attach(&mut self, now: Instant, endpoint: EndpointId, attach: Attach) -> Option<Attachment> {
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
    pub(super) fn handle_detach(&mut self, now: Instant, endpoint: EndpointId, Detach { generation }: Detach) {
        if !self.mesh.may_have(endpoint, generation) {
            self.suspect(now, endpoint, Suspicion::Generation(generation));
        } else if self.mesh.attachment(endpoint).is_some() && self.may_change(now, endpoint) {
            self.detach(now, endpoint, generation);
        }
    }

    /// Whether the attachment of this endpoint may change once more.
    pub(super) fn may_change(&mut self, now: Instant, endpoint: EndpointId) -> bool {
        let may = self.doors.changes.take(endpoint, CHANGES, now).is_ok();
        if !may {
            self.forwarder.count_drop(DropReason::SignalLimit);
            self.suspect(now, endpoint, Suspicion::Changes);
        }
        may
    }

    /// Tells of an endpoint that does odd things, unless that was told a moment ago.
    fn suspect(&mut self, now: Instant, endpoint: EndpointId, why: Suspicion) {
        if self.doors.alarms.take((endpoint, why.word()), ALARMS, now).is_ok() {
            let network = self.roster.network_of(endpoint);
            self.sightings.add(now, Seen::Suspicious { endpoint, network, why });
        }
    }
}
