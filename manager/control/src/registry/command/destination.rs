//! Commands on destinations of events.

use std::collections::BTreeSet;

use festoon_proto::EventDestinationId;
use festoon_proto::access::Scope;
use serde::{Deserialize, Serialize};

use super::super::destinations::{GivenUp, Target};
use super::super::vault::EncryptedSecret;
use super::{PutSecret, UnixMs};

/// See [`Command::AddEventDestination`](super::Command::AddEventDestination).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddEventDestination {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Where it is.
    pub target: Target,
    /// The kinds of events it gets; all if there are none.
    pub kinds: BTreeSet<String>,
    /// The networks whose events it gets.
    pub networks: Scope,
    /// Whether it gets any.
    pub is_enabled: bool,
    /// Whether it may be on an address that is not of the public internet, and unencrypted.
    pub allows_private: bool,
    /// Its secret, under a name that begins with `destination-` and nobody has.
    pub secret: PutSecret,
    /// Where in the stream it begins.
    pub cursor: String,
    /// Now.
    pub now: UnixMs,
}

/// See [`Command::UpdateEventDestination`](super::Command::UpdateEventDestination). What is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateEventDestination {
    /// Which.
    pub destination: EventDestinationId,
    /// Its new name.
    pub name: Option<String>,
    /// Where it is now: another place of the same kind.
    pub target: Option<Target>,
    /// The kinds of events it gets from now on.
    pub kinds: Option<BTreeSet<String>>,
    /// The networks whose events it gets from now on.
    pub networks: Option<Scope>,
    /// Whether it gets any.
    pub is_enabled: Option<bool>,
    /// Whether it may be on an address that is not of the public internet, and unencrypted.
    pub allows_private: Option<bool>,
    /// Its new secret, encrypted under the name that it has.
    pub secret: Option<EncryptedSecret>,
    /// Until when the secret before is good too, if there is a new one.
    pub former_secret_until: Option<UnixMs>,
}

impl UpdateEventDestination {
    /// Nothing changes.
    pub const fn none(destination: EventDestinationId) -> Self {
        Self {
            destination,
            name: None,
            target: None,
            kinds: None,
            networks: None,
            is_enabled: None,
            allows_private: None,
            secret: None,
            former_secret_until: None,
        }
    }
}

/// See [`Command::NoteDelivery`](super::Command::NoteDelivery).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteDelivery {
    /// To which destination.
    pub destination: EventDestinationId,
    /// How far it got.
    pub cursor: String,
    /// Events that were gone before they could be sent, of all times.
    pub missed: u64,
    /// Since when it takes none.
    pub failing_since: Option<UnixMs>,
    /// Events that are given up.
    pub given_up: Vec<GivenUp>,
    /// Dead letters that were delivered after all.
    pub delivered: Vec<u64>,
    /// Dead letters that were not, though they were tried again.
    pub given_up_again: Vec<(u64, GivenUp)>,
}

/// See [`Command::RedeliverDeadLetters`](super::Command::RedeliverDeadLetters).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedeliverDeadLetters {
    /// Of which destination.
    pub destination: EventDestinationId,
    /// Which, by number; all if there are none.
    pub letters: Vec<u64>,
    /// Now.
    pub now: UnixMs,
}
