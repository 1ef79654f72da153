//! Why a command is refused.

use serde::{Deserialize, Serialize};

use super::{EndpointError, ManagerError, NetworkError, TokenError};

/// A command is refused and the state stays as it was. One small error an operation; this only joins them. Travels between
/// managers in postcard, within one version.
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
        }
    }
}
