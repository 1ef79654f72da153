//! `festoon join`: makes the host a member of an overlay.

use std::fs;

use festoon_proto::http::JoinRequest;
use festoon_proto::map::EndpointMap;
use festoon_proto::token::{JoinToken, ParseTokenError, TokenKind};

use crate::config::Config;
use crate::host::{NetlinkError, home};
use crate::https::{AskError, Managers, ask_any};
use crate::state::{HostRecord, Identity, LockError, StateDir, StateError};

/// The host did not become a member.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// What was given as a token is none.
    #[error(transparent)]
    Token(#[from] ParseTokenError),
    /// It is a token, but for the other program.
    #[error("this token lets in a manager, not an endpoint: use it with `festoon-manager join`")]
    ManagerToken,
    /// The host is a member already.
    #[error("this host has already joined: run `festoon leave` first")]
    AlreadyJoined,
    /// What is on disk cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Somebody else uses the state.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No manager let the host in.
    #[error("cannot join")]
    Ask(#[from] AskError),
    /// The host could not be looked at.
    #[error("cannot join: reading the networks of this host failed")]
    Look(#[from] NetlinkError),
    /// A manager contradicts itself.
    #[error("cannot join: the manager does not believe in the token's CA")]
    WrongCa,
}

/// Joins with `token`, under `name` or the name of the host. May be repeated when it failed.
pub async fn join(config: &Config, token: &str, name: Option<String>) -> Result<EndpointMap, JoinError> {
    let token: JoinToken = token.parse()?;
    if token.kind == TokenKind::Manager {
        return Err(JoinError::ManagerToken);
    }
    let state = StateDir::new(&config.state_dir);
    if state.has_joined() {
        return Err(JoinError::AlreadyJoined);
    }
    state.create()?;
    let _lock = state.lock()?;
    let request = request(&token, &identity(&state, &token)?, name);
    let joined = ask_any(&Managers::of_token(&token), |manager| manager.join(&request)).await?;
    if !joined.map.authorities.contains(&token.ca_fingerprint) {
        return Err(JoinError::WrongCa);
    }
    // Before the map, which makes the host a member.
    let mut host = HostRecord { home: home(&config.interface).await?, ..HostRecord::default() };
    host.choose(config);
    state.store_host(&host)?;
    state.store_map(&joined.map)?;
    Ok(joined.map)
}

/// The identity of an earlier try with this token, or a new one. It is on disk before any manager sees its public half.
fn identity(state: &StateDir, token: &JoinToken) -> Result<Identity, StateError> {
    if let Some(identity) = state.identity()?.filter(|identity| identity.belongs_to(&token.secret)) {
        return Ok(identity);
    }
    let identity = Identity::generate(&token.secret);
    state.store_identity(&identity)?;
    Ok(identity)
}

fn request(token: &JoinToken, identity: &Identity, name: Option<String>) -> JoinRequest {
    JoinRequest {
        secret: token.secret.clone(),
        public_key: identity.private_key.public_key(),
        credential_hash: identity.credential_hash(),
        name: name.unwrap_or_else(host_name),
    }
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "endpoint".into() } else { name.trim().into() }
}
