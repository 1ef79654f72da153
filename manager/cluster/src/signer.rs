//! What this manager signs, and whom it believes without a signature: nobody.

use std::sync::Arc;

use festoon_control::registry::{Change, State, Vouch};
use festoon_proto::epoch::{EpochClaimError, EpochProof, Roster};
use festoon_proto::http::ManagerRole;
use festoon_proto::map::MapVersion;
use festoon_proto::{ManagerId, SigningKey};
use tokio::sync::watch;

use crate::message::{Removal, SignedRemoval};
use crate::types::{Proposal, ProposalId};

/// Signs for one manager. A clone is the same.
#[derive(Debug, Clone)]
pub struct Signer {
    manager: ManagerId,
    key: Arc<SigningKey>,
}

impl Signer {
    /// For `manager`, whose record has the other half of this key.
    pub fn new(manager: ManagerId, key: SigningKey) -> Self {
        Self { manager, key: Arc::new(key) }
    }

    /// A proposal that its manager stands for, from a copy of the registry that was carried out up to `seen`. Without a
    /// cluster there is nobody to stand for anything: only a bootstrap can be proposed.
    pub fn propose(&self, state: &State, seen: MapVersion, id: ProposalId, change: Change) -> Proposal {
        let sign = |cluster| {
            let epoch = state.epoch().id();
            Vouch::sign(&self.key, self.manager, (cluster, epoch), seen, id.0, &change)
        };
        let vouch = state.cluster().map(sign);
        Proposal { id, change, vouch }
    }

    /// That another manager was removed, if this one is a full manager: nobody believes a witness that.
    pub(crate) fn removal(&self, state: &State, removed: ManagerId, removal: Removal) -> Option<SignedRemoval> {
        state.manager(self.manager).filter(|me| me.is_full())?;
        Some(SignedRemoval::sign(&self.key, self.manager, state.cluster()?, removed, removal))
    }
}

/// Whom this member believes: the managers of its own copy of the registry, and as long as that is empty those that it was
/// told of when it joined.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    states: watch::Receiver<Arc<State>>,
    joined_with: Option<Arc<Roster>>,
}

impl Trust {
    pub(crate) fn new(states: watch::Receiver<Arc<State>>, joined_with: Option<Roster>) -> Self {
        Self { states, joined_with: joined_with.map(Arc::new) }
    }

    fn roster(&self) -> Option<Roster> {
        let own = self.states.borrow().roster();
        own.or_else(|| self.joined_with.as_deref().cloned())
    }

    /// Whether a later epoch is believed.
    pub(crate) fn check(&self, proof: &EpochProof) -> Result<(), EpochClaimError> {
        self.roster().ok_or(EpochClaimError::UnknownSigner(proof.epoch))?.check(proof)
    }

    /// Whether a removal of `me` is believed.
    pub(crate) fn believes(&self, me: ManagerId, removal: &SignedRemoval) -> bool {
        self.roster().is_some_and(|roster| {
            let by = roster.managers.get(&removal.by).filter(|entry| entry.role == ManagerRole::Full);
            let is_plausible = removal.what.epoch.is_plausible_after(roster.epoch);
            is_plausible && by.is_some_and(|by| removal.is_signed_by(&by.signing_key, roster.cluster, me))
        })
    }

    /// Whether `manager` had been removed when this member joined, or by what its copy says.
    pub(crate) fn was_removed(&self, manager: ManagerId) -> bool {
        let is_gone = |roster: Roster| manager <= roster.last_manager && !roster.managers.contains_key(&manager);
        self.roster().is_some_and(is_gone)
    }

    /// Whether `manager` only votes.
    pub(crate) fn is_witness(&self, manager: ManagerId) -> bool {
        let role = self.roster().and_then(|roster| roster.managers.get(&manager).map(|entry| entry.role));
        role == Some(ManagerRole::Witness)
    }
}
