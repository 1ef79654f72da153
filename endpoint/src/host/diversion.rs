//! Whether overlay packets go where the agent's routes lead.
//!
//! Another program may have a rule before ours: a VPN for everything, an exit node. Nothing of ours is missing then, so the kernel
//! itself is asked which way packets take. It is asked for an address of each prefix, and of each prefix that a rule of others
//! names; rules for the packets of one user or with one mark do not show.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use ipnet::IpNet;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType};
use rtnetlink::packet_route::rule::{RuleAttribute, RuleMessage};

use super::look::family;
use super::netlink::{Netlink, NetlinkError, interface_name};
use super::plan::Desired;
use super::spans::Spans;
use super::table::{has_ipv6, interface_index, table};

/// So many prefixes are tried. Those between them are as a rule treated the same.
const SAMPLES: usize = 64;
/// What the kernel says of an address that it would send nothing to: EACCES, EINVAL, ENETUNREACH, EHOSTUNREACH (errno(3)).
const NO_WAY: [i32; 4] = [13, 22, 101, 113];

/// Something before the agent's rule takes packets that belong in the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diversion {
    /// Where they are sent to.
    pub prefix: IpNet,
    /// How many other prefixes fare likewise.
    pub others: usize,
    /// Through which interface they go instead. None if they go nowhere.
    pub interface: Option<String>,
    /// By which routing table, as far as the kernel says.
    pub table: Option<u32>,
    /// The priority of the rule that leads there, if one is before the agent's.
    pub rule: Option<u32>,
    /// The priority of the agent's own rule.
    pub own_rule: u32,
}

impl std::error::Error for Diversion {}

impl fmt::Display for Diversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packets to {}", self.prefix)?;
        match self.others {
            0 => {}
            1 => f.write_str(" and another prefix")?,
            others => write!(f, " and {others} other prefixes")?,
        }
        f.write_str(" do not go into the tunnel: ")?;
        match &self.interface {
            Some(interface) => write!(f, "the kernel sends them through {interface}")?,
            None => f.write_str("the kernel sends them nowhere")?,
        }
        match (self.rule, self.table) {
            (Some(rule), Some(table)) => write!(f, " by routing rule {rule} for table {table}")?,
            (None, Some(table)) => write!(f, " by routing table {table}")?,
            _ => {}
        }
        write!(
            f,
            ". With leak protection they are dropped there, without it they leave unencrypted. A rule of another program, such as a \
             VPN, comes before rule {} of this agent: see `ip rule`, and have that program leave out the overlay's prefixes",
            self.own_rule
        )
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Through {
        index: u32,
        table: u32,
    },
    Nowhere,
    /// This host itself has the address.
    Here,
}

impl Netlink {
    /// What takes packets away that belong in the tunnel.
    pub(super) async fn diversions(&self, desired: &Desired) -> Result<Vec<Diversion>, NetlinkError> {
        let rules = self.all_rules().await?;
        let is_earlier = |rule: &&RuleMessage| priority(rule) < self.slot.table_priority() && !self.is_own_rule(rule);
        let earlier: Vec<&RuleMessage> = rules.iter().filter(is_earlier).collect();
        let named: Vec<IpNet> = earlier.iter().filter_map(|rule| destination(rule)).collect();
        let mut found: Vec<(Way, IpNet, usize)> = Vec::new();
        for (prefix, address) in samples(desired, &named).into_iter().filter(|(_, it)| it.is_ipv4() || has_ipv6()) {
            let way = self.way(address).await?;
            match found.iter_mut().find(|(other, ..)| *other == way) {
                Some((_, _, others)) => *others += 1,
                None => found.push((way, prefix, 0)),
            }
        }
        let is_wrong = |way: Way| match way {
            Way::Through { index, .. } => index != self.index,
            Way::Nowhere => true,
            Way::Here => false,
        };
        found.retain(|(way, ..)| is_wrong(*way));
        let links = if found.is_empty() { Vec::new() } else { self.links().await? };
        let name = |index| links.iter().find(|link| link.header.index == index).and_then(interface_name);
        let one = |(way, prefix, others)| {
            let (index, table) = match way {
                Way::Through { index, table } => (Some(index), Some(table)),
                _ => (None, None),
            };
            let is_it = |rule: &&&RuleMessage| {
                table == Some(rule_table(rule)) && rule.header.family == family(IpNet::addr(&prefix).is_ipv4())
            };
            Diversion {
                prefix,
                others,
                interface: index.map(|index| name(index).unwrap_or("another interface").to_owned()),
                table,
                rule: earlier.iter().find(is_it).map(|rule| priority(rule)),
                own_rule: self.slot.table_priority(),
            }
        };
        Ok(found.into_iter().map(one).collect())
    }

