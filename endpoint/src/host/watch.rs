//! What changes on the host: links, addresses, routes.
//!
//! Task: [`Watch::run`]. It may be cancelled at any point: a change that is not handed on is missed only by a session
//! that is gone.

use std::io;
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::netlink::interface_index;

const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// The first change of a burst is handed on at once, the others together after this.
const SPACING: Duration = Duration::from_millis(50);

/// Something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// It is not, or not only, the overlay's device: the underlay may look different now.
    pub underlay: bool,
}

/// A subscription to the kernel's news.
pub struct Watch {
    messages: Box<dyn Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Send + Unpin>,
    device: u32,
    connection: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Watch {
    /// Subscribes. `device` is the interface index of the overlay's device.
    pub fn open(device: u32) -> io::Result<Self> {
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&GROUPS)?;
        let connection = tokio::spawn(connection);
        Ok(Self { messages: Box::new(messages.map(|(message, _)| message)), device, connection })
    }

    /// Hands on changes until `changes` is closed.
    pub async fn run(mut self, changes: mpsc::Sender<Change>) {
        while let Some(first) = self.messages.next().await {
            let mut seen = self.classify(&first);
            while let Some(Some(more)) = self.messages.next().now_or_never() {
                seen = merge(seen, self.classify(&more));
            }
            let Some(change) = seen else { continue };
            if changes.send(change).await.is_err() {
                return;
            }
            sleep(SPACING).await;
        }
        tracing::error!("the kernel's news about addresses and routes ended: changes are not seen any more");
    }

    fn classify(&self, message: &NetlinkMessage<RouteNetlinkMessage>) -> Option<Change> {
        use RouteNetlinkMessage::{DelAddress, DelLink, DelRoute, NewAddress, NewLink, NewRoute};
        let index = match &message.payload {
            NetlinkPayload::InnerMessage(NewLink(link) | DelLink(link)) => Some(link.header.index),
            NetlinkPayload::InnerMessage(NewAddress(address) | DelAddress(address)) => Some(address.header.index),
            NetlinkPayload::InnerMessage(NewRoute(route) | DelRoute(route)) => interface_index(route),
            // News were lost: anything may have changed.
            NetlinkPayload::Overrun(_) => None,
            _ => return None,
        };
        Some(Change { underlay: index != Some(self.device) })
    }
}

fn merge(one: Option<Change>, other: Option<Change>) -> Option<Change> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Change { underlay: one.underlay || other.underlay }),
        (one, other) => one.or(other),
    }
}
