//! The agent's own routing table and the rules that lead there.
//!
//! Every prefix of the tunnel has two routes: one to the device, and one of a worse metric that goes nowhere. When the device
//! is gone, because the agent was killed, the second one stays: so a packet into the overlay never falls through to the main
//! table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage, RulePortRange};
use rtnetlink::packet_route::{AddressFamily, IpProtocol};
use rtnetlink::{IpVersion, RouteMessageBuilder};

use super::look::family;
use super::netlink::{Netlink, NetlinkError, PROTOCOL};
use super::plan::{Desired, Direct, Protocol};
use super::slot::{MARK, MARK_MASK};

/// See errno(3).
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EEXIST: i32 = 17;

const DEVICE_METRIC: u32 = 70;
const NOWHERE_METRIC: u32 = 7_000;

/// A route of the own table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnRoute {
    prefix: IpNet,
    way: Way,
    source: Option<IpAddr>,
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Device,
    Nowhere,
    /// Somebody else has put it into the table.
    Elsewhere,
}

/// A rule. The first of them lead managers' addresses past the table, the last leads there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Direct(Direct),
    Table { is_v4: bool },
}

impl Netlink {
    /// Brings the table into the desired state; `routes` are all of the host's. What failed is returned.
    pub(super) async fn set_table(
        &self,
        desired: &Desired,
        guarded: bool,
        routes: &[RouteMessage],
    ) -> Vec<NetlinkError> {
        let present: Vec<_> = routes.iter().filter_map(|route| Some((route, self.own_route(route)?))).collect();
        let wanted = wanted_routes(desired, guarded);
        let mut failed = Vec::new();
        // The old ones first: one to the same prefix with another source would be in the way.
        for (message, _) in present.iter().filter(|(_, route)| !wanted.contains(route)) {
            failed.extend(self.remove_route(message).await.err());
        }
        for route in wanted.iter().filter(|route| present.iter().all(|(_, other)| other != *route)) {
            failed.extend(self.add_route(*route).await.err());
        }
        failed
    }

    /// Brings the rules into the desired state, the new ones first. What failed is returned.
    pub(super) async fn set_rules(&self, desired: &Desired) -> Result<Vec<NetlinkError>, NetlinkError> {
        let present = self.rules().await?;
        let mut wanted: Vec<Rule> = desired.direct.iter().copied().map(Rule::Direct).collect();
        wanted.extend([true, false].map(|is_v4| Rule::Table { is_v4 }));
        let mut failed = Vec::new();
        for rule in &wanted {
            if !present.iter().any(|message| self.same_rule(message, *rule)) {
                failed.extend(self.add_rule(*rule).await.err());
            }
        }
        for message in present {
            if !wanted.iter().any(|rule| self.same_rule(&message, *rule)) {
                failed.extend(self.remove_rule(message).await.err());
            }
        }
        Ok(failed)
    }

    /// Takes the rules away, and then the table.
    pub(super) async fn clear_table(&self) -> Result<(), NetlinkError> {
        for rule in self.rules().await? {
            self.remove_rule(rule).await?;
        }
        for route in self.routes().await?.iter().filter(|route| self.is_in_table(route)) {
            self.remove_route(route).await?;
        }
        Ok(())
    }

    /// Whether there is any rule of this agent.
    pub(super) async fn has_rules(&self) -> Result<bool, NetlinkError> {
        Ok(!self.rules().await?.is_empty())
    }

    /// All routes of both families.
    pub(super) async fn routes(&self) -> Result<Vec<RouteMessage>, NetlinkError> {
        let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
        let mut routes = Vec::new();
        for (is_v4, request) in [(true, v4), (false, v6)] {
            let dump = self.handle.route().get(request).execute().try_collect::<Vec<_>>().await;
            let dump = dump.map_err(|error| NetlinkError::new("list routes", &error))?;
            // A kernel without IPv6 answers with the routes of all families that it has.
            routes.extend(dump.into_iter().filter(|route| route.header.address_family == family(is_v4)));
        }
        Ok(routes)
    }

