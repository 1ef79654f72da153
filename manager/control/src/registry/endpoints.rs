//! Commands on endpoints.

use std::net::IpAddr;

use festoon_proto::map::EndpointKind;
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{EndpointId, NetworkId, PublicKey};
use serde::{Deserialize, Serialize};

use super::address::NoFreeAddressError;
use super::name::{self, NameError};
use super::record::{Endpoint, TokenUse};
use super::state::State;
use super::tokens::{self, Admission, TokenError};
use super::{AddClient, JoinEndpoint, UnixMs};

/// An endpoint is not added or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EndpointError {
    /// Its token does not let it in.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Another endpoint of its network has its name.
    #[error("an endpoint {0} exists already in this network: choose another name, or remove that one first")]
    NameTaken(String),
    /// Another node has its key.
    #[error("another node of this cluster has this public key: make a new key pair, every node needs its own")]
    KeyTaken,
    /// Its network does not exist.
    #[error("there is no network {0}: see `festoon-manager status` for those there are")]
    NoNetwork(NetworkId),
    /// Its network is full.
    #[error(transparent)]
    NoFreeAddress(#[from] NoFreeAddressError),
    /// There is no such endpoint.
    #[error("there is no endpoint {0}: see `festoon-manager endpoint list` for those there are")]
    Unknown(EndpointId),
}

impl EndpointError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Token(error) => error.kind(),
            Self::Name(_) => "bad-name",
            Self::NameTaken(_) => "name-taken",
            Self::KeyTaken => "key-taken",
            Self::NoNetwork(_) => "network-unknown",
            Self::NoFreeAddress(_) => "no-free-address",
            Self::Unknown(_) => "endpoint-unknown",
        }
    }
}

/// What both kinds of endpoint bring along.
struct Newcomer {
    name: String,
    network: NetworkId,
    public_key: PublicKey,
    kind: EndpointKind,
    credential: Option<SecretHash>,
    now: UnixMs,
}

pub(super) fn join(state: &mut State, command: &JoinEndpoint) -> Result<EndpointId, EndpointError> {
    let token = match tokens::admit(state, &command.token, TokenKind::Endpoint, command.now)? {
        Admission::New(token) => token,
        Admission::Again(by) => return same_again(state, command, by),
    };
    let network = token.network.ok_or(TokenError::NetworkMismatch)?;
    let wanted = name::from_host(&command.name);
    let newcomer = Newcomer {
        name: name::unique(&wanted, |name| state.endpoint_named(network, name).is_some()),
        network,
        public_key: command.public_key,
        kind: EndpointKind::Agent,
        credential: Some(command.credential),
        now: command.now,
    };
    let id = insert(state, newcomer)?;
    state.use_token(command.token, TokenUse::Endpoint(id));
    Ok(id)
}

fn same_again(state: &State, command: &JoinEndpoint, by: TokenUse) -> Result<EndpointId, EndpointError> {
    let TokenUse::Endpoint(id) = by else { return Err(TokenError::Used.into()) };
    let same = |endpoint: &&Endpoint| {
        endpoint.public_key == command.public_key && endpoint.credential == Some(command.credential)
    };
    state.endpoint(id).filter(same).map(|endpoint| endpoint.id).ok_or(EndpointError::Token(TokenError::Used))
}

pub(super) fn add_client(state: &mut State, command: &AddClient) -> Result<EndpointId, EndpointError> {
    name::check(&command.name)?;
    if state.endpoint_named(command.network, &command.name).is_some() {
        return Err(EndpointError::NameTaken(command.name.clone()));
    }
    let newcomer = Newcomer {
        name: command.name.clone(),
        network: command.network,
        public_key: command.public_key,
        kind: EndpointKind::Client,
        credential: None,
        now: command.now,
    };
    insert(state, newcomer)
}

pub(super) fn remove(state: &mut State, id: EndpointId) -> Result<(), EndpointError> {
    state.remove_endpoint(id).map(drop).ok_or(EndpointError::Unknown(id))
}

fn insert(state: &mut State, newcomer: Newcomer) -> Result<EndpointId, EndpointError> {
    if state.knows_key(&newcomer.public_key) {
        return Err(EndpointError::KeyTaken);
    }
    let addresses = allocate(state, newcomer.network)?;
    let endpoint = Endpoint {
        id: state.next_endpoint(),
        name: newcomer.name,
        network: newcomer.network,
        addresses,
        public_key: newcomer.public_key,
        kind: newcomer.kind,
        credential: newcomer.credential,
        created: newcomer.now,
        changed: state.version(),
    };
    let id = endpoint.id;
    state.put_endpoint(endpoint);
    Ok(id)
}

/// One address of each family that the network has.
fn allocate(state: &mut State, id: NetworkId) -> Result<Vec<IpAddr>, EndpointError> {
    let mut network = state.network(id).cloned().ok_or(EndpointError::NoNetwork(id))?;
    let mut addresses = Vec::new();
    for (family, is_v4) in [("IPv4", true), ("IPv6", false)] {
        let mut prefixes = network.prefixes.iter_mut().filter(|prefix| prefix.net.addr().is_ipv4() == is_v4).peekable();
        if prefixes.peek().is_none() {
            continue;
        }
        let free = prefixes.find_map(|prefix| prefix.allocate(|address| state.owner(id, address).is_some()));
        addresses.push(free.ok_or_else(|| full(&network.name, family))?);
    }
    // Where the search begins next time is nothing its endpoints know of, so the network's version stays.
    state.put_network(network);
    Ok(addresses)
}

fn full(network: &str, family: &str) -> NoFreeAddressError {
    NoFreeAddressError { network: network.to_owned(), family: family.to_owned() }
}
