//! The types of the managers' HTTP API, `/api/v1`: for the server, for the command line and for whoever else uses it.
//!
//! Conventions, the same everywhere:
//! - Ids are written with their letter, as in `e7`. Times are RFC 3339 in UTC, to the millisecond.
//! - A list is a [`Page`]; its cursor leads to the next one.
//! - A record that can be changed has a version. It is also the record's `ETag`, and `If-Match` must name it in a change.
//! - What is refused is answered with a [`Problem`] (RFC 9457).

mod access;
mod api_token;
mod audit;
mod cluster;
mod endpoint;
mod event_destination;
mod id;
mod join_token;
mod manager;
mod network;
mod page;
mod problem;
mod secret;
mod session;
mod settings;
mod snapshot;
mod time;
mod user;

use serde::{Deserialize, Deserializer};

pub use access::{Grant, Role};
pub use api_token::{ApiToken, ApiTokenCreate, ApiTokenCreated};
pub use audit::AuditEntry;
pub use cluster::{Cluster, Health, Member, MemberState};
pub use endpoint::{
    Endpoint, EndpointBatch, EndpointCreate, EndpointCreated, EndpointKind, EndpointState, EndpointUpdate, Presence,
    Route, RouteRow,
};
pub use event_destination::{
    DeadLetter, DeadLetterRedeliver, DeliveryState, EventDestination, EventDestinationCreate, EventDestinationCreated,
    EventDestinationKind, EventDestinationTest, EventDestinationUpdate, SecretRotate, SecretRotated,
};
pub use id::{ApiTokenId, EndpointId, EventDestinationId, JoinTokenId, ManagerId, NetworkId, SessionId, UserId};
pub use join_token::{JoinToken, JoinTokenCreate, JoinTokenCreated, JoinTokenKind};
pub use manager::{CaReplacement, CompromisedRemoved, Manager, ManagerRole, ManagerState, ManagerUpdate};
pub use network::{Network, NetworkCreate, NetworkUpdate};
pub use page::{Cursor, CursorError, DEFAULT_LIMIT, MAX_LIMIT, Page};
pub use problem::Problem;
pub use secret::SecretText;
pub use session::{CallerKind, LogIn, LogInWays, Session, SessionConfirm, SetUp, SetUpSecret, Whoami};
pub use settings::{Oidc, OidcUpdate, Settings, SettingsUpdate};
pub use snapshot::Snapshot;
pub use time::{ParseTimeError, Time};
pub use user::{
    Identity, PasswordChange, RecoveryCodes, TotpConfirm, TotpEnrolment, User, UserCreate, UserProof, UserUpdate,
};

/// Where the API begins.
pub const BASE: &str = "/api/v1";

/// Tells `null` from a field that is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
