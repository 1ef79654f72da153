//! Commands on networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use festoon_proto::NetworkId;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::address::{self, AddressRange};
use super::name::{self, NameError};
use super::record::{Network, Prefix};
use super::state::{Holder, State};
use super::{AddNetwork, UpdateNetwork};

/// The MTU of a network whose admin names none, in bytes: with 8 of link header, 32 of WireGuard and 48 of IPv6 and UDP
/// a packet still fits the 1,460 bytes that some clouds carry.
pub const DEFAULT_MTU: u16 = 1360;

/// The least MTU of IPv6 (RFC 8200 section 5), and the size of the largest signal message.
const MIN_MTU: u16 = 1280;
const MAX_MTU: u16 = 9000;
const MAX_PREFIXES: usize = 16;
const MAX_RESERVED: usize = 64;

/// A network is not added or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NetworkError {
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Another has its name.
    #[error("a network {0} exists already: choose another name")]
    NameTaken(String),
    /// It has no prefix, or too many.
    #[error("a network has 1 to {MAX_PREFIXES} prefixes, not {0}")]
    PrefixCount(usize),
    /// A prefix has bits behind its length.
    #[error("{given} is the address of a host: the prefix is {meant}")]
    HostBits {
        /// As it came.
        given: IpNet,
        /// What was probably meant.
        meant: IpNet,
    },
    /// A prefix can hold no endpoint.
    #[error("{0} has no room for an endpoint: use a prefix of at most 30 bits (IPv4) or 126 (IPv6)")]
    TooSmall(IpNet),
    /// A prefix that no host may own.
    #[error("{0} is reserved (loopback, link-local, multicast or unspecified): use a prefix of your own")]
    Reserved(IpNet),
    /// Two prefixes share addresses.
    #[error("{0} and {1} overlap: leave one out")]
    Overlap(IpNet, IpNet),
    /// Somebody is in it.
    #[error("network {name} still has {endpoints} endpoints: remove or move them first")]
    InUse {
        /// Its name.
        name: String,
        /// How many.
        endpoints: usize,
    },
    /// There is no such network.
    #[error("there is no network {0}: see `festoon-manager status` for those there are")]
    Unknown(NetworkId),
    /// It does not have the prefix it should lose.
    #[error("network {network} has no prefix {prefix}: see `festoon-manager status` for those it has")]
    NoPrefix {
        /// Its name.
        network: String,
        /// The prefix.
        prefix: IpNet,
    },
    /// Somebody has an address in the prefix it should lose.
    #[error("{address} in {prefix} belongs to {by}: move or remove that first")]
    PrefixInUse {
        /// The prefix.
        prefix: IpNet,
        /// An address that is not free.
        address: IpAddr,
        /// Whose it is.
        by: String,
    },
    /// A reserved range is none, or not of the network.
    #[error("{0} is not a range of addresses in one prefix of the network: reserve what lies in one")]
    Range(AddressRange),
    /// Too many reserved ranges.
    #[error("a network has at most {MAX_RESERVED} reserved ranges, not {0}: join those that touch")]
    RangeCount(usize),
    /// The MTU is out of range.
    #[error("an MTU of {0} does not work: use {MIN_MTU} to {MAX_MTU}, {DEFAULT_MTU} if in doubt")]
    Mtu(u16),
}

impl NetworkError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Name(_) => "bad-name",
            Self::NameTaken(_) => "name-taken",
            Self::PrefixCount(_) | Self::HostBits { .. } | Self::TooSmall(_) | Self::Reserved(_) => "bad-prefix",
            Self::Overlap(..) => "prefix-overlap",
            Self::InUse { .. } => "network-in-use",
            Self::Unknown(_) => "network-unknown",
            Self::NoPrefix { .. } => "prefix-unknown",
            Self::PrefixInUse { .. } => "prefix-in-use",
            Self::Range(_) | Self::RangeCount(_) => "bad-range",
            Self::Mtu(_) => "bad-mtu",
        }
    }
}

pub(super) fn add(state: &mut State, command: &AddNetwork) -> Result<NetworkId, NetworkError> {
    check_name(state, &command.name)?;
    check_mtu(command.mtu)?;
    let prefixes = add_prefixes(&[], &command.prefixes)?;
    let network = Network {
        id: state.next_network(),
        name: command.name.clone(),
        prefixes,
        reserved: Vec::new(),
        given: Vec::new(),
        mtu: command.mtu,
        changed: state.version(),
    };
    let id = network.id;
    state.put_network(network);
    Ok(id)
}

pub(super) fn update(state: &mut State, command: &UpdateNetwork) -> Result<(), NetworkError> {
    let id = command.network;
    let mut network = state.network(id).cloned().ok_or(NetworkError::Unknown(id))?;
    if let Some(name) = command.name.as_ref().filter(|name| **name != network.name) {
        check_name(state, name)?;
        network.name.clone_from(name);
    }
    if let Some(mtu) = command.mtu {
        check_mtu(mtu)?;
        network.mtu = mtu;
    }
    for prefix in &command.remove_prefixes {
        remove_prefix(state, &mut network, *prefix)?;
    }
    network.prefixes = add_prefixes(&network.prefixes, &command.add_prefixes)?;
    if let Some(reserved) = &command.reserved {
        check_ranges(&network, reserved)?;
        network.reserved.clone_from(reserved);
    }
    network.changed = state.version();
    state.put_network(network);
    Ok(())
}

