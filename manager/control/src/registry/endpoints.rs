//! Commands on endpoints.
//!
//! There is no list of keys that were thrown out. A removed endpoint is refused because no record has its key any more; its
//! old token lets nobody in, not even itself; and a new token, or a client added with the old key, is an admin's decision.

use std::sync::Arc;

use festoon_proto::map::EndpointKind;
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{EndpointId, NetworkId, PublicKey};
use serde::{Deserialize, Serialize};

use super::address::Addresses;
use super::allocate::{AddressError, allocate};
use super::name::{self, NameError};
use super::record::{Endpoint, Kept, TokenUse};
use super::state::State;
use super::tokens::{self, Admission, TokenError};
use super::{AddClient, JoinEndpoint, RemoveEndpoint, UnixMs};

/// How long the addresses of an endpoint that left wait for it: long enough for a machine to be repaired or reinstalled.
pub const KEEP_ADDRESSES_MS: u64 = 30 * 24 * 3600 * 1000;

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
    /// It can't have an address.
    #[error(transparent)]
    Address(#[from] AddressError),
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
            Self::Address(error) => error.kind(),
            Self::Unknown(_) => "endpoint-unknown",
        }
    }
}

/// What both kinds of endpoint bring along.
struct Newcomer {
    name: String,
    network: NetworkId,
    addresses: Addresses,
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
        addresses: state.lift_promise(command.token),
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
        addresses: command.addresses,
        public_key: command.public_key,
        kind: EndpointKind::Client,
        credential: None,
        now: command.now,
    };
    insert(state, newcomer)
}

pub(super) fn remove(state: &mut State, command: &RemoveEndpoint) -> Result<(), EndpointError> {
    let id = command.endpoint;
    let endpoint = state.remove_endpoint(id).ok_or(EndpointError::Unknown(id))?;
    let kept = Kept {
        name: Arc::clone(&endpoint.name),
        public_key: endpoint.public_key,
        addresses: endpoint.addresses,
        until: command.now.after(KEEP_ADDRESSES_MS),
    };
    state.keep(endpoint.network, kept);
    Ok(())
}

fn insert(state: &mut State, newcomer: Newcomer) -> Result<EndpointId, EndpointError> {
    let key = newcomer.public_key;
    if state.knows_key(&key) {
        return Err(EndpointError::KeyTaken);
    }
    let network = state.network(newcomer.network).cloned().ok_or(EndpointError::NoNetwork(newcomer.network))?;
    let addresses = allocate(state, &network, newcomer.addresses, key, &newcomer.name)?;
    let endpoint = Endpoint {
        id: state.next_endpoint(),
        name: newcomer.name.into(),
        network: newcomer.network,
        addresses,
        public_key: key,
        previous_key: None,
        kind: newcomer.kind,
        credential: newcomer.credential,
        created: newcomer.now,
        changed: state.version(),
    };
    let id = endpoint.id;
    state.add_endpoint(endpoint);
    Ok(id)
}
