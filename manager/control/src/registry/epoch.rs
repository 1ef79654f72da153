//! A new epoch: when the managers that are left are too few to decide anything, an admin lets the cluster go on from the
//! copy of one, which may be a witness: it has all that is decided, and whoever lost his copy gets it back from there. What
//! the others decided since then is lost, and with it whom they gave ids to: none of those is given again.
//!
//! Epochs are compared by when they began, and clocks may be wrong. So an epoch begins after the one it goes on from,
//! whatever the clock says: otherwise those that were left behind in that one would fence off the later one.

use festoon_proto::ManagerId;
use serde::{Deserialize, Serialize};

use super::record::{Beginning, Epoch};
use super::state::State;
use super::{BeginEpoch, UnixMs};

/// No epoch begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EpochError {
    /// It is not the one after the last.
    #[error("epoch {given} can't begin in epoch {current}: the next is {}", current.saturating_add(1))]
    NotNext {
        /// The epoch of now.
        current: u32,
        /// The one asked for.
        given: u32,
    },
    /// There is no such manager.
    #[error("there is no manager {0}: see `festoon-manager status` for those there are")]
    NoManager(ManagerId),
}

impl EpochError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotNext { .. } => "epoch-not-next",
            Self::NoManager(_) => "manager-unknown",
        }
    }
}

pub(super) fn begin(state: &mut State, command: &BeginEpoch) -> Result<(), EpochError> {
    state.manager(command.by).ok_or(EpochError::NoManager(command.by))?;
    let current = state.epoch().number;
    if current.checked_add(1) != Some(command.epoch) {
        return Err(EpochError::NotNext { current, given: command.epoch });
    }
    state.skip_ids();
    state.end_sessions();
    let earliest = state.epoch().began.map_or(UnixMs(0), |began| began.at.after(1));
    let beginning = Beginning { by: command.by, at: command.now.max(earliest), from: command.from };
    state.records.epoch = Epoch { number: command.epoch, began: Some(beginning) };
    Ok(())
}
