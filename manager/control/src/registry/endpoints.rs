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
use super::allocate::{self, AddressError, allocate};
use super::name::{self, NameError};
use super::record::{Details, Endpoint, Kept, TokenUse};
use super::routes::{self, RouteError};
use super::state::{Node, State};
use super::tags::{self, TagError};
use super::tokens::{self, Admission, TokenError};
use super::{AddClient, Command, JoinEndpoint, RemoveEndpoint, UnixMs, UpdateEndpoint};

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
    /// Its tags are none.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// A route of it can't be used.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// It would be gone at once.
    #[error("an endpoint can't expire at a time that is past: name one to come, or remove it")]
    Expired,
    /// It has no program that could do this.
    #[error("{0} is a stock WireGuard client, which makes no new key by itself: give it one and say which")]
    NoAgent(EndpointId),
    /// An admin does not let it use the overlay.
    #[error(
        "an admin has disabled this endpoint: it keeps its addresses, and can change nothing until it is enabled again with `festoon-manager endpoints enable`"
    )]
    Disabled,
    /// It wants something that is not for endpoints, or not for this one.
    #[error("an endpoint can change nothing but its own routes, its own key and its own membership")]
    NotItsOwn,
    /// There is no such endpoint.
    #[error("there is no endpoint {0}: see `festoon-manager endpoints list` for those there are")]
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
            Self::Tag(_) => "bad-tag",
            Self::Route(error) => error.kind(),
            Self::Expired => "bad-expiry",
            Self::NoAgent(_) => "endpoint-is-client",
            Self::Disabled => "endpoint-disabled",
            Self::NotItsOwn => "endpoint-not-its-own",
            Self::Unknown(_) => "endpoint-unknown",
        }
    }
}

/// What an endpoint may change by itself: its own, and only while it may use the overlay. Checked where changes are carried
/// out, because it may have been disabled since the manager that it asked looked.
pub(super) fn check_may_act(state: &State, id: EndpointId, command: &Command) -> Result<(), EndpointError> {
    let about = match command {
        Command::OfferRoutes(command) => Some(command.endpoint),
        Command::RotateEndpointKey(command) => Some(command.endpoint),
        Command::RemoveEndpoint(command) => Some(command.endpoint),
        _ => None,
    };
    if about != Some(id) {
        return Err(EndpointError::NotItsOwn);
    }
    let endpoint = state.endpoint(id).ok_or(EndpointError::Unknown(id))?;
    if endpoint.is_enabled { Ok(()) } else { Err(EndpointError::Disabled) }
}

/// What both kinds of endpoint bring along.
struct Newcomer {
    name: String,
    network: NetworkId,
    addresses: Addresses,
    public_key: PublicKey,
    kind: EndpointKind,
    credential: Option<SecretHash>,
    details: Details,
    is_ephemeral: bool,
    now: UnixMs,
}

pub(super) fn join(state: &mut State, command: &JoinEndpoint) -> Result<EndpointId, EndpointError> {
    let token = match tokens::admit(state, &command.token, TokenKind::Endpoint, command.now)? {
        Admission::New(token) => token,
        Admission::Again(by) => return same_again(state, command, by),
    };
    if token.is_reusable()
        && let Some(Node::Endpoint(id)) = state.node(&command.public_key)
        && let Ok(same) = same_again(state, command, TokenUse::Endpoint(id))
    {
        return Ok(same);
    }
    let preset = token.preset();
    let network = token.network.ok_or(TokenError::NetworkMismatch)?;
    let wanted = name::from_host(&command.name);
    let newcomer = Newcomer {
        name: name::unique(&wanted, |name| state.endpoint_named(network, name).is_some()),
        network,
        addresses: state.lift_promise(command.token),
        public_key: command.public_key,
        kind: EndpointKind::Agent,
        credential: Some(command.credential),
        details: Details {
            tags: preset.tags.iter().map(|tag| Arc::from(tag.as_str())).collect(),
            ..Details::default()
        },
        is_ephemeral: preset.is_ephemeral,
        now: command.now,
    };
    let id = insert(state, newcomer)?;
    state.use_token(command.token, TokenUse::Endpoint(id), command.now);
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
    check_name(state, command.network, &command.name)?;
    check_expiry(command.expires, command.now)?;
    let newcomer = Newcomer {
        name: command.name.clone(),
        network: command.network,
        addresses: command.addresses,
        public_key: command.public_key,
        kind: EndpointKind::Client,
        credential: None,
        details: Details { tags: tags::parse(&command.tags)?, expires: command.expires, ..Details::default() },
        is_ephemeral: false,
        now: command.now,
    };
    insert(state, newcomer)
}

