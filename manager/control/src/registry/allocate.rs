//! Which addresses a newcomer gets.
//!
//! In each family that its network has, the first of these:
//! 1. the address an admin names. It may lie in a reserved range, for that is what those are for, and it may be one that
//!    waits for an endpoint that left;
//! 2. the address it had before, if it was here: known by its key or else by its name;
//! 3. the next free address. Never one that is reserved, promised or waits for somebody;
//! 4. the address that has waited the longest, rather than none.

use std::net::IpAddr;

use festoon_proto::{EndpointId, NetworkId, PublicKey};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::address::{self, Addresses, Family};
use super::record::Network;
use super::state::{Holder, State};

/// An address can't be given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AddressError {
    /// The network is full.
    #[error(
        "network {network} has no free {family} address left: remove endpoints that are gone, reserve less, or add a prefix"
    )]
    NoneFree {
        /// Its name.
        network: String,
        /// The family.
        family: Family,
    },
    /// It is not of the network.
    #[error("{address} is in no prefix of network {network}: choose one in {prefixes}")]
    Outside {
        /// The address.
        address: IpAddr,
        /// The network's name.
        network: String,
        /// The network's prefixes.
        prefixes: String,
    },
    /// It stands for the network as a whole.
    #[error("{0} is the address of the network {1} itself: choose another in it")]
    NetworkItself(IpAddr, IpNet),
    /// Every manager answers for it.
    #[error("{0} is the gateway of {1}, which the managers answer for: choose another in it")]
    Gateway(IpAddr, IpNet),
    /// It means everybody.
    #[error("{0} is the broadcast address of {1}: choose another in it")]
    Broadcast(IpAddr, IpNet),
    /// Somebody has it.
    #[error("{address} belongs to endpoint {name} ({endpoint}): choose another, or remove that endpoint first")]
    Taken {
        /// The address.
        address: IpAddr,
        /// Whose it is.
        endpoint: EndpointId,
        /// That endpoint's name.
        name: String,
    },
    /// Somebody will have it.
    #[error(
        "{0} is promised to whoever comes with a join token that is still good: choose another, or wait until it expires"
    )]
    Promised(IpAddr),
}

impl AddressError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoneFree { .. } => "no-free-address",
            Self::Outside { .. } => "address-outside",
            Self::NetworkItself(..) => "address-of-network",
            Self::Gateway(..) => "address-of-gateway",
            Self::Broadcast(..) => "address-of-broadcast",
            Self::Taken { .. } => "address-taken",
            Self::Promised(_) => "address-promised",
        }
    }
}

/// Whether an admin may give these addresses away.
pub(super) fn check(state: &State, network: &Network, addresses: Addresses) -> Result<(), AddressError> {
    addresses.iter().try_for_each(|address| check_one(state, network, address))
}

fn check_one(state: &State, network: &Network, address: IpAddr) -> Result<(), AddressError> {
    let Some(net) = network.prefix_of(address) else {
        let prefixes: Vec<_> = network.prefixes.iter().map(|prefix| prefix.net.to_string()).collect();
        return Err(AddressError::Outside { address, network: network.name.clone(), prefixes: prefixes.join(", ") });
    };
    if address == net.network() {
        return Err(AddressError::NetworkItself(address, net));
    }
    if address == address::gateway(net) {
        return Err(AddressError::Gateway(address, net));
    }
    if !address::hosts(net).contains(&address::offset(net, address)) {
        return Err(AddressError::Broadcast(address, net));
    }
    match state.holder(network.id, address) {
        Some(Holder::Endpoint(endpoint)) => {
            let name = state.endpoint(endpoint).map(|endpoint| endpoint.name.to_string()).unwrap_or_default();
            Err(AddressError::Taken { address, endpoint, name })
        }
        Some(Holder::Promise) => Err(AddressError::Promised(address)),
        Some(Holder::Kept(_)) | None => Ok(()),
    }
}

/// The addresses of an endpoint with this key and name that comes into `network`. They are nobody's then.
pub(super) fn allocate(
    state: &mut State,
    network: &Network,
    fixed: Addresses,
    key: PublicKey,
    name: &str,
) -> Result<Addresses, AddressError> {
    check(state, network, fixed)?;
    let before = state.kept_for(network.id, key, name).map(|(number, kept)| (number, kept.addresses));
    let mut addresses = fixed;
    for family in Family::ALL.into_iter().filter(|family| network.has(*family) && fixed.get(*family).is_none()) {
        let had = before.and_then(|(_, kept)| kept.get(family));
        addresses.set(had.map_or_else(|| next(state, network, family), Ok)?);
    }
    // It is back, whatever it got.
    if let Some((number, _)) = before {
        state.forget_kept(network.id, number);
    }
    addresses.iter().for_each(|address| state.strike_kept(network.id, address));
    Ok(addresses)
}

/// The next free address of this family, from the first prefix that has one, or else the one that has waited the longest.
fn next(state: &mut State, network: &Network, family: Family) -> Result<IpAddr, AddressError> {
    for (at, prefix) in network.prefixes.iter().enumerate() {
        let free = state.next_free(network.id, prefix.net, prefix.next);
        if let Some(offset) = free.filter(|_| Family::of(prefix.net.addr()) == family) {
            let (first, last) = address::hosts(prefix.net).into_inner();
            state.move_cursor(network.id, at, if offset == last { first } else { offset + 1 });
            return Ok(address::at(prefix.net, offset));
        }
    }
    let mut waiting = state.kept(network.id).filter_map(|kept| kept.addresses.get(family));
    waiting
        .find(|address| !network.is_reserved(*address))
        .ok_or_else(|| AddressError::NoneFree { network: network.name.clone(), family })
}

/// Addresses that a token promises are nobody's from now on, but for the promise.
pub(super) fn claim(state: &mut State, id: NetworkId, addresses: Addresses) -> Result<(), AddressError> {
    let Some(network) = state.network(id).cloned() else { return Ok(()) };
    check(state, &network, addresses)?;
    addresses.iter().for_each(|address| state.strike_kept(id, address));
    Ok(())
}