    /// What the kernel would do with a packet to `address` that has no mark.
    async fn way(&self, address: IpAddr) -> Result<Way, NetlinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(address.is_ipv4());
        message.header.destination_prefix_length = IpNet::from(address).prefix_len();
        message.header.flags = RouteFlags::LookupTable;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
        let answer = self.handle.route().get(message).execute().try_next().await;
        match answer {
            Ok(Some(route)) => Ok(way(&route)),
            Ok(None) => Ok(Way::Here),
            Err(rtnetlink::Error::NetlinkError(error))
                if error.to_io().raw_os_error().is_some_and(|errno| NO_WAY.contains(&errno)) =>
            {
                Ok(Way::Nowhere)
            }
            Err(error) => Err(NetlinkError::new(format!("ask for the route to {address}"), &error)),
        }
    }
}

fn way(route: &RouteMessage) -> Way {
    match (route.header.kind, interface_index(route)) {
        (RouteType::Unicast, Some(index)) => Way::Through { index, table: table(route) },
        (RouteType::Unreachable | RouteType::BlackHole | RouteType::Prohibit, _) => Way::Nowhere,
        _ => Way::Here,
    }
}

/// Prefixes to try, each with one of its addresses: some of those of the tunnel, and those of `named` that lie inside.
fn samples(desired: &Desired, named: &[IpNet]) -> Vec<(IpNet, IpAddr)> {
    let tunnel: Spans = desired.tunnel.iter().collect();
    let step = desired.tunnel.len().div_ceil(SAMPLES).max(1);
    let inside = named.iter().filter(|prefix| tunnel.covers(&Spans::of(**prefix)));
    let all: BTreeSet<IpNet> = desired.tunnel.iter().step_by(step).chain(inside.take(SAMPLES)).copied().collect();
    let address = |prefix: &IpNet| prefix.hosts().find(|address| !desired.addresses.contains(address));
    all.into_iter().filter_map(|prefix| Some((prefix, address(&prefix)?))).collect()
}

/// Where a rule applies, if it says.
fn destination(rule: &RuleMessage) -> Option<IpNet> {
    let to = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Destination(address) => Some(*address),
        _ => None,
    })?;
    IpNet::new(to, rule.header.dst_len).map(|prefix| prefix.trunc()).ok()
}

/// The kernel leaves out the first.
fn priority(rule: &RuleMessage) -> u32 {
    let told = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Priority(priority) => Some(*priority),
        _ => None,
    });
    told.unwrap_or(0)
}

fn rule_table(rule: &RuleMessage) -> u32 {
    let long = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Table(table) => Some(*table),
        _ => None,
    });
    long.unwrap_or_else(|| u32::from(rule.header.table))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn an_address_of_each_prefix_is_tried_but_never_the_hosts_own() {
        let desired = Desired {
            tunnel: nets(&["172.31.0.0/16", "172.30.0.5/32", "172.30.0.9/32", "fd31::/64"]),
            addresses: vec!["172.31.0.1".parse().unwrap(), "172.30.0.5".parse().unwrap()],
            ..Desired::default()
        };
        let named = nets(&["172.31.7.0/24", "10.0.0.0/8", "0.0.0.0/0"]);
        let tried: Vec<String> = samples(&desired, &named).iter().map(|(_, address)| address.to_string()).collect();
        assert_eq!(tried, ["172.30.0.9", "172.31.0.2", "172.31.7.1", "fd31::"]);
    }

    #[test]
    fn many_prefixes_are_tried_in_part() {
        let tunnel: Vec<IpNet> = (0..=255_u8).map(|at| IpNet::new(IpAddr::from([10, 0, at, 0]), 25).unwrap()).collect();
        assert_eq!(samples(&Desired { tunnel, ..Desired::default() }, &[]).len(), SAMPLES);
    }

    #[test]
    fn whoever_takes_packets_away_is_named() {
        let mut diversion = Diversion {
            prefix: "172.31.0.0/16".parse().unwrap(),
            others: 2,
            interface: Some("wg0".into()),
            table: Some(51_820),
            rule: Some(5_209),
            own_rule: 28_127,
        };
        let text = diversion.to_string();
        for part in
            ["172.31.0.0/16 and 2 other prefixes", "through wg0 by routing rule 5209 for table 51820", "rule 28127"]
        {
            assert!(text.contains(part), "no {part:?} in {text:?}");
        }
        (diversion.others, diversion.interface, diversion.rule, diversion.table) = (0, None, None, None);
        assert!(
            diversion.to_string().contains("172.31.0.0/16 do not go into the tunnel: the kernel sends them nowhere. ")
        );
    }
}