pub(super) fn update(state: &mut State, command: &UpdateEndpoint) -> Result<(), EndpointError> {
    let id = command.endpoint;
    let mut endpoint = state.endpoint(id).cloned().ok_or(EndpointError::Unknown(id))?;
    if let Some(tags) = &command.tags {
        let tags = tags::parse(tags)?;
        endpoint.set_details(|details| details.tags = tags);
    }
    if let Some(expires) = command.expires {
        check_expiry(expires, command.now)?;
        endpoint.set_details(|details| details.expires = expires);
    }
    endpoint.is_enabled = command.is_enabled.unwrap_or(endpoint.is_enabled);
    if let Some(is_key_due) = command.is_key_due {
        if is_key_due && endpoint.kind == EndpointKind::Client {
            return Err(EndpointError::NoAgent(id));
        }
        endpoint.is_key_due = is_key_due;
    }
    let network = command.network.unwrap_or(endpoint.network);
    let name = command.name.clone().unwrap_or_else(|| endpoint.name.to_string());
    if network != endpoint.network || *name != *endpoint.name {
        check_name(state, network, &name)?;
        endpoint.name = name.into();
    }
    settle_addresses(state, &mut endpoint, network, command.addresses)?;
    if let Some(approved) = &command.approved_routes {
        let routes = routes::approve(state, &endpoint, approved)?;
        endpoint.set_details(|details| details.routes = routes);
    }
    state.replace_endpoint(endpoint);
    Ok(())
}

/// Gives an endpoint the addresses that an admin names, and in another network those it needs there.
fn settle_addresses(
    state: &mut State,
    endpoint: &mut Endpoint,
    network: NetworkId,
    named: Addresses,
) -> Result<(), EndpointError> {
    let to = state.network(network).cloned().ok_or(EndpointError::NoNetwork(network))?;
    if network != endpoint.network {
        endpoint.addresses = allocate(state, &to, named, endpoint.public_key, &endpoint.name)?;
        endpoint.set_details(|details| details.routes.iter_mut().for_each(|route| route.is_approved = false));
        endpoint.network = network;
    } else if !named.is_empty() {
        let own = endpoint.addresses;
        for address in named.iter().filter(|named| own.iter().all(|own| own != *named)) {
            allocate::claim(state, network, address.into())?;
            endpoint.addresses.set(address);
        }
    }
    Ok(())
}

fn check_name(state: &State, network: NetworkId, name: &str) -> Result<(), EndpointError> {
    name::check(name)?;
    match state.endpoint_named(network, name) {
        Some(_) => Err(EndpointError::NameTaken(name.to_owned())),
        None => Ok(()),
    }
}

fn check_expiry(expires: Option<UnixMs>, now: UnixMs) -> Result<(), EndpointError> {
    if expires.is_some_and(|at| at <= now) { Err(EndpointError::Expired) } else { Ok(()) }
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
    let mut endpoint = Endpoint {
        id: state.next_endpoint(),
        name: newcomer.name.into(),
        network: newcomer.network,
        addresses,
        public_key: key,
        previous_key: None,
        kind: newcomer.kind,
        credential: newcomer.credential,
        is_enabled: true,
        is_ephemeral: newcomer.is_ephemeral,
        details: None,
        is_key_due: false,
        created: newcomer.now,
        changed: state.version(),
    };
    endpoint.set_details(|details| *details = newcomer.details);
    let id = endpoint.id;
    state.add_endpoint(endpoint);
    Ok(id)
}
