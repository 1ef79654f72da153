//! What may be wrong with a destination.

use festoon_proto::{EventDestinationId, NetworkId};
use serde::{Deserialize, Serialize};

use super::super::name::NameError;
use super::super::vault::SecretError;
use super::MAX_DESTINATIONS;

/// A destination of events is not added or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum DestinationError {
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Another has its name.
    #[error("an event destination {0} exists already: choose another name")]
    NameTaken(String),
    /// There are too many.
    #[error("there are {MAX_DESTINATIONS} event destinations already: remove one first")]
    TooMany,
    /// There is no such destination.
    #[error("there is no event destination {0}: it was removed, or never added")]
    Unknown(EventDestinationId),
    /// There is no such network.
    #[error("there is no network {0}: name one that there is, or none for all")]
    NoNetwork(NetworkId),
    /// It gets events of no network.
    #[error("an event destination gets the events of all networks or of at least one")]
    NoNetworks,
    /// The kinds of events are none.
    #[error("the kinds of events are up to 64 words such as endpoint.up")]
    Kinds,
    /// It says no place, or too long a one.
    #[error("this is no place to send events to: a URL has up to 2048 characters, a name in a broker up to 200")]
    Target,
    /// It becomes something else.
    #[error("a webhook stays a webhook and an exchange an exchange: add another destination")]
    OtherKind,
    /// Its secret can't be called so.
    #[error("the secret of an event destination has a name of its own, which begins with destination-")]
    SecretName,
    /// Its secret can't be stored.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// There is no such dead letter.
    #[error("there is no dead letter {0}: it was delivered, or gave way to later ones")]
    NoLetter(u64),
}

impl DestinationError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Name(_) => "bad-name",
            Self::NameTaken(_) => "name-taken",
            Self::TooMany => "too-many-event-destinations",
            Self::Unknown(_) => "event-destination-unknown",
            Self::NoNetwork(_) => "network-unknown",
            Self::NoNetworks => "bad-networks",
            Self::Kinds => "bad-kinds",
            Self::Target | Self::OtherKind => "bad-target",
            Self::SecretName => "bad-secret-name",
            Self::Secret(error) => error.kind(),
            Self::NoLetter(_) => "dead-letter-unknown",
        }
    }
}
