//! The few things asked of the kernel over rtnetlink (RFC 3549).

use std::io;
use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::{Handle, LinkUnspec};
use tokio::task::JoinHandle;

use super::slot::Slot;

/// Marks the routes and rules that are Festoon's, as `ip` shows: `proto 70`. None of the numbers in rtnetlink.h.
pub(super) const PROTOCOL: RouteProtocol = RouteProtocol::Other(70);

/// The kernel did not do as it was told.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {reason}")]
pub struct NetlinkError {
    action: String,
    reason: String,
}

impl NetlinkError {
    pub(super) fn new(action: impl Into<String>, error: &rtnetlink::Error) -> Self {
        let reason = match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io().to_string(),
            other => other.to_string(),
        };
        Self { action: action.into(), reason }
    }
}

/// A netlink socket, and the device it is for.
#[derive(Debug)]
pub(super) struct Netlink {
    pub(super) handle: Handle,
    /// Zero, which no device has, if there is none.
    pub(super) index: u32,
    pub(super) interface: String,
    pub(super) slot: Slot,
    connection: JoinHandle<()>,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Netlink {
    /// For the device called `interface`, which exists.
    pub(super) async fn open(interface: &str) -> Result<Self, NetlinkError> {
        let netlink = Self::open_if_there(interface).await?;
        if netlink.index == 0 {
            let action = format!("find interface {interface}");
            return Err(NetlinkError { action, reason: "no such device".into() });
        }
        netlink.take_down().await?;
        Ok(netlink)
    }

    /// For the device called `interface`, which need not exist, and stays as it is.
    pub(super) async fn open_if_there(interface: &str) -> Result<Self, NetlinkError> {
        let failed = |error: io::Error| NetlinkError { action: "open netlink".into(), reason: error.to_string() };
        let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
        let connection = tokio::spawn(connection);
        let (slot, interface) = (Slot::of(interface), interface.to_owned());
        let mut netlink = Self { handle, index: 0, interface, slot, connection };
        let links = netlink.links().await?;
        let is_it = |link: &&LinkMessage| interface_name(link) == Some(&*netlink.interface);
        netlink.index = links.iter().find(is_it).map_or(0, |link| link.header.index);
        Ok(netlink)
    }

    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// Sets the MTU and brings the device up, if either is not so already.
    pub(super) async fn bring_up(&self, mtu: u16) -> Result<(), NetlinkError> {
        let mtu = u32::from(mtu);
        let link = self.link(self.index).await?;
        let is_up = link.header.flags.contains(LinkFlags::Up);
        if is_up && link.attributes.contains(&LinkAttribute::Mtu(mtu)) {
            return Ok(());
        }
        let message = LinkUnspec::new_with_index(self.index).mtu(mtu).up().build();
        let action = || format!("bring {} up with an MTU of {mtu}", self.interface);
        self.handle.link().set(message).execute().await.map_err(|error| NetlinkError::new(action(), &error))
    }

    /// Takes the device down, and with it the link-local address the kernel gave it: no manager knows that address, but
    /// the kernel would speak from it. Nor is there anybody to hear its multicast.
    async fn take_down(&self) -> Result<(), NetlinkError> {
        let down = LinkUnspec::new_with_index(self.index).multicast(false).down().build();
        let action = || format!("take {} down", self.interface);
        self.handle.link().set(down).execute().await.map_err(|error| NetlinkError::new(action(), &error))?;
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let attribute = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]);
        let message = LinkUnspec::new_with_index(self.index).append_extra_attribute(attribute).build();
        if let Err(error) = self.handle.link().set(message).execute().await {
            // So it is on a host without IPv6. Elsewhere the cost is some packets that managers drop.
            tracing::debug!(%error, "the kernel keeps its own link-local address");
        }
        Ok(())
    }

    /// The addresses of the device, without link-local ones.
    pub(super) async fn addresses(&self) -> Result<Vec<IpAddr>, NetlinkError> {
        let messages = self.address_messages().await?;
        Ok(messages.iter().filter(|message| message.header.scope != AddressScope::Link).filter_map(address).collect())
    }

    pub(super) async fn add_address(&self, address: IpAddr) -> Result<(), NetlinkError> {
        let prefix_len = if address.is_ipv4() { 32 } else { 128 };
        let mut request = self.handle.address().add(self.index, address, prefix_len);
        if address.is_ipv6() {
            // Nobody on the other side would answer a duplicate address detection, but it takes a second.
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        let action = || format!("add address {address} to {}", self.interface);
        request.execute().await.map_err(|error| NetlinkError::new(action(), &error))
    }

    pub(super) async fn remove_address(&self, wanted: IpAddr) -> Result<(), NetlinkError> {
        let messages = self.address_messages().await?;
        for message in messages.into_iter().filter(|message| address(message) == Some(wanted)) {
            let action = || format!("remove address {wanted} from {}", self.interface);
            let removed = self.handle.address().del(message).execute().await;
            removed.map_err(|error| NetlinkError::new(action(), &error))?;
        }
        Ok(())
    }

    async fn link(&self, index: u32) -> Result<LinkMessage, NetlinkError> {
        let link = self.handle.link().get().match_index(index).execute().try_next().await;
        let action = || format!("look at {}", self.interface);
        let link = link.map_err(|error| NetlinkError::new(action(), &error))?;
        link.ok_or_else(|| NetlinkError { action: action(), reason: "it is gone".into() })
    }

    pub(super) async fn links(&self) -> Result<Vec<LinkMessage>, NetlinkError> {
        let links = self.handle.link().get().execute().try_collect().await;
        links.map_err(|error| NetlinkError::new("list interfaces", &error))
    }

    async fn address_messages(&self) -> Result<Vec<AddressMessage>, NetlinkError> {
        let addresses = self.handle.address().get().set_link_index_filter(self.index).execute();
        let addresses = addresses.try_collect::<Vec<_>>().await;
        addresses.map_err(|error| NetlinkError::new(format!("list the addresses of {}", self.interface), &error))
    }
}

pub(super) fn interface_name(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(&**name),
        _ => None,
    })
}

pub(super) fn address(message: &AddressMessage) -> Option<IpAddr> {
    let find = |pick: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(pick);
    // On a point-to-point device "Address" may be the other end; then "Local" is there too (if_addr.h).
    find(|attribute| if let AddressAttribute::Local(address) = attribute { Some(*address) } else { None }).or_else(
        || find(|attribute| if let AddressAttribute::Address(address) = attribute { Some(*address) } else { None }),
    )
}
