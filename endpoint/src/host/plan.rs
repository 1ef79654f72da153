//! From the map, the host and its owner's choices to what the kernel should have. Pure.
//!
//! The addresses of the overlay fall into three parts on a host: what goes into the *tunnel* or nowhere; what is *closed*, because
//! a network or route that came after the host joined wants it; and what stays the host's own, because it had that network,
//! gateway or resolver when it joined, or its owner allowed it since. Routes, rules and packet filter are made of the same
//! parts, so they cannot contradict one another.

use std::net::{IpAddr, SocketAddr};

use festoon_proto::map::EndpointMap;
use ipnet::IpNet;

use super::bridges::{Inner, bridged, doubtful, inner};
use super::consent::{Consent, Verdict, verdict};
use super::facts::{Facts, Home};
use super::note::{Code, Note};
use super::spans::Spans;

/// What the owner of the host chose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// Prefixes that are the host's own, whatever the overlay says.
    pub local: Vec<IpNet>,
    /// Prefixes of hosts and containers behind this one that may send into the overlay through it.
    pub forward_from: Vec<IpNet>,
    /// The approved routes that it uses.
    pub consents: Vec<Consent>,
}

/// A protocol over IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Where a manager is reached beside the tunnel although the overlay has that address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Direct {
    /// Its address.
    pub address: IpAddr,
    /// By which protocol.
    pub protocol: Protocol,
    /// At which port.
    pub port: u16,
}

/// What the host should have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// The largest overlay packet, in bytes.
    pub mtu: u16,
    /// The endpoint's own overlay addresses.
    pub addresses: Vec<IpAddr>,
    /// What goes into the tunnel or nowhere.
    pub tunnel: Vec<IpNet>,
    /// What goes nowhere.
    pub closed: Vec<IpNet>,
    /// The exceptions for managers.
    pub direct: Vec<Direct>,
    /// Own overlay addresses that nobody may use but over the tunnel.
    pub guarded: Vec<IpAddr>,
    /// The host's own addresses beside the overlay that lie in what the overlay has.
    pub underlay: Vec<IpAddr>,
    /// Sources behind this host that may send into the overlay through it.
    pub behind: Vec<IpNet>,
    /// Bridges behind which there are only guests of this host.
    pub inner_bridges: Vec<Inner>,
    /// Other bridges, where the packet filter sees packets that do not concern this host.
    pub bridged: Vec<String>,
}

impl Desired {
    /// The same host with nothing in the tunnel: it goes nowhere.
    #[must_use]
    pub fn shut(&self) -> Self {
        let closed = [&*self.tunnel, &*self.closed].concat();
        Self { tunnel: Vec::new(), closed, ..self.clone() }
    }
}

/// What to do, and what its owner should know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// For the kernel.
    pub desired: Desired,
    /// For people.
    pub notes: Vec<Note>,
}

/// What a host needs that is in the overlay of `map`.
pub fn plan(map: &EndpointMap, home: &Home, choice: &Choice, facts: &Facts) -> Plan {
    let own = own_networks(map, home, choice);
    let own_spans: Spans = own.iter().collect();
    let mut notes = Vec::new();
    let mut tunnel = Spans::default();
    for prefix in map.network.prefixes.iter().map(IpNet::trunc) {
        tunnel.add(&of_network(map, prefix, &own_spans));
        notes.extend(own.iter().filter_map(|own| shadowed(prefix, *own)));
    }
    tunnel.remove(&own_spans);
    let agreed: Vec<IpNet> = own.iter().chain(&home.routes).copied().collect();
    notes.extend(add_routes(&mut tunnel, map, choice, &agreed));
    let foreign = foreign(map, facts, &tunnel, &own_spans);
    notes.extend(doubtful(facts).into_iter().map(|(bridge, subnet)| closed_bridge(bridge, subnet)));
    let is_foreign = |note: &Note| foreign.iter().any(|(prefix, _)| *prefix == note.prefix);
    notes.extend(crossing(facts, &tunnel, &own_spans).into_iter().filter(|note| !is_foreign(note)));
    let mut closed = Spans::default();
    for (prefix, note) in foreign {
        closed.add(&Spans::of(prefix));
        notes.push(note);
    }
    closed.remove(&own_spans);
    closed.remove(&tunnel);
    let mut all = tunnel.clone();
    all.add(&closed);
    let is_underlay = |address: &IpAddr| facts.subnets.iter().any(|subnet| subnet.address == *address);
    let approved = map.own_routes.iter().filter(|route| route.is_approved).map(|route| route.prefix);
    let desired = Desired {
        mtu: map.network.mtu,
        addresses: map.addresses.clone(),
        tunnel: tunnel.prefixes(),
        closed: closed.prefixes(),
        direct: direct(map, &all),
        guarded: map.addresses.iter().copied().filter(|address| !is_underlay(address)).collect(),
        underlay: underlay(map, facts, &all),
        behind: approved
            .chain(choice.forward_from.iter().copied())
            .collect::<Vec<_>>()
            .iter()
            .collect::<Spans>()
            .prefixes(),
        inner_bridges: inner(facts),
        bridged: bridged(facts),
    };
    Plan { desired, notes }
}