    fn is_in_table(&self, route: &RouteMessage) -> bool {
        table(route) == self.slot.table()
    }

    /// What a route of the own table is. None for one of another.
    fn own_route(&self, route: &RouteMessage) -> Option<OwnRoute> {
        if !self.is_in_table(route) {
            return None;
        }
        let way = match route.header.kind {
            RouteType::Unicast if interface_index(route) == Some(self.index) => Way::Device,
            RouteType::Unreachable => Way::Nowhere,
            _ => Way::Elsewhere,
        };
        let source = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::PrefSource(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
            _ => None,
        });
        Some(OwnRoute { prefix: prefix(route)?, way, source })
    }

    async fn add_route(&self, route: OwnRoute) -> Result<(), NetlinkError> {
        let action = || format!("add a route to {} through {}", route.prefix, self.interface);
        let added = unless(EEXIST, self.handle.route().add(self.message(route)).execute().await);
        added.map_err(|error| NetlinkError::new(action(), &error))
    }

    async fn remove_route(&self, route: &RouteMessage) -> Result<(), NetlinkError> {
        let action = || format!("remove a route of table {}", self.slot.table());
        // The kernel has taken those away itself whose source or device is gone.
        let removed = unless(ESRCH, self.handle.route().del(route.clone()).execute().await);
        removed.map_err(|error| NetlinkError::new(action(), &error))
    }

    fn message(&self, route: OwnRoute) -> RouteMessage {
        let is_to_device = route.way == Way::Device;
        let (to, scope) = (route.prefix, if is_to_device { RouteScope::Link } else { RouteScope::Universe });
        let mut message = match to {
            IpNet::V4(to) => {
                let builder = RouteMessageBuilder::<Ipv4Addr>::new();
                builder.destination_prefix(to.addr(), to.prefix_len()).scope(scope).build()
            }
            // IPv6 routes have no scope in Linux.
            IpNet::V6(to) => {
                RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(to.addr(), to.prefix_len()).build()
            }
        };
        message.header.protocol = PROTOCOL;
        message.header.table = RouteHeader::RT_TABLE_UNSPEC;
        message.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::Table(_)));
        message.attributes.push(RouteAttribute::Table(self.slot.table()));
        if is_to_device {
            message.attributes.push(RouteAttribute::Oif(self.index));
            message.attributes.push(RouteAttribute::Priority(DEVICE_METRIC));
        } else {
            message.header.kind = RouteType::Unreachable;
            message.attributes.push(RouteAttribute::Priority(NOWHERE_METRIC));
        }
        message.attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
        message
    }

    /// The rules of this agent.
    async fn rules(&self) -> Result<Vec<RuleMessage>, NetlinkError> {
        Ok(self.all_rules().await?.into_iter().filter(|rule| self.is_own_rule(rule)).collect())
    }

    /// The rules of both families.
    pub(super) async fn all_rules(&self) -> Result<Vec<RuleMessage>, NetlinkError> {
        let mut all = Vec::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            let is_v4 = matches!(version, IpVersion::V4);
            let rules = self.handle.rule().get(version).execute().try_collect::<Vec<_>>().await;
            let rules = rules.map_err(|error| NetlinkError::new("list routing rules", &error))?;
            all.extend(rules.into_iter().filter(|rule| rule.header.family == family(is_v4)));
        }
        Ok(all)
    }

    pub(super) fn is_own_rule(&self, rule: &RuleMessage) -> bool {
        let has = |wanted: RuleAttribute| rule.attributes.contains(&wanted);
        let (direct, table) = (self.slot.direct_priority(), self.slot.table_priority());
        has(RuleAttribute::Protocol(PROTOCOL))
            && (has(RuleAttribute::Priority(direct)) || has(RuleAttribute::Priority(table)))
    }

    /// Whether `message`, which came from the kernel, is `rule`. The kernel adds attributes of its own.
    fn same_rule(&self, message: &RuleMessage, rule: Rule) -> bool {
        let wanted = self.rule_message(rule);
        let (header, other) = (&message.header, &wanted.header);
        header.family == other.family
            && header.dst_len == other.dst_len
            && header.flags.contains(RuleFlags::Invert) == other.flags.contains(RuleFlags::Invert)
            && wanted.attributes.iter().all(|attribute| message.attributes.contains(attribute))
    }

    async fn add_rule(&self, rule: Rule) -> Result<(), NetlinkError> {
        let mut request = self.handle.rule().add();
        *request.message_mut() = self.rule_message(rule);
        let action = || format!("add a routing rule for table {}", self.slot.table());
        match request.execute().await {
            // A kernel without IPv6 needs none.
            Err(_) if matches!(rule, Rule::Table { is_v4: false }) && !has_ipv6() => Ok(()),
            added => unless(EEXIST, added).map_err(|error| NetlinkError::new(action(), &error)),
        }
    }

    async fn remove_rule(&self, message: RuleMessage) -> Result<(), NetlinkError> {
        let action = || format!("remove a routing rule for table {}", self.slot.table());
        unless(ENOENT, self.handle.rule().del(message).execute().await)
            .map_err(|error| NetlinkError::new(action(), &error))
    }

    fn rule_message(&self, rule: Rule) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.action = RuleAction::ToTable;
        message.attributes.push(RuleAttribute::Protocol(PROTOCOL));
        match rule {
            Rule::Table { is_v4 } => {
                message.header.family = family(is_v4);
                message.header.flags = RuleFlags::Invert;
                message.attributes.extend([
                    RuleAttribute::Priority(self.slot.table_priority()),
                    RuleAttribute::Table(self.slot.table()),
                    RuleAttribute::FwMark(MARK),
                    RuleAttribute::FwMask(MARK_MASK),
                ]);
            }
            Rule::Direct(Direct { address, protocol, port }) => {
                message.header.family = family(address.is_ipv4());
                message.header.dst_len = IpNet::from(address).prefix_len();
                message.header.table = RouteHeader::RT_TABLE_MAIN;
                let protocol = if protocol == Protocol::Tcp { IpProtocol::Tcp } else { IpProtocol::Udp };
                message.attributes.extend([
                    RuleAttribute::Priority(self.slot.direct_priority()),
                    RuleAttribute::Destination(address),
                    RuleAttribute::IpProtocol(protocol),
                    RuleAttribute::DestinationPortRange(RulePortRange { start: port, end: port }),
                ]);
            }
        }
        message
    }
}

