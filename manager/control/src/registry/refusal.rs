//! Why a command is refused.

use serde::{Deserialize, Serialize};

use super::{
    AccountError, AuthorityError, ChangeError, ClockError, DestinationError, EndpointError, EpochError, FormatError,
    KeyError, ManagerError, NetworkError, RouteError, SecretError, TokenError, VouchError,
};

/// A command is refused and the state stays as it was. One small error an operation; this only joins them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The log does not begin with a bootstrap.
    #[error("this registry belongs to no cluster yet: run `festoon-manager init` or `festoon-manager join`")]
    NoCluster,
    /// The log has a second bootstrap.
    #[error("this registry belongs to a cluster already: use another --data-dir for another cluster")]
    HasCluster,
    /// On networks.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// On tokens.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// On endpoints.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// On managers.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// On keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// On secrets.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// On CAs.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// On epochs.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// On formats.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// On conditions and batches.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// On routes.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// On accounts.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// On destinations of events.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// On who stands for a change.
    #[error(transparent)]
    Vouch(#[from] VouchError),
    /// On time.
    #[error(transparent)]
    Clock(#[from] ClockError),
}

impl Refusal {
    /// A stable word for programs, as in `token-expired`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoCluster => "no-cluster",
            Self::HasCluster => "has-cluster",
            Self::Network(error) => error.kind(),
            Self::Token(error) => error.kind(),
            Self::Endpoint(error) => error.kind(),
            Self::Manager(error) => error.kind(),
            Self::Key(error) => error.kind(),
            Self::Secret(error) => error.kind(),
            Self::Authority(error) => error.kind(),
            Self::Epoch(error) => error.kind(),
            Self::Format(error) => error.kind(),
            Self::Change(error) => error.kind(),
            Self::Route(error) => error.kind(),
            Self::Account(error) => error.kind(),
            Self::Destination(error) => error.kind(),
            Self::Vouch(error) => error.kind(),
            Self::Clock(error) => error.kind(),
        }
    }
}
