//! A new epoch: when the managers that are left are too few to decide anything, an admin lets the cluster go on from the
//! copy of one, which may be a witness: it has all that is decided, and whoever lost his copy gets it back from there. What
//! the others decided since then is lost, and with it whom they gave ids to: none of those is given again.
//!
//! Epochs are compared by when they began, and clocks may be wrong. So an epoch begins after the one it goes on from,
//! whatever the clock says: otherwise those that were left behind in that one would fence off the later one.
//!
//! It begins with a signature of a full manager, or one by the recovery key (see [`festoon_proto::epoch`]). Those that are left behind
//! check it with the keys in their own copies.

use festoon_proto::epoch::{EpochClaimError, LATEST_BEGINNING_MS, Roster, RosterEntry};
use festoon_proto::{EpochId, Fingerprint, ManagerId, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::record::Epoch;
use super::state::{LOST_MANAGERS, State};
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
    /// It would not begin after the one it goes on from, or at a time that can't be.
    #[error("an epoch begins after the one before and before the year 2100: see that this machine's clock is right")]
    Time,
    /// Nobody signed it who could.
    #[error(transparent)]
    Claim(#[from] EpochClaimError),
    /// There is no cluster yet.
    #[error("this registry belongs to no cluster yet: run `festoon-manager init` or `festoon-manager join`")]
    NoCluster,
}

impl EpochError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotNext { .. } => "epoch-not-next",
            Self::NoManager(_) => "manager-unknown",
            Self::Time => "epoch-time",
            Self::Claim(_) => "epoch-not-proved",
            Self::NoCluster => "no-cluster",
        }
    }
}

impl State {
    /// No state yet, of a manager that joined a cluster which began with the change of this fingerprint: no other change is
    /// taken for that one.
    pub fn before(founding: Option<Fingerprint>) -> Self {
        let mut state = Self::default();
        state.records.founding = founding;
        state
    }

    /// What an epoch is called that begins now from this copy, which is that of manager `by`.
    pub fn next_epoch(&self, by: ManagerId, now: UnixMs) -> Result<EpochId, EpochError> {
        let current = self.epoch().id();
        let not_next = EpochError::NotNext { current: current.number, given: u32::MAX };
        let number = current.number.checked_add(1).ok_or(not_next)?;
        let earliest = current.began_unix_ms.checked_add(1).ok_or(EpochError::Time)?;
        let earliest = if current.began_unix_ms == 0 { 0 } else { earliest };
        let began_unix_ms = now.0.max(earliest);
        if began_unix_ms > LATEST_BEGINNING_MS {
            return Err(EpochError::Time);
        }
        Ok(EpochId { began_unix_ms, number, by: Some(by) })
    }

    /// The id of the first manager that joins in the next epoch.
    pub const fn first_manager_of_next_epoch(&self) -> Option<ManagerId> {
        match self.records.last_manager.checked_add(LOST_MANAGERS + 1) {
            Some(id) => Some(ManagerId(id)),
            None => None,
        }
    }

    /// The managers and whom they believe; none before there is a cluster.
    pub fn roster(&self) -> Option<Roster> {
        let entry = |manager: &super::Manager| {
            let (role, signing_key, https) = (manager.role, manager.signing_key, manager.https.clone());
            (manager.id, RosterEntry { role, signing_key, https })
        };
        Some(Roster {
            cluster: self.cluster()?,
            epoch: self.epoch().id(),
            version: Some(self.version()),
            managers: self.managers().map(entry).collect(),
            last_manager: ManagerId(self.records.last_manager),
            recovery_key: self.recovery_key(),
            founding: self.records.founding,
        })
    }

    /// Checks what was signed with the recovery key.
    pub const fn recovery_key(&self) -> Option<VerifyingKey> {
        self.records.recovery_key
    }
}

pub(super) fn begin(state: &mut State, command: &BeginEpoch) -> Result<(), EpochError> {
    let BeginEpoch { proof } = *command;
    let given = proof.epoch;
    let by = given.by.unwrap_or(proof.manager);
    state.manager(by).ok_or(EpochError::NoManager(by))?;
    let current = state.epoch().id();
    if current.number.checked_add(1) != Some(given.number) {
        return Err(EpochError::NotNext { current: current.number, given: given.number });
    }
    if given.began_unix_ms <= current.began_unix_ms && current.began_unix_ms > 0 {
        return Err(EpochError::Time);
    }
    state.roster().ok_or(EpochError::NoCluster)?.check(&proof)?;
    state.skip_ids();
    state.end_sessions();
    state.records.epoch = Epoch { number: given.number, began: Some(proof) };
    Ok(())
}

pub(super) fn set_recovery_key(state: &mut State, key: VerifyingKey) {
    state.records.recovery_key = Some(key);
    // Agents learn it from their maps.
    state.records.managers_changed = state.version();
}