/// The routes of a table. With `guarded` what cannot go into the tunnel goes nowhere.
fn wanted_routes(desired: &Desired, guarded: bool) -> Vec<OwnRoute> {
    let source =
        |prefix: &IpNet| desired.addresses.iter().copied().find(|address| address.is_ipv4() == prefix.addr().is_ipv4());
    let device =
        desired.tunnel.iter().map(|prefix| OwnRoute { prefix: *prefix, way: Way::Device, source: source(prefix) });
    let nowhere = desired.tunnel.iter().chain(&desired.closed).filter(|_| guarded);
    device.chain(nowhere.map(|prefix| OwnRoute { prefix: *prefix, way: Way::Nowhere, source: None })).collect()
}

/// Somebody was faster, and what was to be is so already.
fn unless(errno: i32, result: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    match result {
        Err(rtnetlink::Error::NetlinkError(message)) if message.to_io().raw_os_error() == Some(errno) => Ok(()),
        result => result,
    }
}

pub(super) fn has_ipv6() -> bool {
    std::path::Path::new("/proc/net/if_inet6").exists()
}

/// The table that a route is in.
pub(super) fn table(route: &RouteMessage) -> u32 {
    let long = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    long.unwrap_or_else(|| u32::from(route.header.table))
}

/// Where a route leads.
pub(super) fn prefix(route: &RouteMessage) -> Option<IpNet> {
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
