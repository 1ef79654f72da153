//! Looks at the host beside the overlay.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressHeaderFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia};

use super::facts::{Bridge, Facts, Subnet, UnderlayRoute};
use super::netlink::{Netlink, NetlinkError, address, interface_name};
use super::table::{interface_index, prefix, table};

/// Where br_netfilter says that bridged packets pass the packet filter. Not there without it.
const FILTER_BRIDGED: [&str; 2] =
    ["/proc/sys/net/bridge/bridge-nf-call-iptables", "/proc/sys/net/bridge/bridge-nf-call-ip6tables"];

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
        let subnets = subnets.into_iter().map(|(index, prefix, is_lasting)| Subnet {
            prefix: prefix.trunc(),
            address: prefix.addr(),
            interface: name(index),
            is_lasting,
        });
        let facts = Facts { subnets: subnets.collect(), routes: underlay, bridges: self.bridges(&links, &routes) };
        Ok((facts, routes))
    }

    fn bridges(&self, links: &[LinkMessage], routes: &[RouteMessage]) -> Vec<Bridge> {
        let all_filtered =
            FILTER_BRIDGED.iter().any(|path| fs::read_to_string(path).is_ok_and(|text| text.trim() != "0"));
        let one = |bridge: &LinkMessage| {
            let index = bridge.header.index;
            let leads_out = |route: &&RouteMessage| table(route) != self.slot.table() && is_way_out(route, index);
            Some(Bridge {
                name: interface_name(bridge)?.to_owned(),
                has_outer_port: ports(links, index).any(|port| is_outer(links, port)),
                has_way_out: routes.iter().any(|route| leads_out(&route)),
                is_filtered: all_filtered || is_filtered(bridge),
            })
        };
        links.iter().filter(|link| kind(link) == Some(&InfoKind::Bridge)).filter_map(one).collect()
    }

    /// The addresses of all other devices with their prefixes, by interface, and whether they were given for good.
    async fn subnets(&self, links: &[LinkMessage]) -> Result<Vec<(u32, IpNet, bool)>, NetlinkError> {
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
            Some((message.header.index, net, message.header.flags.contains(AddressHeaderFlags::Permanent)))
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
    let hops = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => hops.first().map(|hop| &hop.attributes),
        _ => None,
    });
    route.attributes.iter().chain(hops.into_iter().flatten()).find_map(gateway_in)
}

fn gateway_in(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) | RouteAttribute::Via(RouteVia::Inet(address)) => {
            Some(IpAddr::V4(*address))
        }
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) | RouteAttribute::Via(RouteVia::Inet6(address)) => {
            Some(IpAddr::V6(*address))
        }
        _ => None,
    }
}

/// Whether the host gets over the interface to more than the neighbours there.
fn is_way_out(route: &RouteMessage, index: u32) -> bool {
    let over = |attributes: &[RouteAttribute]| attributes.iter().any(|attribute| gateway_in(attribute).is_some());
    let is_default = route.header.destination_prefix_length == 0;
    let hops = route.attributes.iter().filter_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    let mut hops = hops.flatten().filter(|hop| hop.interface_index == index);
    let leads_there = route.attributes.contains(&RouteAttribute::Oif(index));
    leads_there && (is_default || over(&route.attributes)) || hops.any(|hop| is_default || over(&hop.attributes))
}

fn ports(links: &[LinkMessage], bridge: u32) -> impl Iterator<Item = &LinkMessage> {
    links.iter().filter(move |link| controller(link) == Some(bridge))
}

fn controller(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    })
}

/// Whether a port of a bridge may lead to more than a guest of this host. Those of containers and virtual machines are veth and
/// TAP; a veth whose other end is on this host leads to whatever that end is part of.
fn is_outer(links: &[LinkMessage], port: &LinkMessage) -> bool {
    let elsewhere = port.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_)));
    let peer = port.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) if !elsewhere => links.iter().find(|link| link.header.index == *index),
        _ => None,
    });
    match kind(port) {
        Some(InfoKind::Tun) => false,
        Some(InfoKind::Veth) => peer.is_some_and(|peer| controller(peer).is_some()),
        _ => true,
    }
}

/// Whether this bridge alone passes on what it bridges to the packet filter.
fn is_filtered(bridge: &LinkMessage) -> bool {
    let infos = bridge.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let of_bridge = infos.flatten().filter_map(|info| match info {
        LinkInfo::Data(InfoData::Bridge(data)) => Some(data),
        _ => None,
    });
    let is_on =
        |info: &InfoBridge| matches!(info, InfoBridge::NfCallIpTables(true) | InfoBridge::NfCallIp6Tables(true));
    of_bridge.flatten().any(is_on)
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
