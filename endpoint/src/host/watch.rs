//! What changes on the host: links, addresses, routes, rules, and the agent's packet filter.
//!
//! Task: [`Watch::run`]. It may be cancelled at any point: a change that is not handed on is missed only by a session
//! that is gone.

use std::future::{pending, poll_fn};
use std::io;
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket as _, TokioSocket};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::slot::Slot;
use super::table::{interface_index, table};

const GROUPS: [MulticastGroup; 7] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// The news of nftables (nfnetlink.h).
const NFNLGRP_NFTABLES: u32 = 7;

/// The first change of a burst is handed on at once, the others together after this.
const SPACING: Duration = Duration::from_millis(50);

/// Something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// It is not, or not only, the overlay's device: the underlay may look different now.
    pub underlay: bool,
    /// Somebody changed the agent's packet filter, perhaps the agent itself.
    pub filter: bool,
}

/// A subscription to the kernel's news.
pub struct Watch {
    messages: Box<dyn Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Send + Unpin>,
    device: u32,
    table: u32,
    filter: FilterNews,
    connection: JoinHandle<()>,
}

/// What nftables tells, as far as it is about one table.
struct FilterNews {
    /// None where the kernel has no nftables.
    socket: Option<TokioSocket>,
    /// The table's name, as it is in the messages.
    name: Vec<u8>,
}

impl FilterNews {
    fn open(table: &str) -> Self {
        let open = || {
            let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
            socket.socket_mut().bind_auto()?;
            socket.socket_mut().add_membership(NFNLGRP_NFTABLES)?;
            io::Result::Ok(socket)
        };
        let socket =
            open().inspect_err(|error| tracing::warn!(%error, "cannot watch nftables: changes to the packet filter are noticed once a minute only"));
        Self { socket: socket.ok(), name: [table.as_bytes(), &[0]].concat() }
    }

    /// Waits for news of the table. May be cancelled at any time: what was not handed on is still in the socket.
    async fn next(&self) {
        let Some(socket) = &self.socket else { return pending().await };
        loop {
            match poll_fn(|context| socket.poll_recv_from_full(context)).await {
                Ok((news, _)) if !news.windows(self.name.len()).any(|part| part == self.name) => {}
                // An error means that news were lost.
                _ => return,
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Watch {
    /// Subscribes. `device` is the interface index of the overlay's device, which is called `interface`.
    pub fn open(device: u32, interface: &str) -> io::Result<Self> {
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&GROUPS)?;
        let connection = tokio::spawn(connection);
        let slot = Slot::of(interface);
        let (table, filter) = (slot.table(), FilterNews::open(&slot.filter()));
        Ok(Self { messages: Box::new(messages.map(|(message, _)| message)), device, table, filter, connection })
    }

    /// Hands on changes until `changes` is closed.
    pub async fn run(mut self, changes: mpsc::Sender<Change>) {
        loop {
            let first = tokio::select! {
                message = self.messages.next() => message,
                () = self.filter.next() => {
                    if changes.send(Change { underlay: false, filter: true }).await.is_err() {
                        return;
                    }
                    sleep(SPACING).await;
                    continue;
                }
            };
            let Some(first) = first else { break };
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
        tracing::error!(
            "the kernel sends no more notifications about addresses and routes: changes are noticed once a minute only"
        );
    }

    fn classify(&self, message: &NetlinkMessage<RouteNetlinkMessage>) -> Option<Change> {
        use RouteNetlinkMessage::{DelAddress, DelLink, DelRoute, DelRule, NewAddress, NewLink, NewRoute, NewRule};
        let index = match &message.payload {
            NetlinkPayload::InnerMessage(NewLink(link) | DelLink(link)) => Some(link.header.index),
            NetlinkPayload::InnerMessage(NewAddress(address) | DelAddress(address)) => Some(address.header.index),
            // The routes of our own table that go nowhere have no device, or another.
            NetlinkPayload::InnerMessage(NewRoute(route) | DelRoute(route)) if table(route) == self.table => {
                Some(self.device)
            }
            NetlinkPayload::InnerMessage(NewRoute(route) | DelRoute(route)) => interface_index(route),
            // Rules belong to no device, and the way of our own packets is not theirs.
            NetlinkPayload::InnerMessage(NewRule(_) | DelRule(_)) => Some(self.device),
            // News were lost: anything may have changed.
            NetlinkPayload::Overrun(_) => None,
            _ => return None,
        };
        Some(Change { underlay: index != Some(self.device), filter: false })
    }
}

fn merge(one: Option<Change>, other: Option<Change>) -> Option<Change> {
    match (one, other) {
        (Some(one), Some(other)) => {
            Some(Change { underlay: one.underlay || other.underlay, filter: one.filter || other.filter })
        }
        (one, other) => one.or(other),
    }
}
