//! Where events are sent to, and how far that got.
//!
//! Nothing is sent here, and the cursor is opaque: whoever delivers says how far it got. That is no change of the
//! destination: its version stays, and nothing is written into the audit log.

mod error;
mod letters;
mod record;

use std::collections::BTreeSet;

use festoon_proto::EventDestinationId;
use festoon_proto::access::Scope;
use festoon_proto::harmless::is_harmless;

use super::name;
use super::secrets;
use super::state::State;
use super::vault::SecretName;
use super::{AddEventDestination, PutSecret, UpdateEventDestination};

pub use error::DestinationError;
pub use letters::MAX_LETTERS;
pub(super) use letters::{note, redeliver};
pub(super) use record::Destinations;
pub use record::{DeadLetter, EventDestination, GivenUp, Progress, Target};

const MAX_DESTINATIONS: usize = 32;
const MAX_KINDS: usize = 64;
/// Bytes of a kind.
const MAX_KIND: usize = 64;
/// Bytes of a URL.
const MAX_URL: usize = 2_048;
/// Bytes of a name in a broker: with the kind of an event it is a short string (AMQP 0.9.1 section 4.2.5.3).
const MAX_WORD: usize = 200;
/// Secrets of destinations begin with this, so that nobody gets at another one by naming it.
const SECRET_PREFIX: &str = "destination-";

pub(super) fn add(state: &mut State, command: &AddEventDestination) -> Result<EventDestinationId, DestinationError> {
    if state.event_destinations().count() >= MAX_DESTINATIONS {
        return Err(DestinationError::TooMany);
    }
    check_name(state, &command.name)?;
    check_target(&command.target)?;
    check_kinds(&command.kinds)?;
    check_networks(state, &command.networks)?;
    let PutSecret { name: secret, secret: encrypted } = command.secret.clone();
    if !secret.0.starts_with(SECRET_PREFIX) || state.vault().secret(&secret).is_some() {
        return Err(DestinationError::SecretName);
    }
    secrets::store(state, secret.clone(), encrypted)?;
    let (id, version) = (state.next_event_destination(), state.version());
    let AddEventDestination { name, target, kinds, networks, is_enabled, allows_private, cursor, now, .. } =
        command.clone();
    let destination = EventDestination {
        id,
        name,
        target,
        kinds,
        networks,
        is_enabled,
        allows_private,
        secret,
        secret_changed: version,
        former_secret_until: None,
        created: now,
        changed: version,
    };
    state.put_progress(id, Progress { cursor, ..Progress::default() });
    state.put_event_destination(destination);
    Ok(id)
}

pub(super) fn update(state: &mut State, command: &UpdateEventDestination) -> Result<(), DestinationError> {
    let id = command.destination;
    let mut new = state.event_destination(id).cloned().ok_or(DestinationError::Unknown(id))?;
    if let Some(name) = command.name.as_ref().filter(|name| **name != new.name) {
        check_name(state, name)?;
        new.name.clone_from(name);
    }
    if let Some(target) = &command.target {
        check_target(target)?;
        if target.kind() != new.target.kind() {
            return Err(DestinationError::OtherKind);
        }
        new.target.clone_from(target);
    }
    if let Some(kinds) = &command.kinds {
        check_kinds(kinds)?;
        new.kinds.clone_from(kinds);
    }
    if let Some(networks) = command.networks.as_ref().filter(|networks| **networks != new.networks) {
        check_networks(state, networks)?;
        new.networks.clone_from(networks);
    }
    new.is_enabled = command.is_enabled.unwrap_or(new.is_enabled);
    new.allows_private = command.allows_private.unwrap_or(new.allows_private);
    if let Some(secret) = &command.secret {
        secrets::store(state, new.secret.clone(), secret.clone())?;
        new.secret_changed = state.version();
        new.former_secret_until = command.former_secret_until;
    }
    new.changed = state.version();
    state.put_event_destination(new);
    Ok(())
}

/// Its secret goes with it.
pub(super) fn remove(state: &mut State, id: EventDestinationId) -> Result<(), DestinationError> {
    let destination = state.remove_event_destination(id).ok_or(DestinationError::Unknown(id))?;
    state.vault_mut().secrets.remove(&destination.secret);
    Ok(())
}

/// Whether a destination needs this secret.
pub(super) fn uses(state: &State, secret: &SecretName) -> bool {
    state.event_destinations().any(|destination| destination.secret == *secret)
}

fn check_name(state: &State, name: &str) -> Result<(), DestinationError> {
    name::check(name)?;
    match state.event_destinations().any(|destination| destination.name == name) {
        true => Err(DestinationError::NameTaken(name.to_owned())),
        false => Ok(()),
    }
}

/// What is in a URL is for the shell, which reads it.
fn check_target(target: &Target) -> Result<(), DestinationError> {
    let fits = |text: &str, most| text.len() <= most && text.chars().all(is_harmless);
    let is_good = match target {
        Target::Webhook { url } => !url.is_empty() && fits(url, MAX_URL),
        Target::Amqp { uri, exchange, routing_key_prefix: prefix } => {
            !uri.is_empty() && fits(uri, MAX_URL) && fits(exchange, MAX_WORD) && fits(prefix, MAX_WORD - MAX_KIND)
        }
    };
    if is_good { Ok(()) } else { Err(DestinationError::Target) }
}

fn check_kinds(kinds: &BTreeSet<String>) -> Result<(), DestinationError> {
    let is_word = |kind: &String| {
        (1..=MAX_KIND).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.')
    };
    if kinds.len() <= MAX_KINDS && kinds.iter().all(is_word) { Ok(()) } else { Err(DestinationError::Kinds) }
}

/// Networks that were removed since may stay.
fn check_networks(state: &State, networks: &Scope) -> Result<(), DestinationError> {
    let Scope::Networks(networks) = networks else { return Ok(()) };
    if networks.is_empty() {
        return Err(DestinationError::NoNetworks);
    }
    match networks.iter().find(|id| state.network(**id).is_none()) {
        Some(missing) => Err(DestinationError::NoNetwork(*missing)),
        None => Ok(()),
    }
}