/// What stays the host's own. Of two routes the one to the smaller prefix wins, as everywhere, so one that is wider than a prefix of
/// the network takes nothing from it.
fn own_networks(map: &EndpointMap, home: &Home, choice: &Choice) -> Vec<IpNet> {
    let is_wider = |route: &IpNet| map.network.prefixes.iter().any(|it| route.contains(it) && *route != it.trunc());
    let routes = home.routes.iter().filter(|route| !is_wider(route));
    let single = home.gateways.iter().chain(&home.resolvers).copied().map(IpNet::from);
    let mut all: Vec<IpNet> = home.subnets.iter().chain(routes).chain(&choice.local).map(IpNet::trunc).collect();
    for one in single {
        if !all.iter().any(|own| own.contains(&one)) {
            all.push(one);
        }
    }
    all
}

/// What of a prefix of the network goes into the tunnel: all, unless the host has a network inside. Then only what the overlay
/// has given out, for the rest may be the host's neighbours.
fn of_network(map: &EndpointMap, prefix: IpNet, own: &Spans) -> Spans {
    let whole = Spans::of(prefix);
    if !whole.overlaps(own) {
        return whole;
    }
    let mut given = Spans::default();
    map.given.iter().for_each(|range| given.insert(range.first, range.last));
    map.network.gateways.iter().for_each(|gateway| given.insert(*gateway, *gateway));
    given.common(&whole)
}

fn shadowed(prefix: IpNet, own: IpNet) -> Option<Note> {
    let common = if prefix.contains(&own) {
        own
    } else if own.contains(&prefix) {
        prefix
    } else {
        return None;
    };
    let text = format!(
        "overlay addresses in {common} cannot be reached from this host, because it had a network or route {own} of its own when it \
         joined, or {own} is listed with --local. Of the overlay prefix {prefix}, only addresses that the overlay has assigned go into the tunnel"
    );
    Some(Note { code: Code::Shadowed, prefix: common, text })
}

/// Adds the approved routes that the host agrees to. What it does not agree to is returned.
fn add_routes(tunnel: &mut Spans, map: &EndpointMap, choice: &Choice, own: &[IpNet]) -> Vec<Note> {
    let mut notes = Vec::new();
    for route in map.routes.iter().map(IpNet::trunc) {
        let reason = match verdict(route, &choice.consents, own) {
            Verdict::Used | Verdict::Preferred => {
                tunnel.add(&Spans::of(route));
                continue;
            }
            Verdict::Public => "it leads to public addresses".to_owned(),
            Verdict::OnLink(own) => format!("{own} is a network or route of this host itself"),
            Verdict::NotListed => "--accept-routes of this host does not include it".to_owned(),
        };
        let text = format!(
            "the approved route to {route} is not used: {reason}. To send packets for it through the overlay, start the agent with \
             --accept-routes private,{route}"
        );
        notes.push(Note { code: Code::RefusedRoute, prefix: route, text });
    }
    notes
}

