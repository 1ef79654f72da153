//! The records of destinations.

use std::collections::BTreeSet;
use std::sync::Arc;

use festoon_proto::EventDestinationId;
use festoon_proto::access::Scope;
use festoon_proto::map::MapVersion;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::super::UnixMs;
use super::super::vault::SecretName;

/// Where events are sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A receiver of webhooks.
    Webhook {
        /// Where it is.
        url: String,
    },
    /// An exchange of a message broker (AMQP 0.9.1).
    Amqp {
        /// Where the broker is, with user and virtual host and without the password.
        uri: String,
        /// The topic exchange.
        exchange: String,
        /// What routing keys begin with; the kind of the event follows, behind a dot.
        routing_key_prefix: String,
    },
}

impl Target {
    /// What kind of place it is, as programs read it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Amqp { .. } => "amqp",
        }
    }
}

/// A place outside the cluster that is told what happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDestination {
    /// Its id.
    pub id: EventDestinationId,
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
    /// What its secret is called in the vault: what webhooks are signed with, or the password of the broker.
    pub secret: SecretName,
    /// The last command that changed that secret.
    pub secret_changed: MapVersion,
    /// Until when the secret before is good too.
    pub former_secret_until: Option<UnixMs>,
    /// When it was added.
    pub created: UnixMs,
    /// The last command that changed any of it.
    pub changed: MapVersion,
}

/// How far a destination got. It changes while nobody changes the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Progress {
    /// The cursor in the stream of events: all up to there is done.
    pub cursor: String,
    /// Events that were gone before they could be sent.
    pub missed: u64,
    /// Since when it takes none.
    pub failing_since: Option<UnixMs>,
    /// Events that were given up, by number.
    pub(in crate::registry) letters: OrdMap<u64, Arc<DeadLetter>>,
    pub(in crate::registry) last_letter: u64,
    /// Dead letters that gave way to later ones.
    pub dropped: u64,
}

impl Progress {
    /// Events that were given up and are still here, by number.
    pub fn letters(&self) -> impl Iterator<Item = &DeadLetter> {
        self.letters.values().map(|letter| &**letter)
    }

    /// How many were ever given up.
    pub const fn given_up(&self) -> u64 {
        self.last_letter
    }

    /// How many are still here.
    pub fn letter_count(&self) -> usize {
        self.letters.len()
    }

    /// One of them.
    pub fn letter(&self, number: u64) -> Option<&DeadLetter> {
        self.letters.get(&number).map(|letter| &**letter)
    }
}

/// An event that a destination did not take, and that is not tried any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number.
    pub number: u64,
    /// What became of it.
    pub given_up: GivenUp,
    /// Since when an admin wants it to be sent again.
    pub wanted: Option<UnixMs>,
}

/// An event that is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// The id of the event.
    pub event: String,
    /// Its kind.
    pub kind: String,
    /// What would have been sent; empty if that is too long to be kept.
    pub body: String,
    /// How often it was tried by the manager that gave it up.
    pub attempts: u32,
    /// Why it failed last.
    pub error: String,
    /// When it was given up.
    pub at: UnixMs,
}

/// All destinations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(in crate::registry) struct Destinations {
    pub(in crate::registry) all: OrdMap<EventDestinationId, Arc<EventDestination>>,
    pub(in crate::registry) progress: OrdMap<EventDestinationId, Arc<Progress>>,
    pub(in crate::registry) last: u32,
}

impl Destinations {
    /// What is wrong with records that come from a disk or another manager.
    pub(in crate::registry) fn check(&self) -> Result<(), &'static str> {
        let names: BTreeSet<_> = self.all.values().map(|destination| &destination.name).collect();
        if names.len() != self.all.len() {
            return Err("two destinations of events have the same name");
        }
        if !self.all.keys().eq(self.progress.keys()) {
            return Err("a destination of events and how far it got do not belong together");
        }
        Ok(())
    }
}
