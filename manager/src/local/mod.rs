//! The admin commands of this machine: HTTP over a Unix socket that only its owner can open.

mod api;
mod ca;
mod client;
mod lookup;
mod membership;
mod networks;
mod own_key;
mod server;
mod snapshots;

pub use api::{
    ClientRequest, DRAINING, Draining, ENDPOINTS, LEAVE, MANAGERS, ManagerRequest, NETWORKS, NetworkRequest, OWN_KEY,
    PROMOTE, Promoted, RECOVERY_KEY, REJOIN, RecoveryKeyRequest, Removed, RotationRequest, RotationResponse, SNAPSHOT,
    SNAPSHOTS, STATUS, TOKENS, TokenRequest, TokenResponse,
};
pub use ca::{AuthorityRow, CA, CA_PROMOTE, CA_RETIRE, CA_ROTATE, CaManagerRow, CaReport, Retire};
pub use client::{Client, ClientError};
pub(crate) use membership::see_that_others_carry;
pub use server::{Admin, Leave, Server, build};
