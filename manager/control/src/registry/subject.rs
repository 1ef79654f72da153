//! What a change is about.

use std::fmt;

use festoon_proto::map::MapVersion;
use festoon_proto::{ApiTokenId, EndpointId, EventDestinationId, JoinTokenId, ManagerId, NetworkId, UserId};
use serde::{Deserialize, Serialize};

use super::State;

/// A record that an admin can see and change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// The cluster as a whole.
    Cluster,
    /// A network.
    Network(NetworkId),
    /// An endpoint.
    Endpoint(EndpointId),
    /// A manager.
    Manager(ManagerId),
    /// A join token.
    JoinToken(JoinTokenId),
    /// A user.
    User(UserId),
    /// An API token.
    ApiToken(ApiTokenId),
    /// A destination of events.
    EventDestination(EventDestinationId),
}

impl Subject {
    /// What kind of record it is, as programs read it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Network(_) => "network",
            Self::Endpoint(_) => "endpoint",
            Self::Manager(_) => "manager",
            Self::JoinToken(_) => "join-token",
            Self::User(_) => "user",
            Self::ApiToken(_) => "api-token",
            Self::EventDestination(_) => "event-destination",
        }
    }

    /// Its id; none of the cluster.
    pub fn id(&self) -> Option<String> {
        match self {
            Self::Cluster => None,
            Self::Network(id) => Some(id.to_string()),
            Self::Endpoint(id) => Some(id.to_string()),
            Self::Manager(id) => Some(id.to_string()),
            Self::JoinToken(id) => Some(id.to_string()),
            Self::User(id) => Some(id.to_string()),
            Self::ApiToken(id) => Some(id.to_string()),
            Self::EventDestination(id) => Some(id.to_string()),
        }
    }

    /// Its name in `state`, if it is there and has one.
    pub fn name(&self, state: &State) -> Option<String> {
        match self {
            Self::Cluster | Self::JoinToken(_) => None,
            Self::Network(id) => state.network(*id).map(|network| network.name.clone()),
            Self::Endpoint(id) => state.endpoint(*id).map(|endpoint| endpoint.name.to_string()),
            Self::Manager(id) => state.manager(*id).map(|manager| manager.name.clone()),
            Self::User(id) => state.user(*id).map(|user| user.name.to_string()),
            Self::ApiToken(id) => state.api_token(*id).map(|token| token.name.clone()),
            Self::EventDestination(id) => state.event_destination(*id).map(|destination| destination.name.clone()),
        }
    }

    /// The last command that changed it, if it is there.
    pub fn changed(&self, state: &State) -> Option<MapVersion> {
        match self {
            Self::Cluster => Some(state.vault().changed()),
            Self::Network(id) => state.network(*id).map(|network| network.changed),
            Self::Endpoint(id) => state.endpoint(*id).map(|endpoint| endpoint.changed),
            Self::Manager(id) => state.manager(*id).map(|manager| manager.changed),
            Self::JoinToken(id) => state.join_token(*id).map(|(_, token)| token.changed),
            Self::User(id) => state.user(*id).map(|user| user.changed),
            Self::ApiToken(id) => state.api_token(*id).map(|token| token.changed),
            Self::EventDestination(id) => state.event_destination(*id).map(|destination| destination.changed),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        self.id().map_or(Ok(()), |id| write!(f, " {id}"))
    }
}
