//! The few things asked of the kernel over rtnetlink (RFC 3549).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};
use tokio::task::JoinHandle;

use super::UnderlayRoute;

/// Marks the routes that are Festoon's, as `ip route` shows: `proto 70`. None of the numbers in rtnetlink.h.
const ROUTE_PROTOCOL: RouteProtocol = RouteProtocol::Other(70);

/// The kernel did not do as it was told.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {reason}")]
pub struct NetlinkError {
    action: String,
    reason: String,
}

impl NetlinkError {
    fn new(action: impl Into<String>, error: &rtnetlink::Error) -> Self {
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
    handle: Handle,
    index: u32,
    interface: String,
    connection: JoinHandle<()>,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Netlink {
    pub(super) async fn open(interface: &str) -> Result<Self, NetlinkError> {
        let failed = |error: io::Error| NetlinkError { action: "open netlink".into(), reason: error.to_string() };
        let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
        let connection = tokio::spawn(connection);
        let link = handle.link().get().match_name(interface).execute().try_next().await;
        let action = format!("find interface {interface}");
        let link = link.map_err(|error| NetlinkError::new(&action, &error))?;
        let index = link.ok_or_else(|| NetlinkError { action, reason: "no such device".into() })?.header.index;
        let netlink = Self { handle, index, interface: interface.to_owned(), connection };
        netlink.take_down().await?;
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

    /// Festoon's routes to the device.
    pub(super) async fn own_routes(&self) -> Result<Vec<IpNet>, NetlinkError> {
        let routes = self.routes().await?;
        let own = |route: &&RouteMessage| {
            route.header.protocol == ROUTE_PROTOCOL && interface_index(route) == Some(self.index)
        };
        Ok(routes.iter().filter(own).filter_map(prefix).collect())
    }

    /// All routes that do not lead to the device.
    pub(super) async fn underlay_routes(&self) -> Result<Vec<UnderlayRoute>, NetlinkError> {
        let names = self.interface_names().await?;
        let routes = self.routes().await?;
        let others = routes.iter().filter(|route| interface_index(route) != Some(self.index));
        Ok(others
            .filter_map(|route| {
                let name = interface_index(route).and_then(|index| names.get(&index));
                let interface = name.cloned().unwrap_or_else(|| "another interface".into());
                Some(UnderlayRoute { prefix: prefix(route)?, interface })
            })
            .collect())
    }

    pub(super) async fn add_route(&self, to: IpNet, source: Option<IpAddr>) -> Result<(), NetlinkError> {
        let mut route = self.route(to);
        route.attributes.extend(source.map(|source| RouteAttribute::PrefSource(source.into())));
        let action = || format!("add a route to {to} through {}", self.interface);
        self.handle.route().add(route).execute().await.map_err(|error| NetlinkError::new(action(), &error))
    }

    pub(super) async fn remove_route(&self, to: IpNet) -> Result<(), NetlinkError> {
        let action = || format!("remove the route to {to} through {}", self.interface);
        let removed = self.handle.route().del(self.route(to)).execute().await;
        removed.map_err(|error| NetlinkError::new(action(), &error))
    }

    fn route(&self, to: IpNet) -> RouteMessage {
        let mut message = match to {
            IpNet::V4(to) => {
                let route = RouteMessageBuilder::<Ipv4Addr>::new();
                route.destination_prefix(to.addr(), to.prefix_len()).scope(RouteScope::Link).build()
            }
            IpNet::V6(to) => {
                // IPv6 routes have no scope in Linux.
                RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(to.addr(), to.prefix_len()).build()
            }
        };
        message.header.protocol = ROUTE_PROTOCOL;
        message.attributes.push(RouteAttribute::Oif(self.index));
        message
    }

    async fn link(&self, index: u32) -> Result<LinkMessage, NetlinkError> {
        let link = self.handle.link().get().match_index(index).execute().try_next().await;
        let action = || format!("look at {}", self.interface);
        let link = link.map_err(|error| NetlinkError::new(action(), &error))?;
        link.ok_or_else(|| NetlinkError { action: action(), reason: "it is gone".into() })
    }

    async fn interface_names(&self) -> Result<BTreeMap<u32, String>, NetlinkError> {
        let links = self.handle.link().get().execute().try_collect::<Vec<_>>().await;
        let links = links.map_err(|error| NetlinkError::new("list interfaces", &error))?;
        let name = |link: &LinkMessage| {
            link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some((link.header.index, name.clone())),
                _ => None,
            })
        };
        Ok(links.iter().filter_map(name).collect())
    }

    async fn address_messages(&self) -> Result<Vec<AddressMessage>, NetlinkError> {
        let addresses = self.handle.address().get().set_link_index_filter(self.index).execute();
        let addresses = addresses.try_collect::<Vec<_>>().await;
        addresses.map_err(|error| NetlinkError::new(format!("list the addresses of {}", self.interface), &error))
    }

    /// The unicast routes of the main table, of both families.
    async fn routes(&self) -> Result<Vec<RouteMessage>, NetlinkError> {
        let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
        let mut routes = Vec::new();
        for (family, request) in [(AddressFamily::Inet, v4), (AddressFamily::Inet6, v6)] {
            let dump = self.handle.route().get(request).execute().try_collect::<Vec<_>>().await;
            let dump = dump.map_err(|error| NetlinkError::new("list routes", &error))?;
            // A kernel without IPv6 answers with the routes of all families that it has.
            routes.extend(dump.into_iter().filter(|route| {
                let header = &route.header;
                header.address_family == family
                    && header.table == RouteHeader::RT_TABLE_MAIN
                    && header.kind == RouteType::Unicast
            }));
        }
        Ok(routes)
    }
}

fn address(message: &AddressMessage) -> Option<IpAddr> {
    let find = |pick: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(pick);
    // On a point-to-point device "Address" may be the other end; then "Local" is there too (if_addr.h).
    find(|attribute| if let AddressAttribute::Local(address) = attribute { Some(*address) } else { None }).or_else(
        || find(|attribute| if let AddressAttribute::Address(address) = attribute { Some(*address) } else { None }),
    )
}

fn prefix(route: &RouteMessage) -> Option<IpNet> {
    let length = route.header.destination_prefix_length;
    let destination = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    let default = match route.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNet::new(destination.unwrap_or(default), length).ok()
}

/// The interface a route leads to, the first of several.
pub(super) fn interface_index(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        RouteAttribute::MultiPath(hops) => hops.first().map(|hop| hop.interface_index),
        _ => None,
    })
}
