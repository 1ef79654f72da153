//! The admin commands of this machine: HTTP over a Unix socket that only its owner can open.

mod api;
mod client;
mod lookup;
mod membership;
mod networks;
mod server;

pub use api::{
    ClientRequest, DRAINING, Draining, ENDPOINTS, LEAVE, MANAGERS, ManagerRequest, NETWORKS, NetworkRequest, PROMOTE,
    Promoted, REJOIN, Removed, STATUS, TOKENS, TokenRequest, TokenResponse,
};
pub use client::{Client, ClientError};
pub use server::{Admin, Leave, Server, build};
