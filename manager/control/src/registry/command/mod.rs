//! The commands of the log.
//!
//! # Versions
//! Logs outlive programs, and while a cluster is upgraded managers of two versions apply the same log. So, from the first
//! release on:
//! - Commands are postcard: a variant keeps its place and its fields for good, and [`apply`](super::apply) makes the same
//!   of it for good. What has to be different becomes a new variant at the end, and [`FORMAT`](super::FORMAT) grows by one.
//! - [`Command::since`] says which format brought a variant. It is refused until every manager has announced a program
//!   that understands that format, so no manager ever meets a command it can't apply.
//! - [`Outcome`] and [`Refusal`](super::Refusal) answer managers of another version too: they only grow, at the end.
//! - How a [`State`](super::State) is stored: see there.

mod account;
mod destination;
mod endpoint;
mod manager;
mod network;
mod secret;

use festoon_proto::token::SecretHash;
use festoon_proto::{
    ApiTokenId, EndpointId, EventDestinationId, Fingerprint, JoinTokenId, ManagerId, NetworkId, SessionId, UserId,
    VerifyingKey,
};
use serde::{Deserialize, Serialize};

pub use account::{AddUser, ConfirmSession, CreateApiToken, LogIn, NewTotp, Proof, SetUp, UpdateUser};
pub use destination::{AddEventDestination, NoteDelivery, RedeliverDeadLetters, UpdateEventDestination};
pub use endpoint::{
    AddClient, CreateToken, JoinEndpoint, OfferRoutes, RemoveEndpoint, RotateEndpointKey, TokenPreset, UpdateEndpoint,
};
pub use manager::{
    AnnounceProgram, BeginEpoch, Bootstrap, JoinManager, ManagerSpec, RenewManager, RotateManagerKey, RotateSealKey,
    UpdateManager,
};
pub use network::{AddNetwork, UpdateNetwork};
pub use secret::{AddAuthority, DataKeyCopy, PutSecret, SetKeyring};

use super::Subject;
use super::vault::SecretName;

/// Milliseconds since 1970-01-01 UTC, read by whoever makes a command and never by whoever applies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// So many milliseconds later.
    #[must_use]
    pub const fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// A change of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The first command of every cluster.
    Bootstrap(Bootstrap),
    /// A new network.
    AddNetwork(AddNetwork),
    /// A network has another name, another MTU, more or fewer prefixes, or other reserved ranges.
    UpdateNetwork(UpdateNetwork),
    /// A network is given up. Nobody may be in it.
    RemoveNetwork(NetworkId),
    /// A new join token.
    CreateToken(CreateToken),
    /// A join token lets nobody in any more.
    RemoveToken(JoinTokenId),
    /// An agent comes in with a token.
    JoinEndpoint(JoinEndpoint),
    /// An admin adds a stock WireGuard client.
    AddClient(AddClient),
    /// An endpoint has another name, other addresses, another network, or may do more or less.
    UpdateEndpoint(UpdateEndpoint),
    /// An endpoint says which routes it would carry.
    OfferRoutes(OfferRoutes),
    /// An endpoint leaves, or is thrown out.
    RemoveEndpoint(RemoveEndpoint),
    /// An endpoint has a new key.
    RotateEndpointKey(RotateEndpointKey),
    /// A manager comes in with a token.
    JoinManager(JoinManager),
    /// A manager has another name, other addresses or another priority.
    UpdateManager(UpdateManager),
    /// A manager begins anew, with an empty copy of the registry.
    RenewManager(RenewManager),
    /// A manager has a new key for its tunnels and links.
    RotateManagerKey(RotateManagerKey),
    /// A manager has a new key that secrets are sealed to.
    RotateSealKey(RotateSealKey),
    /// A manager is thrown out.
    RemoveManager(ManagerId),
    /// A new data key, and every secret encrypted under it.
    SetKeyring(SetKeyring),
    /// A secret is stored, or replaced.
    PutSecret(PutSecret),
    /// A secret is forgotten.
    RemoveSecret(SecretName),
    /// A CA that is trusted from now on. The first one issues certificates at once.
    AddAuthority(AddAuthority),
    /// The CA with this fingerprint issues certificates from now on; the one before is still trusted.
    PromoteAuthority(Fingerprint),
    /// The CA with this fingerprint is no longer trusted.
    RetireAuthority(Fingerprint),
    /// The cluster goes on from one manager's copy, and those that have not heard of it are locked out.
    BeginEpoch(BeginEpoch),
    /// A manager runs this program.
    AnnounceProgram(AnnounceProgram),
    /// From now on, whoever has the secret with this hash becomes the first owner.
    SetSetUpSecret(SecretHash),
    /// The first owner.
    SetUp(SetUp),
    /// A new user.
    AddUser(AddUser),
    /// A user has another name, may do more or less, or logs in with something else.
    UpdateUser(UpdateUser),
    /// A user is removed, with its sessions and tokens.
    RemoveUser(UserId),
    /// A new API token.
    CreateApiToken(CreateApiToken),
    /// An API token is good no more.
    RemoveApiToken(ApiTokenId),
    /// A user logs in.
    LogIn(LogIn),
    /// A session ends.
    LogOut(SessionId),
    /// All sessions of a user end.
    LogOutAll(UserId),
    /// What is past is forgotten. Every command that carries the time does this first; this one does nothing else.
    Expire(UnixMs),
    /// Several at once, in this order: all are carried out, or none.
    Batch(Vec<Command>),
    /// A new destination of events.
    AddEventDestination(Box<AddEventDestination>),
    /// A destination of events is somewhere else, gets others, or has another secret.
    UpdateEventDestination(Box<UpdateEventDestination>),
    /// A destination of events is removed, with its secret and its dead letters.
    RemoveEventDestination(EventDestinationId),
    /// A destination got so far. That changes nothing of it.
    NoteDelivery(NoteDelivery),
    /// Dead letters are to be sent again.
    RedeliverDeadLetters(RedeliverDeadLetters),
    /// Something was done that changes nothing here: only the audit log is to have it.
    Note(Deed),
    /// What was signed with the recovery key is checked with this from now on.
    SetRecoveryKey(VerifyingKey),
    /// A user has proved once more, on a session, who it is.
    ConfirmSession(ConfirmSession),
}

