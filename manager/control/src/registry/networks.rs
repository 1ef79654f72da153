//! Commands on networks.

use std::net::{Ipv4Addr, Ipv6Addr};

use festoon_proto::NetworkId;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::AddNetwork;
use super::name::{self, NameError};
use super::record::{Network, Prefix};
use super::state::State;

/// The MTU of a network whose admin names none, in bytes: with 8 of link header, 32 of WireGuard and 48 of IPv6 and UDP
/// a packet still fits the 1,460 bytes that some clouds carry.
pub const DEFAULT_MTU: u16 = 1360;

/// The least MTU of IPv6 (RFC 8200 section 5), and the size of the largest signal message.
const MIN_MTU: u16 = 1280;
const MAX_MTU: u16 = 9000;
const MAX_PREFIXES: usize = 16;

/// A network is not added.
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
            Self::Mtu(_) => "bad-mtu",
        }
    }
}

pub(super) fn add(state: &mut State, command: &AddNetwork) -> Result<NetworkId, NetworkError> {
    name::check(&command.name)?;
    if state.network_named(&command.name).is_some() {
        return Err(NetworkError::NameTaken(command.name.clone()));
    }
    if !(1..=MAX_PREFIXES).contains(&command.prefixes.len()) {
        return Err(NetworkError::PrefixCount(command.prefixes.len()));
    }
    if !(MIN_MTU..=MAX_MTU).contains(&command.mtu) {
        return Err(NetworkError::Mtu(command.mtu));
    }
    for (at, prefix) in command.prefixes.iter().enumerate() {
        check_prefix(*prefix, &command.prefixes[..at])?;
    }
    let network = Network {
        id: state.next_network(),
        name: command.name.clone(),
        prefixes: command.prefixes.iter().copied().map(Prefix::new).collect(),
        mtu: command.mtu,
        changed: state.version(),
    };
    let id = network.id;
    state.put_network(network);
    Ok(id)
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

fn check_prefix(prefix: IpNet, earlier: &[IpNet]) -> Result<(), NetworkError> {
    if prefix.trunc() != prefix {
        return Err(NetworkError::HostBits { given: prefix, meant: prefix.trunc() });
    }
    if !Prefix::is_usable(prefix) {
        return Err(NetworkError::TooSmall(prefix));
    }
    if RESERVED.iter().any(|reserved| reserved.contains(&prefix) || prefix.contains(reserved)) {
        return Err(NetworkError::Reserved(prefix));
    }
    match earlier.iter().find(|other| other.contains(&prefix) || prefix.contains(*other)) {
        Some(other) => Err(NetworkError::Overlap(*other, prefix)),
        None => Ok(()),
    }
}
