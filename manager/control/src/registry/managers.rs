//! Commands on managers.

use std::net::SocketAddr;

use festoon_proto::ManagerId;
use festoon_proto::token::TokenKind;
use serde::{Deserialize, Serialize};

use super::name::{self, NameError};
use super::record::{Manager, TokenUse};
use super::state::State;
use super::tokens::{self, Admission, TokenError};
use super::{Bootstrap, JoinManager, ManagerSpec, UpdateManager};

/// Managers that a cluster may have.
pub const MAX_MANAGERS: usize = 9;

const MAX_ADDRESSES: usize = 8;

/// A manager is not added, changed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ManagerError {
    /// Its token does not let it in.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Another manager has its name.
    #[error("a manager {0} exists already: choose another name, or remove that one first")]
    NameTaken(String),
    /// Another node has its key.
    #[error("another node of this cluster has this public key: make a new key pair, every node needs its own")]
    KeyTaken,
    /// The cluster is as large as it may be.
    #[error("a cluster has at most {MAX_MANAGERS} managers: remove one first")]
    TooMany,
    /// All 65,535 ids were given away.
    #[error("this cluster has used up its manager ids: change managers with an update instead of joining them anew")]
    NoIds,
    /// No address, or too many.
    #[error("a manager has 1 to {MAX_ADDRESSES} addresses of each kind, not {0}")]
    AddressCount(usize),
    /// Nobody can reach this address.
    #[error("{0} is no address others can reach a manager at: name one, with its port")]
    Address(SocketAddr),
    /// There is no such manager.
    #[error("there is no manager {0}: see `festoon-manager status` for those there are")]
    Unknown(ManagerId),
    /// The registry would have no writer left.
    #[error("{0} writes the registry and can't be removed")]
    Writer(ManagerId),
}

impl ManagerError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Token(error) => error.kind(),
            Self::Name(_) => "bad-name",
            Self::NameTaken(_) => "name-taken",
            Self::KeyTaken => "key-taken",
            Self::TooMany | Self::NoIds => "too-many-managers",
            Self::AddressCount(_) | Self::Address(_) => "bad-address",
            Self::Unknown(_) => "manager-unknown",
            Self::Writer(_) => "manager-is-writer",
        }
    }
}

pub(super) fn bootstrap(state: &mut State, command: &Bootstrap) -> Result<ManagerId, ManagerError> {
    let id = insert(state, &command.manager)?;
    state.found(command.cluster, id);
    Ok(id)
}

pub(super) fn join(state: &mut State, command: &JoinManager) -> Result<ManagerId, ManagerError> {
    if let Admission::Again(by) = tokens::admit(state, &command.token, TokenKind::Manager, command.now)? {
        return same_again(state, command, by);
    }
    if state.managers().count() >= MAX_MANAGERS {
        return Err(ManagerError::TooMany);
    }
    let id = insert(state, &command.manager)?;
    state.use_token(command.token, TokenUse::Manager(id));
    Ok(id)
}

fn same_again(state: &State, command: &JoinManager, by: TokenUse) -> Result<ManagerId, ManagerError> {
    let TokenUse::Manager(id) = by else { return Err(TokenError::Used.into()) };
    let same = |manager: &&Manager| manager.public_key == command.manager.public_key;
    state.manager(id).filter(same).map(|manager| manager.id).ok_or(ManagerError::Token(TokenError::Used))
}

pub(super) fn update(state: &mut State, command: &UpdateManager) -> Result<(), ManagerError> {
    let mut manager = state.manager(command.manager).cloned().ok_or(ManagerError::Unknown(command.manager))?;
    if let Some(name) = command.name.as_ref().filter(|name| **name != manager.name) {
        check_name(state, name)?;
        manager.name.clone_from(name);
    }
    if let Some(underlay) = &command.underlay {
        check_addresses(underlay)?;
        manager.underlay.clone_from(underlay);
    }
    if let Some(https) = &command.https {
        check_addresses(https)?;
        manager.https.clone_from(https);
    }
    manager.priority = command.priority.unwrap_or(manager.priority);
    state.put_manager(manager);
    Ok(())
}

pub(super) fn remove(state: &mut State, id: ManagerId) -> Result<(), ManagerError> {
    if state.writer() == Some(id) {
        return Err(ManagerError::Writer(id));
    }
    state.remove_manager(id).map(drop).ok_or(ManagerError::Unknown(id))
}

fn insert(state: &mut State, spec: &ManagerSpec) -> Result<ManagerId, ManagerError> {
    check_name(state, &spec.name)?;
    check_addresses(&spec.underlay)?;
    check_addresses(&spec.https)?;
    if state.knows_key(&spec.public_key) {
        return Err(ManagerError::KeyTaken);
    }
    let manager = Manager {
        id: state.next_manager().ok_or(ManagerError::NoIds)?,
        name: spec.name.clone(),
        public_key: spec.public_key,
        underlay: spec.underlay.clone(),
        https: spec.https.clone(),
        priority: spec.priority,
    };
    let id = manager.id;
    state.put_manager(manager);
    Ok(id)
}

fn check_name(state: &State, name: &str) -> Result<(), ManagerError> {
    name::check(name)?;
    match state.managers().find(|manager| manager.name == name) {
        Some(_) => Err(ManagerError::NameTaken(name.to_owned())),
        None => Ok(()),
    }
}

fn check_addresses(addresses: &[SocketAddr]) -> Result<(), ManagerError> {
    if !(1..=MAX_ADDRESSES).contains(&addresses.len()) {
        return Err(ManagerError::AddressCount(addresses.len()));
    }
    let bad = |at: &&SocketAddr| at.port() == 0 || at.ip().is_unspecified() || at.ip().is_multicast();
    addresses.iter().find(bad).map_or(Ok(()), |at| Err(ManagerError::Address(*at)))
}
