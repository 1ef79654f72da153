//! Commands on managers.
//!
//! There is no list of certificates that were revoked: a manager that was removed is refused because its id is gone for
//! good, and one that began anew because its incarnation is no longer the one it calls itself.

use std::net::SocketAddr;

use festoon_proto::http::ManagerRole;
use festoon_proto::token::TokenKind;
use festoon_proto::{Fingerprint, ManagerId};
use serde::{Deserialize, Serialize};

use super::format::{self, FormatError};
use super::name::{self, NameError};
use super::record::{Epoch, Manager, TokenUse};
use super::secrets;
use super::state::State;
use super::tokens::{self, Admission, TokenError};
use super::vault::SecretError;
use super::{Bootstrap, JoinManager, ManagerSpec, RenewManager, RotateSealKey, UpdateManager};

/// Managers that a cluster may have, witnesses included.
pub const MAX_MANAGERS: usize = 9;

const MAX_ADDRESSES: usize = 8;
/// In front of the beginning of a cluster, when its digest is taken.
const FOUNDING: &str = "festoon founding 1";

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
    /// A witness has no tunnels and reads no secrets.
    #[error("a witness carries nothing: it has no tunnel addresses, no seal key and no copy of the data key")]
    Witness,
    /// It could not read any secret.
    #[error("a full manager needs a seal key, for the cluster has secrets: join it with this version of Festoon")]
    NoSealKey,
    /// Its copy of the data key is not that of now.
    #[error(transparent)]
    DataKey(#[from] SecretError),
    /// Its program does not fit the cluster.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It has begun anew more often than that.
    #[error("{manager} has begun anew {current} times and can't go back to {given}: ask it again")]
    Incarnation {
        /// Which manager.
        manager: ManagerId,
        /// Its incarnation of now.
        current: u32,
        /// The one it should have.
        given: u32,
    },
    /// There is no such manager.
    #[error("there is no manager {0}: see `festoon-manager status` for those there are")]
    Unknown(ManagerId),
    /// Nobody would carry the endpoints.
    #[error("{0} is the last manager that carries endpoints: join another one first")]
    LastFull(ManagerId),
    /// It is not the beginning of the cluster that this manager joined.
    #[error(
        "this is not how the cluster began that this manager joined: the manager that sent it is not to be trusted"
    )]
    OtherCluster,
    /// Another manager is there.
    #[error(
        "{at} belongs to manager {name} ({id}): name an address of this machine, or remove that manager first if it is gone"
    )]
    AddressTaken {
        /// The address.
        at: SocketAddr,
        /// Whose it is.
        name: String,
        /// Its id.
        id: ManagerId,
    },
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
            Self::Witness => "manager-is-witness",
            Self::NoSealKey => "no-seal-key",
            Self::DataKey(error) => error.kind(),
            Self::Format(error) => error.kind(),
            Self::Incarnation { .. } => "manager-incarnation",
            Self::LastFull(_) => "manager-is-last",
            Self::OtherCluster => "other-cluster",
            Self::AddressTaken { .. } => "address-taken",
        }
    }
}

pub(super) fn bootstrap(state: &mut State, command: &Bootstrap) -> Result<ManagerId, ManagerError> {
    if command.manager.role == ManagerRole::Witness {
        return Err(ManagerError::Witness);
    }
    let founding = founding(command);
    if state.records.founding.is_some_and(|expected| expected != founding) {
        return Err(ManagerError::OtherCluster);
    }
    let id = insert(state, &command.manager)?;
    state.records.cluster = Some(command.cluster);
    state.records.founding = Some(founding);
    state.records.epoch = Epoch { number: 1, began: None };
    Ok(id)
}

/// What tells the beginning of a cluster from that of every other.
fn founding(command: &Bootstrap) -> Fingerprint {
    // It fails only on what has no length, and this has.
    let Bootstrap { cluster, manager } = command;
    let ManagerSpec { name, role, public_key, seal_key, signing_key, tls_key, underlay, https, priority, format } =
        manager;
    // A form of its own, so that it stays the same when a later program knows more of a manager.
    let keys = (public_key, seal_key, signing_key, tls_key);
    let beginning = (FOUNDING, cluster, name, role, keys, underlay, https, priority, format);
    Fingerprint::of(&postcard::to_stdvec(&beginning).unwrap_or_default())
}

