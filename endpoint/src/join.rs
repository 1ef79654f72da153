//! `festoon join`: makes the host a member of an overlay.

use std::fs;
use std::time::Duration;

use festoon_proto::http::{JoinRequest, JoinResponse};
use festoon_proto::map::EndpointMap;
use festoon_proto::token::{JoinToken, ParseTokenError, TokenKind};
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::host::{NetlinkError, home};
use crate::https::{AskError, Managers, ask_any};
use crate::output::warn;
use crate::state::{HostRecord, Identity, LockError, StateDir, StateError};

/// How long managers that can't let the host in now are asked again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two times, at least. Up to twice as long, by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(4);

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
    /// The managers have too much to do, or can't agree.
    #[error("cannot join: no manager could let this host in within {} s; run it again", PATIENCE.as_secs())]
    Busy(#[source] AskError),
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
    let joined = ask(&Managers::of_token(&token), &request).await?;
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

/// Asks until a manager lets the host in. Hundreds may be started at once, and managers that restart may not agree for a moment.
async fn ask(managers: &Managers, request: &JoinRequest) -> Result<JoinResponse, JoinError> {
    let (deadline, mut pause) = (Instant::now() + PATIENCE, FIRST_PAUSE);
    loop {
        match ask_any(managers, |manager| manager.join(request)).await {
            Err(error) if error.may_pass() => {
                // Those that were refused together must not come back together.
                let pause_now = pause + pause.mul_f64(rand::random());
                if Instant::now() + pause_now > deadline {
                    return Err(JoinError::Busy(error));
                }
                if pause == FIRST_PAUSE {
                    warn(&format!("{error}: trying again for up to {} s", PATIENCE.as_secs()));
                }
                sleep(pause_now).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
            answer => return Ok(answer?),
        }
    }
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
