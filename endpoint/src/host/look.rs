//! Looks at the host beside the overlay.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia};

use super::facts::{Facts, Subnet, UnderlayRoute};
use super::netlink::{Netlink, NetlinkError, address, interface_name};
use super::table::{interface_index, prefix, table};

impl Netlink {
    /// The host, now, and all of its routes.
    pub(super) async fn look(&self) -> Result<(Facts, Vec<RouteMessage>), NetlinkError> {
        let links = self.links().await?;
        let routes = self.routes().await?;
        let names: BTreeMap<u32, &str> =
            links.iter().filter_map(|link| Some((link.header.index, interface_name(link)?))).collect();
        let name = |index: u32| names.get(&index).copied().unwrap_or("another interface").to_owned();
        let is_main = |route: &&RouteMessage| {
            table(route) == u32::from(RouteHeader::RT_TABLE_MAIN)
                && route.header.kind == RouteType::Unicast
                && interface_index(route) != Some(self.index)
        };
        let underlay = routes.iter().filter(is_main).filter_map(|route| {
            Some(UnderlayRoute {
                prefix: prefix(route)?,
                interface: interface_index(route).map_or_else(|| "another interface".into(), name),
                gateway: gateway(route),
            })
        });
        let underlay: Vec<_> = underlay.filter(|route| !is_link_local(route.prefix)).collect();
        let subnets = self.subnets(&links).await?;
        let subnets = subnets.into_iter().map(|(index, prefix)| Subnet {
            prefix: prefix.trunc(),
            address: prefix.addr(),
            interface: name(index),
        });
        let facts = Facts { subnets: subnets.collect(), routes: underlay, inner_bridges: inner_bridges(&links) };
        Ok((facts, routes))
    }

    /// The addresses of all other devices with their prefixes, by interface.
    async fn subnets(&self, links: &[LinkMessage]) -> Result<Vec<(u32, IpNet)>, NetlinkError> {
        let loopback: BTreeSet<u32> = links
            .iter()
            .filter(|link| link.header.flags.contains(LinkFlags::Loopback))
            .map(|link| link.header.index)
            .collect();
        let messages = self.handle.address().get().execute().try_collect::<Vec<_>>().await;
        let messages = messages.map_err(|error| NetlinkError::new("list addresses", &error))?;
        let others = messages.iter().filter(|message| {
            let (index, scope) = (message.header.index, message.header.scope);
            index != self.index && !loopback.contains(&index) && scope != AddressScope::Link
        });
        let subnet = |message: &AddressMessage| {
            let net = IpNet::new(address(message)?, message.header.prefix_len).ok()?;
            Some((message.header.index, net))
        };
        Ok(others.filter_map(subnet).collect())
    }
}

fn is_link_local(prefix: IpNet) -> bool {
    match prefix.addr() {
        IpAddr::V4(address) => address.is_link_local() || address.is_multicast(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    }
}

fn gateway(route: &RouteMessage) -> Option<IpAddr> {
    let of = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) | RouteAttribute::Via(RouteVia::Inet(address)) => {
            Some(IpAddr::V4(*address))
        }
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) | RouteAttribute::Via(RouteVia::Inet6(address)) => {
            Some(IpAddr::V6(*address))
        }
        _ => None,
    };
    let hops = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => hops.first().map(|hop| &hop.attributes),
        _ => None,
    });
    route.attributes.iter().chain(hops.into_iter().flatten()).find_map(of)
}

/// The bridges behind which there are only containers and virtual machines of this host: all their ports are virtual. A
/// neighbour on the network cannot send anything through them.
fn inner_bridges(links: &[LinkMessage]) -> Vec<String> {
    let controller = |link: &LinkMessage| {
        link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Controller(index) => Some(*index),
            _ => None,
        })
    };
    let is_inner = |bridge: &&LinkMessage| {
        let mut ports = links.iter().filter(|link| controller(link) == Some(bridge.header.index));
        kind(bridge) == Some(&InfoKind::Bridge)
            && ports.all(|port| matches!(kind(port), Some(InfoKind::Veth | InfoKind::Tun)))
    };
    let is_plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let mut names: Vec<String> =
        links.iter().filter(is_inner).filter_map(interface_name).filter(is_plain).map(str::to_owned).collect();
    names.sort_unstable();
    names
}

fn kind(link: &LinkMessage) -> Option<&InfoKind> {
    let infos = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    })?;
    infos.iter().find_map(|info| if let LinkInfo::Kind(kind) = info { Some(kind) } else { None })
}

/// The family of a route's header.
pub(super) fn family(is_v4: bool) -> AddressFamily {
    if is_v4 { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