pub(super) fn join(state: &mut State, command: &JoinManager) -> Result<ManagerId, ManagerError> {
    match tokens::admit(state, &command.token, TokenKind::Manager, command.now)? {
        Admission::Again(by) => return same_again(state, command, by),
        Admission::New(token) => tokens::check_role(&token, command.manager.role)?,
    }
    if state.managers().count() >= MAX_MANAGERS {
        return Err(ManagerError::TooMany);
    }
    format::check(state, command.manager.format)?;
    match command.manager.role {
        ManagerRole::Witness if command.data_key.is_some() => return Err(ManagerError::Witness),
        ManagerRole::Witness => {}
        ManagerRole::Full => {
            if command.manager.seal_key.is_none() && state.vault().keyring.number > 0 {
                return Err(ManagerError::NoSealKey);
            }
            secrets::check_copy(state, command.data_key.as_ref())?;
        }
    }
    let id = insert(state, &command.manager)?;
    secrets::add_copy(state, id, command.data_key.as_ref());
    state.use_token(command.token, TokenUse::Manager(id), command.now);
    Ok(id)
}

fn same_again(state: &State, command: &JoinManager, by: TokenUse) -> Result<ManagerId, ManagerError> {
    let TokenUse::Manager(id) = by else { return Err(TokenError::Used.into()) };
    let spec = &command.manager;
    // Whoever asks has proved to the manager that vouches for this that it holds the TLS key. A WireGuard key proves nothing:
    // its public half is in every map.
    let same = |manager: &&Manager| {
        (manager.first_tls_key, manager.signing_key) == (spec.tls_key, spec.signing_key)
            && (manager.public_key, manager.role) == (spec.public_key, spec.role)
    };
    state.manager(id).filter(same).map(|manager| manager.id).ok_or(ManagerError::Token(TokenError::Used))
}

pub(super) fn update(state: &mut State, command: &UpdateManager) -> Result<(), ManagerError> {
    let mut manager = state.manager(command.manager).cloned().ok_or(ManagerError::Unknown(command.manager))?;
    if let Some(name) = command.name.as_ref().filter(|name| **name != manager.name) {
        check_name(state, name)?;
        manager.name.clone_from(name);
    }
    if let Some(underlay) = &command.underlay {
        check_free(state, Some(manager.id), underlay, |other| &other.underlay)?;
        manager.underlay.clone_from(underlay);
    }
    if let Some(https) = &command.https {
        check_free(state, Some(manager.id), https, |other| &other.https)?;
        manager.https.clone_from(https);
    }
    check_reach(manager.role, &manager.underlay, &manager.https)?;
    manager.priority = command.priority.unwrap_or(manager.priority);
    manager.is_draining = command.is_draining.unwrap_or(manager.is_draining);
    if let Some(region) = &command.region {
        manager.region = check_region(region)?;
    }
    let is_told = command.name.is_some() || command.underlay.is_some() || command.https.is_some();
    // Endpoints know neither its region nor, from here, whether it is draining.
    if is_told || command.priority.is_some() {
        state.put_manager(manager);
    } else {
        state.note_manager(manager);
    }
    Ok(())
}

/// Nowhere in particular, if it is empty.
fn check_region(region: &str) -> Result<Option<String>, NameError> {
    if region.is_empty() {
        return Ok(None);
    }
    name::check(region).map(|()| Some(region.to_owned()))
}

pub(super) fn renew(state: &mut State, command: &RenewManager) -> Result<(), ManagerError> {
    let (id, given) = (command.manager, command.incarnation);
    let manager = state.manager(id).cloned().ok_or(ManagerError::Unknown(id))?;
    let current = manager.incarnation;
    if given < current {
        return Err(ManagerError::Incarnation { manager: id, current, given });
    }
    if given > current {
        state.note_manager(Manager { incarnation: given, ..manager });
    }
    Ok(())
}