/// Routes and networks inside what the overlay has, that the host did not have when it joined.
fn foreign(map: &EndpointMap, facts: &Facts, tunnel: &Spans, own: &Spans) -> Vec<(IpNet, Note)> {
    let guests = inner(facts);
    let mut overlay: Spans = map.network.prefixes.iter().collect();
    overlay.add(tunnel);
    let subnets = facts.subnets.iter().map(|subnet| (subnet.prefix, &subnet.interface, None));
    let routes = facts.routes.iter().map(|route| (route.prefix, &route.interface, route.gateway));
    let mut found: Vec<(IpNet, Note)> = Vec::new();
    for (prefix, interface, gateway) in subnets.chain(routes) {
        let spans = Spans::of(prefix);
        let is_known = found.iter().any(|(other, _)| *other == prefix.trunc());
        if is_known || !overlay.covers(&spans) || own.covers(&spans) {
            continue;
        }
        let prefix = prefix.trunc();
        let over = gateway.map_or_else(String::new, |gateway| format!(" over {gateway}"));
        if guests.iter().any(|inner| inner.name == *interface && inner.subnets.contains(&prefix)) {
            found.push((prefix, guests_note(prefix, interface)));
            continue;
        }
        let text = format!(
            "this host has a route to {prefix} through {interface}{over} that it did not have when it joined, and {prefix} lies in \
             the overlay: packets that way are dropped, in both directions. If the route is intended, start the agent with --local \
             {prefix}"
        );
        found.push((prefix, Note { code: Code::ForeignRoute, prefix, text }));
    }
    found
}

/// A network of containers or virtual machines that somebody made on this host, out of the overlay's numbers.
fn guests_note(prefix: IpNet, bridge: &str) -> Note {
    let text = format!(
        "the bridge {bridge} of this host, for containers or virtual machines, has the addresses {prefix}, which lie in the overlay: \
         its guests get no packet, in either direction. Give them other addresses, or start the agent with --local {prefix}; then \
         the overlay's own addresses there cannot be reached from this host"
    );
    Note { code: Code::ForeignRoute, prefix, text }
}

fn closed_bridge(bridge: &str, subnet: IpNet) -> Note {
    let text = format!(
        "packets of containers or virtual machines on the bridge {bridge} ({subnet}) do not get into the overlay, because this host has a \
         route to another network over that bridge, or an address there by DHCP or a router advertisement: others than its guests may \
         be behind it. If whoever is there may use the overlay, start the agent with --forward-from {subnet}"
    );
    Note { code: Code::ClosedBridge, prefix: subnet, text }
}

/// Networks wider than what goes into the tunnel, that the host did not have when it joined: some of its neighbours there cannot be
/// reached.
fn crossing(facts: &Facts, tunnel: &Spans, own: &Spans) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    for subnet in &facts.subnets {
        let (prefix, spans) = (subnet.prefix.trunc(), Spans::of(subnet.prefix));
        let common = spans.common(tunnel).prefixes();
        let is_known = notes.iter().any(|note| note.prefix == prefix);
        let Some(first) = common.first().filter(|_| !is_known && !tunnel.covers(&spans) && !own.covers(&spans)) else {
            continue;
        };
        let more = if common.len() > 1 { " and others" } else { "" };
        let text = format!(
            "the network {prefix} of {}, which this host did not have when it joined, contains addresses of the overlay: packets to \
             {first}{more} go into the tunnel, and neighbours with these addresses get none. To reach the neighbours instead, start \
             the agent with --local {prefix}",
            subnet.interface
        );
        notes.push(Note { code: Code::ForeignRoute, prefix, text });
    }
    notes
}

/// A host may have come to a network whose addresses the overlay has too. What its neighbours there send gets no packet, but the
/// rest of the world still answers to the host's address.
fn underlay(map: &EndpointMap, facts: &Facts, overlay: &Spans) -> Vec<IpAddr> {
    let own = facts.subnets.iter().map(|subnet| subnet.address);
    own.filter(|address| overlay.contains(*address) && !map.addresses.contains(address)).collect()
}

/// The managers' addresses that the overlay has too.
fn direct(map: &EndpointMap, overlay: &Spans) -> Vec<Direct> {
    let one = |protocol| {
        move |address: &SocketAddr| Direct { address: address.ip().to_canonical(), protocol, port: address.port() }
    };
    let udp = map.managers.iter().flat_map(|manager| manager.underlay.iter().map(one(Protocol::Udp)));
    let tcp = map.managers.iter().flat_map(|manager| manager.https.iter().map(one(Protocol::Tcp)));
    let mut all: Vec<Direct> = udp.chain(tcp).filter(|direct| overlay.contains(direct.address)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests;
