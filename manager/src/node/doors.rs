//! How often one endpoint may ask something of this manager inside its tunnel.
//!
//! Whatever an endpoint says costs this manager time, and an attachment costs every manager an event. So each endpoint has a
//! rate of its own, and what it says beyond is dropped before anything is done for it.

use std::time::{Duration, Instant};

use festoon_dataplane::bucket::{Buckets, Rate};
use festoon_dataplane::drop_reason::DropReason;
use festoon_proto::EndpointId;

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
    pub(super) fn suspect(&mut self, now: Instant, endpoint: EndpointId, why: Suspicion) {
        if self.doors.alarms.take((endpoint, why.word()), ALARMS, now).is_ok() {
            let network = self.roster.network_of(endpoint);
            self.sightings.add(now, Seen::Suspicious { endpoint, network, why });
        }
    }
}
