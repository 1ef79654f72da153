//! The admin commands of this machine: HTTP over a Unix socket that only its owner can open.

mod api;
mod client;
mod lookup;
mod networks;
mod server;

pub use api::{
    ClientRequest, DRAINING, Draining, ENDPOINTS, MANAGERS, ManagerRequest, NETWORKS, NetworkRequest, Removed, STATUS,
    TOKENS, TokenRequest, TokenResponse,
};
pub use client::{Client, ClientError};
pub use server::{Admin, Server, build};
