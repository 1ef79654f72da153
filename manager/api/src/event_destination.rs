//! Destinations of events: webhooks, and exchanges of message brokers.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{EventDestinationId, ManagerId, NetworkId, SecretText, Time};

/// What kind of place events are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventDestinationKind {
    /// A receiver of webhooks, signed as Standard Webhooks has it.
    Webhook,
    /// A topic exchange of a message broker (AMQP 0.9.1).
    Amqp,
}

/// A place that events are sent to, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventDestination {
    /// Its id.
    pub id: EventDestinationId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// What kind of place it is.
    pub kind: EventDestinationKind,
    /// Where it is: `https://...` or `amqps://...`.
    pub url: String,
    /// The topic exchange of a broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    /// What routing keys begin with; the kind of the event follows, behind a dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_key_prefix: Option<String>,
    /// The kinds of events it gets; all if there are none.
    pub events: Vec<String>,
    /// The networks whose events it gets; if there are none all, and what belongs to no network.
    pub networks: Vec<NetworkId>,
    /// Whether it gets any.
    pub enabled: bool,
    /// Whether it may be on an address that is not of the public internet, and unencrypted.
    pub allow_private_addresses: bool,
    /// Until when webhooks are also signed with the secret before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_secret_until: Option<Time>,
    /// When it was added.
    pub created: Time,
    /// How the delivery goes. Not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryState>,
    /// Its version, which is also its `ETag`.
    pub version: u64,
}

/// How a delivery goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryState {
    /// The manager that delivers. None while nobody does, or that manager does not say how it goes: what is said here is then
    /// what the registry knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<ManagerId>,
    /// When it took something last, since that manager delivers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Time>,
    /// Failures in a row.
    pub failures: u32,
    /// Since when it takes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Time>,
    /// Why it failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it is tried next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Time>,
    /// Events that are being sent or wait to be.
    pub waiting: u64,
    /// Events that happened and that it does not have yet, at most: some of them it may not want.
    pub lag: u64,
    /// Events that were gone before they could be sent, because it was too far behind.
    pub missed: u64,
    /// Events that were given up and are kept.
    pub dead_letters: u64,
    /// Dead letters that gave way to later ones.
    pub dead_letters_dropped: u64,
}

/// A new destination.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventDestinationCreate {
    /// Its name, a DNS label.
    #[schema(max_length = 63)]
    pub name: String,
    /// What kind of place it is.
    pub kind: EventDestinationKind,
    /// Where it is: `https://HOST/PATH`, or `amqps://USER@HOST/VHOST`, without a password.
    #[schema(max_length = 2048)]
    pub url: String,
    /// The topic exchange of a broker. It has to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    /// What routing keys begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_key_prefix: Option<String>,
    /// The password for a broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretText>,
    /// The kinds of events it gets, such as `endpoint.up`; all if none is named.
    #[serde(default)]
    pub events: Vec<String>,
    /// The networks whose events it gets; if none is named all, and what belongs to no network.
    #[serde(default)]
    pub networks: Vec<NetworkId>,
    /// Whether it gets any; it does if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether it may be on an address that is not of the public internet, and unencrypted.
    #[serde(default)]
    pub allow_private_addresses: bool,
}

impl fmt::Debug for EventDestinationCreate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventDestinationCreate")
            .field("name", &self.name)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// The new destination. It gets what happens from now on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventDestinationCreated {
    /// It.
    pub event_destination: EventDestination,
    /// What the receiver of webhooks checks signatures with. Nobody can have it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl fmt::Debug for EventDestinationCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventDestinationCreated")
            .field("event_destination", &self.event_destination)
            .finish_non_exhaustive()
    }
}

/// What is to change of a destination. What is not named stays.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventDestinationUpdate {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The topic exchange of a broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    /// What routing keys begin with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_key_prefix: Option<String>,
    /// The password for a broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretText>,
    /// The kinds of events it gets; all if none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// The networks whose events it gets; if none is named all, and what belongs to no network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<NetworkId>>,
    /// Whether it gets any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether it may be on an address that is not of the public internet, and unencrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_private_addresses: Option<bool>,
}

impl fmt::Debug for EventDestinationUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventDestinationUpdate")
            .field("name", &self.name)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A new secret for a receiver of webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRotate {
    /// For how many seconds webhooks are signed with the one before, too: at most 30 days.
    #[schema(minimum = 0, maximum = 2592000)]
    pub overlap_s: u64,
}

/// The new secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretRotated {
    /// What the receiver checks signatures with. Nobody can have it again.
    pub secret: String,
    /// Until when webhooks are also signed with the one before.
    pub former_secret_until: Time,
}

impl fmt::Debug for SecretRotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretRotated").field("former_secret_until", &self.former_secret_until).finish_non_exhaustive()
    }
}

/// How trying out a destination ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventDestinationTest {
    /// Whether it took the event.
    pub delivered: bool,
    /// The id that it was sent under.
    pub id: String,
    /// Why not, or what else to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// Its number.
    pub number: u64,
    /// The id of the event.
    pub event: String,
    /// Its kind.
    pub kind: String,
    /// How often it was tried by the manager that gave it up.
    pub attempts: u32,
    /// Why it failed last.
    pub error: String,
    /// When it was given up.
    pub given_up: Time,
    /// Whether it is being sent again.
    pub redelivering: bool,
    /// What is sent. None if it was too long to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub message: Option<serde_json::Value>,
}

/// Dead letters that are to be sent again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterRedeliver {
    /// Their numbers; all if none is named.
    #[schema(max_items = 1000)]
    pub letters: Vec<u64>,
}
