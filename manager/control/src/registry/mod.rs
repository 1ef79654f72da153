//! The registry: the desired state of a cluster, as a pure state machine over a log of commands.
//!
//! [`apply`] takes a [`State`] and a [`Command`] to the next `State`, or refuses. It is deterministic: time, keys and
//! random ids arrive inside the command, so every manager that applies the same log holds the same state. States are
//! immutable and share structure: keeping an old one, or handing one to another thread, copies nothing.

mod address;
mod apply;
mod command;
mod diff;
mod endpoints;
mod managers;
mod name;
mod networks;
mod record;
mod refusal;
mod state;
#[cfg(test)]
mod tests;
mod tokens;

pub use address::NoFreeAddressError;
pub use apply::apply;
pub use command::{
    AddClient, AddNetwork, Bootstrap, Command, CreateToken, JoinEndpoint, JoinManager, ManagerSpec, Outcome, UnixMs,
    UpdateManager,
};
pub use diff::Difference;
pub use endpoints::EndpointError;
pub use managers::{MAX_MANAGERS, ManagerError};
pub use name::NameError;
pub use networks::{DEFAULT_MTU, NetworkError};
pub use record::{Endpoint, Manager, Network, Prefix, Token, TokenUse};
pub use refusal::Refusal;
pub use state::State;
pub use tokens::TokenError;