/// Something that somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// The session of an endpoint was ended.
    Disconnect(EndpointId),
    /// An event was sent to a destination, to try it out.
    TryOut(EventDestinationId),
    /// A snapshot was taken, and a manager keeps it.
    TakeSnapshot,
    /// A snapshot was given out.
    DownloadSnapshot,
}

impl Deed {
    /// What it was done to.
    pub(super) const fn subject(self) -> Subject {
        match self {
            Self::Disconnect(id) => Subject::Endpoint(id),
            Self::TryOut(id) => Subject::EventDestination(id),
            Self::TakeSnapshot | Self::DownloadSnapshot => Subject::Cluster,
        }
    }
}

impl Command {
    /// The format that brought this command.
    pub const fn since(&self) -> u16 {
        1
    }

    /// When it was made, if it matters.
    pub(super) fn now(&self) -> Option<UnixMs> {
        match self {
            Self::CreateToken(command) => Some(command.now),
            Self::JoinEndpoint(command) => Some(command.now),
            Self::AddClient(command) => Some(command.now),
            Self::UpdateEndpoint(command) => Some(command.now),
            Self::RemoveEndpoint(command) => Some(command.now),
            Self::RotateEndpointKey(command) => Some(command.now),
            Self::JoinManager(command) => Some(command.now),
            Self::RotateManagerKey(command) => Some(command.now),
            Self::BeginEpoch(command) => Some(UnixMs(command.proof.epoch.began_unix_ms)),
            Self::SetUp(command) => Some(command.now),
            Self::AddUser(command) => Some(command.now),
            Self::CreateApiToken(command) => Some(command.now),
            Self::LogIn(command) => Some(command.now),
            Self::ConfirmSession(command) => Some(command.now),
            Self::AddEventDestination(command) => Some(command.now),
            Self::RedeliverDeadLetters(command) => Some(command.now),
            Self::Expire(now) => Some(*now),
            Self::Batch(commands) => commands.iter().filter_map(Self::now).max(),
            _ => None,
        }
    }
}

/// What a command made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Nothing that has an id.
    Done,
    /// This network.
    Network(NetworkId),
    /// This endpoint.
    Endpoint(EndpointId),
    /// This manager.
    Manager(ManagerId),
    /// This join token.
    JoinToken(JoinTokenId),
    /// This user.
    User(UserId),
    /// This API token.
    ApiToken(ApiTokenId),
    /// This session.
    Session(SessionId),
    /// What each of several made.
    Batch(Vec<Outcome>),
    /// This destination of events.
    EventDestination(EventDestinationId),
}
