//! `festoon leave`: ends the membership of the host.

use festoon_proto::EndpointId;

use crate::config::Config;
use crate::control::{self, ControlError};
use crate::host::{self, Problem};
use crate::https::{AskError, Managers, ask_any};
use crate::state::{LockError, Membership, StateDir, StateError};

/// The host is still a member, here or there.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// No manager removed the endpoint.
    #[error(
        "cannot leave: {reason}; `festoon leave --force` forgets the overlay on this host alone, and an admin must \
         remove endpoint {endpoint}"
    )]
    NotRemoved {
        /// Which.
        endpoint: EndpointId,
        /// Why.
        reason: AskError,
    },
    /// The agent did not stop.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// What the agent had left on the host stays.
    #[error(transparent)]
    Host(#[from] Problem),
    /// What is on disk cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Somebody else uses the state.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// How the membership ended.
#[derive(Debug)]
pub enum Left {
    /// Here and at the managers.
    Everywhere,
    /// An admin had removed the endpoint before.
    AlreadyRemoved,
    /// Here alone, with `--force`: the managers still know the endpoint.
    OnlyHere(Option<AskError>),
}

/// Removes the endpoint at a manager, stops the agent and forgets keys and map. With `force` also if no manager helps.
pub async fn leave(config: &Config, force: bool) -> Result<Left, LeaveError> {
    let state = StateDir::new(&config.state_dir);
    let left = match state.membership() {
        Ok(membership) => remove(&membership, force).await?,
        Err(_) if force => Left::OnlyHere(None),
        Err(error) => return Err(error.into()),
    };
    match control::down(&config.socket()) {
        Ok(()) => {}
        Err(ControlError::NotRunning) => {
            let _ = host::clean(&state.used_interface(&config.interface)).await?;
        }
        Err(error) => return Err(error.into()),
    }
    match state.lock() {
        // There is no directory, so there is nothing to forget.
        Err(LockError::NoState) => {}
        lock => {
            let _lock = lock?;
            state.forget()?;
        }
    }
    Ok(left)
}

async fn remove(membership: &Membership, force: bool) -> Result<Left, LeaveError> {
    let managers = Managers::of_map(&membership.map, None);
    let asked = ask_any(&managers, |manager| manager.leave(&membership.credential)).await;
    match asked {
        Ok(()) => Ok(Left::Everywhere),
        Err(error) if error.is_removed() => Ok(Left::AlreadyRemoved),
        Err(error) if force => Ok(Left::OnlyHere(Some(error))),
        Err(reason) => Err(LeaveError::NotRemoved { endpoint: membership.map.endpoint, reason }),
    }
}