/// Its join tokens go with it.
pub(super) fn remove(state: &mut State, id: NetworkId) -> Result<(), NetworkError> {
    let name = state.network(id).map(|network| network.name.clone()).ok_or(NetworkError::Unknown(id))?;
    let endpoints = state.endpoints_of(id).count();
    if endpoints > 0 {
        return Err(NetworkError::InUse { name, endpoints });
    }
    let tokens: Vec<_> = state.join_tokens().filter(|(_, token)| token.network == Some(id)).map(|(id, _)| id).collect();
    for hash in tokens.into_iter().filter_map(|token| Some(state.join_token(token)?.0)).collect::<Vec<_>>() {
        state.remove_token(hash);
    }
    state.remove_network(id);
    Ok(())
}

fn check_name(state: &State, name: &str) -> Result<(), NetworkError> {
    name::check(name)?;
    if state.network_named(name).is_some() { Err(NetworkError::NameTaken(name.to_owned())) } else { Ok(()) }
}

fn check_mtu(mtu: u16) -> Result<(), NetworkError> {
    if (MIN_MTU..=MAX_MTU).contains(&mtu) { Ok(()) } else { Err(NetworkError::Mtu(mtu)) }
}

/// `prefixes` and, behind them, `more`.
fn add_prefixes(prefixes: &[Prefix], more: &[IpNet]) -> Result<Vec<Prefix>, NetworkError> {
    let count = prefixes.len().saturating_add(more.len());
    if !(1..=MAX_PREFIXES).contains(&count) {
        return Err(NetworkError::PrefixCount(count));
    }
    let mut all = prefixes.to_vec();
    for net in more {
        check_prefix(*net, &all)?;
        all.push(Prefix::new(*net));
    }
    Ok(all)
}

/// Takes a prefix away, if no endpoint has an address in it. Those that wait for endpoints that left do so no longer.
fn remove_prefix(state: &mut State, network: &mut Network, prefix: IpNet) -> Result<(), NetworkError> {
    let Some(at) = network.prefixes.iter().position(|other| other.net == prefix) else {
        return Err(NetworkError::NoPrefix { network: network.name.clone(), prefix });
    };
    let all: Vec<_> = state.holders_in(network.id, prefix.network()..=prefix.broadcast()).collect();
    for (address, holder) in all {
        let by = match holder {
            Holder::Kept(_) => {
                state.strike_kept(network.id, address);
                continue;
            }
            Holder::Promise => "a join token that is still good".to_owned(),
            Holder::Endpoint(id) => {
                format!("endpoint {} ({id})", state.endpoint(id).map_or("", |endpoint| &endpoint.name))
            }
        };
        return Err(NetworkError::PrefixInUse { prefix, address, by });
    }
    network.prefixes.remove(at);
    network.reserved.retain(|range| !prefix.contains(&range.first));
    network.given.retain(|range| !prefix.contains(&range.first));
    Ok(())
}

fn check_ranges(network: &Network, ranges: &[AddressRange]) -> Result<(), NetworkError> {
    if ranges.len() > MAX_RESERVED {
        return Err(NetworkError::RangeCount(ranges.len()));
    }
    let is_in_one = |range: &&AddressRange| {
        range.contains(range.last)
            && network.prefix_of(range.first) == network.prefix_of(range.last)
            && network.prefix_of(range.first).is_some()
    };
    match ranges.iter().find(|range| !is_in_one(range)) {
        Some(range) => Err(NetworkError::Range(*range)),
        None => Ok(()),
    }
}

/// What no host of an overlay can have: "this network", loopback, link-local and multicast (RFC 6890, RFC 4291). No prefix
/// may touch any of it.
const RESERVED: [IpNet; 7] = [
    v4([0, 0, 0, 0], 8),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([224, 0, 0, 0], 3),
    v6(0, 127),
    v6(0xfe80, 10),
    v6(0xff00, 8),
];

const fn v4(network: [u8; 4], len: u8) -> IpNet {
    let [a, b, c, d] = network;
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len))
}

const fn v6(first: u16, len: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), len))
}

/// Whether `prefix` is one that hosts may be in.
pub(super) fn check_route(prefix: IpNet) -> Result<(), NetworkError> {
    if prefix.trunc() != prefix {
        return Err(NetworkError::HostBits { given: prefix, meant: prefix.trunc() });
    }
    if RESERVED.iter().any(|reserved| reserved.contains(&prefix) || prefix.contains(reserved)) {
        return Err(NetworkError::Reserved(prefix));
    }
    Ok(())
}

fn check_prefix(prefix: IpNet, others: &[Prefix]) -> Result<(), NetworkError> {
    check_route(prefix)?;
    if address::hosts(prefix).is_empty() {
        return Err(NetworkError::TooSmall(prefix));
    }
    match others.iter().map(|other| other.net).find(|other| other.contains(&prefix) || prefix.contains(other)) {
        Some(other) => Err(NetworkError::Overlap(other, prefix)),
        None => Ok(()),
    }
}
