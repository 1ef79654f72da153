//! What can be seen of a world from outside.

use std::time::Duration;

use festoon_endpoint::node::MoveReason;
use festoon_proto::{EndpointId, ManagerId, NetworkId};

use crate::fault::Fault;

/// A packet of an application, as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its id.
    pub id: u64,
    /// Who sent it.
    pub from: EndpointId,
    /// Whom it is for; none if nobody in the sender's network has its address.
    pub to: Option<EndpointId>,
    /// The sender's network.
    pub network: NetworkId,
    /// When.
    pub at: Duration,
}

/// A packet came out of an endpoint's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// What was sent.
    pub sent: Sent,
    /// Where it came out.
    pub to: EndpointId,
    /// Whose tunnel it came out of; none if the underlay address is no manager's.
    pub by: Option<ManagerId>,
}

/// Something was seen. Times are counted from the beginning of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// An application sent a packet.
    Sent(Sent),
    /// A packet came out of an endpoint's device.
    Delivered(Delivered),
    /// An endpoint moved.
    Moved {
        /// Which.
        endpoint: EndpointId,
        /// Its manager before.
        from: Option<ManagerId>,
        /// Its manager now.
        to: ManagerId,
        /// Why.
        why: MoveReason,
    },
    /// An endpoint found no manager alive.
    NoManager(EndpointId),
    /// The last agent left a draining manager.
    Drained(ManagerId),
    /// A fault began or ended.
    Fault(Fault),
}
