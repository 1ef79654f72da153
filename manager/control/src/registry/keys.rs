//! New keys for nodes, with an overlap in which the one before is good too, so that no traffic is lost.

use festoon_proto::{EndpointId, ManagerId, PublicKey};
use serde::{Deserialize, Serialize};

use super::record::{Endpoint, Manager, PreviousKey};
use super::state::State;
use super::{RotateEndpointKey, RotateManagerKey, UnixMs};

/// How long two keys of a node may be good at once, at most: a key that is no longer meant to be used should not be.
pub const MAX_KEY_OVERLAP_MS: u64 = 7 * 24 * 3600 * 1000;

/// A key is not replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum KeyError {
    /// Another node has the new key, or the node itself had it before.
    #[error("a node of this cluster has, or had a while ago, this public key: make a new key pair")]
    Taken,
    /// The overlap is over before it begins, or too long.
    #[error("the key before can be good for {} days more at most, and not until a time that is past", MAX_KEY_OVERLAP_MS / 86_400_000)]
    Overlap,
    /// Whoever asks has a credential that was replaced meanwhile.
    #[error("the credential of endpoint {0} was replaced meanwhile: ask with the new one")]
    Outdated(EndpointId),
    /// There is no such endpoint.
    #[error("there is no endpoint {0}: see `festoon-manager endpoints list` for those there are")]
    NoEndpoint(EndpointId),
    /// There is no such manager.
    #[error("there is no manager {0}: see `festoon-manager status` for those there are")]
    NoManager(ManagerId),
}

impl KeyError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Taken => "key-taken",
            Self::Overlap => "bad-overlap",
            Self::Outdated(_) => "credential-replaced",
            Self::NoEndpoint(_) => "endpoint-unknown",
            Self::NoManager(_) => "manager-unknown",
        }
    }
}

pub(super) fn rotate_endpoint(state: &mut State, command: &RotateEndpointKey) -> Result<(), KeyError> {
    let id = command.endpoint;
    let endpoint = state.endpoint(id).cloned().ok_or(KeyError::NoEndpoint(id))?;
    if (endpoint.public_key, endpoint.credential) == (command.new_key, command.credential) {
        return Ok(());
    }
    if endpoint.credential != command.shown {
        return Err(KeyError::Outdated(id));
    }
    let mut next = Endpoint { credential: command.credential, is_key_due: false, ..endpoint.clone() };
    if endpoint.public_key != command.new_key {
        check_new(state, command.new_key)?;
        let previous = previous(endpoint.public_key, command.now, command.overlap_until)?;
        next.public_key = command.new_key;
        next.previous_key = previous.map(Box::new);
    }
    if next.credential != endpoint.credential {
        next.set_details(|details| details.former_credential = endpoint.credential);
    }
    state.replace_endpoint(next);
    Ok(())
}

pub(super) fn rotate_manager(state: &mut State, command: &RotateManagerKey) -> Result<(), KeyError> {
    let id = command.manager;
    let manager = state.manager(id).cloned().ok_or(KeyError::NoManager(id))?;
    if manager.public_key == command.new_key {
        return Ok(());
    }
    check_new(state, command.new_key)?;
    let previous_key = previous(manager.public_key, command.now, command.overlap_until)?;
    state.put_manager(Manager { public_key: command.new_key, previous_key, ..manager });
    Ok(())
}

fn check_new(state: &State, key: PublicKey) -> Result<(), KeyError> {
    if state.knows_key(&key) { Err(KeyError::Taken) } else { Ok(()) }
}

/// What becomes of the key before. A key from before that one is forgotten at once: whoever changes keys twice in a row has
/// a reason.
fn previous(key: PublicKey, now: UnixMs, until: UnixMs) -> Result<Option<PreviousKey>, KeyError> {
    if until < now || until > now.after(MAX_KEY_OVERLAP_MS) {
        return Err(KeyError::Overlap);
    }
    Ok((until > now).then_some(PreviousKey { key, until }))
}