pub(super) fn rotate_seal_key(state: &mut State, command: &RotateSealKey) -> Result<(), ManagerError> {
    let id = command.manager;
    let manager = state.manager(id).cloned().ok_or(ManagerError::Unknown(id))?;
    if !manager.is_full() {
        return Err(ManagerError::Witness);
    }
    secrets::check_copy(state, command.data_key.as_ref())?;
    state.note_manager(Manager { seal_key: Some(command.seal_key), ..manager });
    secrets::add_copy(state, id, command.data_key.as_ref());
    Ok(())
}

pub(super) fn remove(state: &mut State, id: ManagerId) -> Result<(), ManagerError> {
    let manager = state.manager(id).ok_or(ManagerError::Unknown(id))?;
    if manager.is_full() && state.full_managers().count() == 1 {
        return Err(ManagerError::LastFull(id));
    }
    state.remove_manager(id);
    secrets::remove_copy(state, id);
    format::settle(state);
    Ok(())
}

fn insert(state: &mut State, spec: &ManagerSpec) -> Result<ManagerId, ManagerError> {
    check_name(state, &spec.name)?;
    check_reach(spec.role, &spec.underlay, &spec.https)?;
    check_free(state, None, &spec.underlay, |other| &other.underlay)?;
    check_free(state, None, &spec.https, |other| &other.https)?;
    if spec.role == ManagerRole::Witness && spec.seal_key.is_some() {
        return Err(ManagerError::Witness);
    }
    if state.knows_key(&spec.public_key) {
        return Err(ManagerError::KeyTaken);
    }
    let manager = Manager {
        id: state.next_manager().ok_or(ManagerError::NoIds)?,
        name: spec.name.clone(),
        role: spec.role,
        public_key: spec.public_key,
        previous_key: None,
        seal_key: spec.seal_key,
        signing_key: spec.signing_key,
        first_tls_key: spec.tls_key,
        incarnation: 0,
        underlay: spec.underlay.clone(),
        https: spec.https.clone(),
        priority: spec.priority,
        region: None,
        is_draining: false,
        format: spec.format,
        release: None,
        changed: state.version(),
    };
    let id = manager.id;
    state.put_manager(manager);
    format::settle(state);
    Ok(id)
}

fn check_name(state: &State, name: &str) -> Result<(), ManagerError> {
    name::check(name)?;
    match state.managers().find(|manager| manager.name == name) {
        Some(_) => Err(ManagerError::NameTaken(name.to_owned())),
        None => Ok(()),
    }
}

fn check_reach(role: ManagerRole, underlay: &[SocketAddr], https: &[SocketAddr]) -> Result<(), ManagerError> {
    match role {
        ManagerRole::Full => check_addresses(underlay)?,
        ManagerRole::Witness if underlay.is_empty() => {}
        ManagerRole::Witness => return Err(ManagerError::Witness),
    }
    check_addresses(https)
}

fn check_addresses(addresses: &[SocketAddr]) -> Result<(), ManagerError> {
    if !(1..=MAX_ADDRESSES).contains(&addresses.len()) {
        return Err(ManagerError::AddressCount(addresses.len()));
    }
    let bad = |at: &&SocketAddr| at.port() == 0 || at.ip().is_unspecified() || at.ip().is_multicast();
    addresses.iter().find(bad).map_or(Ok(()), |at| Err(ManagerError::Address(*at)))
}

/// Whether no other manager than `me` has any of `addresses` among `those` of the same kind.
fn check_free(
    state: &State,
    me: Option<ManagerId>,
    addresses: &[SocketAddr],
    those: impl Fn(&Manager) -> &[SocketAddr],
) -> Result<(), ManagerError> {
    // An IPv4 address in an IPv6 one is the same place.
    let place = |at: &SocketAddr| (at.ip().to_canonical(), at.port());
    for other in state.managers().filter(|other| Some(other.id) != me) {
        let is_there = |at: &&SocketAddr| those(other).iter().any(|theirs| place(theirs) == place(at));
        if let Some(&at) = addresses.iter().find(is_there) {
            return Err(ManagerError::AddressTaken { at, name: other.name.clone(), id: other.id });
        }
    }
    Ok(())
}
