//! What this manager signs, and whom it believes without a signature: nobody.

use std::sync::Arc;

use festoon_control::registry::{Change, State, Vouch};
use festoon_proto::epoch::{EpochClaimError, EpochProof, Roster};
use festoon_proto::http::ManagerRole;
use festoon_proto::map::MapVersion;
use festoon_proto::{ClusterId, EpochId, Introduced, Introduction, ManagerId, SigningKey, introduced};
use openraft::{EmptyNode, SnapshotMeta};
use tokio::sync::watch;

use crate::message::{Removal, SignedRemoval};
use crate::transfer::Heading;
use crate::types::{MemberId, Proposal, ProposalId};

/// Signs for one manager. A clone is the same.
#[derive(Debug, Clone)]
pub struct Signer {
    manager: ManagerId,
    key: Arc<SigningKey>,
    introductions: Arc<[Introduction]>,
}

impl Signer {
    /// For `manager`, whose record has the other half of this key.
    pub fn new(manager: ManagerId, key: SigningKey) -> Self {
        Self { manager, key: Arc::new(key), introductions: Arc::default() }
    }

    /// The same, of a manager that came into the cluster like this.
    #[must_use]
    pub fn introduced(self, introductions: &[Introduction]) -> Self {
        Self { introductions: introductions.into(), ..self }
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

    /// How a manager came into the cluster that this one lets in.
    pub fn introduce(&self, cluster: ClusterId, newcomer: Introduced) -> Vec<Introduction> {
        Introduction::sign((self.manager, &self.key), cluster, newcomer).behind(&self.introductions)
    }

    /// What goes before a snapshot that this manager sends. Takes as long as a digest of it.
    pub(crate) fn heading(
        &self,
        state: &State,
        epoch: EpochId,
        meta: SnapshotMeta<MemberId, EmptyNode>,
        bytes: &[u8],
    ) -> Option<Heading> {
        let by = (self.manager, &*self.key);
        Some(Heading::sign(by, &self.introductions, (state.cluster()?, epoch), meta, bytes))
    }

    /// That another manager was removed, if this one is a full manager: nobody believes a witness that.
    pub(crate) fn removal(&self, state: &State, removed: ManagerId, removal: Removal) -> Option<SignedRemoval> {
        state.manager(self.manager).filter(|me| me.is_full())?;
        Some(SignedRemoval::sign(&self.key, self.manager, state.cluster()?, removed, removal))
    }
}

/// Whom this member believes: the managers of its own copy of the registry, and as long as that has not come so far those that
/// it was told of when it joined.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    me: ManagerId,
    states: watch::Receiver<Arc<State>>,
    joined_with: Option<Arc<Roster>>,
}

impl Trust {
    pub(crate) fn new(me: ManagerId, states: watch::Receiver<Arc<State>>, joined_with: Option<Roster>) -> Self {
        Self { me, states, joined_with: joined_with.map(Arc::new) }
    }

    fn roster(&self) -> Option<Roster> {
        Roster::later(self.me, self.states.borrow().roster(), self.joined_with.as_deref())
    }

    /// Whether a later epoch is believed.
    pub(crate) fn check(&self, proof: &EpochProof) -> Result<(), EpochClaimError> {
        self.roster().ok_or(EpochClaimError::UnknownSigner(proof.epoch))?.check(proof)
    }

    /// Whether a removal of `me` is believed.
    pub(crate) fn believes(&self, me: ManagerId, removal: &SignedRemoval) -> bool {
        self.roster().is_some_and(|roster| {
            let by = roster.full_manager(removal.by);
            let is_plausible = removal.what.epoch.is_plausible_after(roster.epoch);
            is_plausible && by.is_some_and(|by| removal.is_signed_by(&by, roster.cluster, me))
        })
    }

    /// Whether a snapshot with this heading is taken.
    pub(crate) fn may_send(&self, heading: &Heading) -> bool {
        let Some(roster) = self.roster() else { return false };
        // Whoever comes from an earlier epoch believes the manager that this one began with, which may be a witness.
        let epoch = heading.epoch();
        let is_beginning = epoch > roster.epoch && epoch.by == Some(heading.by);
        let first = || roster.managers.get(&heading.by).filter(|_| is_beginning).map(|entry| entry.signing_key);
        let introduced = || {
            let who = introduced(&heading.introductions, &roster)?;
            (who.manager == heading.by && who.role == ManagerRole::Full).then_some(who.signing_key)
        };
        let key = roster.full_manager(heading.by).or_else(first).or_else(introduced);
        key.is_some_and(|key| heading.is_signed_by(roster.cluster, &key))
    }

    /// Whether `manager` had been removed when this member joined, or by what its copy says.
    pub(crate) fn was_removed(&self, manager: ManagerId) -> bool {
        let is_gone = |roster: Roster| manager <= roster.last_manager && !roster.managers.contains_key(&manager);
        self.roster().is_some_and(is_gone)
    }

    /// Whether this member was told more when it joined than its copy says yet.
    pub(crate) fn is_copy_behind(&self) -> bool {
        let own = self.states.borrow().roster();
        let told = self.joined_with.as_deref();
        told.is_some_and(|told| own.is_none_or(|own| told.is_ahead_of(&own, self.me)))
    }

    /// Whether `manager` only votes.
    pub(crate) fn is_witness(&self, manager: ManagerId) -> bool {
        let role = self.roster().and_then(|roster| roster.managers.get(&manager).map(|entry| entry.role));
        role == Some(ManagerRole::Witness)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use festoon_proto::epoch::RosterEntry;

    use super::*;

    const CLUSTER: ClusterId = ClusterId([7; 16]);

    fn key(number: u16) -> SigningKey {
        SigningKey::from_seed([u8::try_from(number).unwrap(); 32])
    }

    /// Two full managers and a witness, of a newcomer that has no copy of the registry.
    fn trust() -> Trust {
        let entry = |number, role| {
            let signing_key = key(number).verifying_key();
            (ManagerId(number), RosterEntry { role, signing_key, https: Vec::new() })
        };
        let managers = [entry(1, ManagerRole::Full), entry(2, ManagerRole::Full), entry(3, ManagerRole::Witness)];
        let roster = Roster {
            cluster: CLUSTER,
            epoch: EpochId::FIRST,
            version: None,
            managers: BTreeMap::from(managers),
            last_manager: ManagerId(4),
            recovery_key: None,
            founding: None,
        };
        Trust::new(ManagerId(9), watch::Sender::<Arc<State>>::default().subscribe(), Some(roster))
    }

    fn heading(by: u16, with: u16, introductions: &[Introduction], epoch: EpochId) -> Heading {
        let signer = (ManagerId(by), &key(with));
        Heading::sign(signer, introductions, (CLUSTER, epoch), SnapshotMeta::default(), b"a registry")
    }

    fn introduction(by: u16, of: u16, role: ManagerRole) -> Introduction {
        let newcomer = Introduced { manager: ManagerId(of), signing_key: key(of).verifying_key(), role };
        Introduction::sign((ManagerId(by), &key(by)), CLUSTER, newcomer)
    }

    #[test]
    fn a_snapshot_is_taken_from_full_managers_that_are_known_or_introduced() {
        use ManagerRole::{Full, Witness};
        let first = EpochId::FIRST;
        let of_witness = EpochId { number: 2, began_unix_ms: 5, by: Some(ManagerId(3)) };
        for (heading, is_taken, what) in [
            (heading(1, 1, &[], first), true, "a full manager"),
            (heading(1, 2, &[], first), false, "in the name of another"),
            (heading(3, 3, &[], first), false, "a witness"),
            (heading(3, 3, &[introduction(1, 3, Full)], first), false, "a witness with more of an introduction"),
            (heading(3, 3, &[], of_witness), true, "the witness that the epoch began with"),
            (heading(4, 4, &[introduction(1, 4, Full)], first), false, "one that was removed"),
            (heading(5, 4, &[introduction(1, 4, Full)], first), false, "the same under an id that was never given"),
            (heading(5, 5, &[], first), false, "a stranger"),
            (heading(5, 5, &[introduction(1, 5, Full)], first), true, "one that joined since"),
            (heading(5, 5, &[introduction(1, 5, Witness)], first), false, "a witness that joined since"),
            (heading(5, 5, &[introduction(3, 5, Full)], first), false, "introduced by a witness"),
            (heading(5, 5, &[introduction(1, 6, Full)], first), false, "with the introduction of another"),
        ] {
            assert_eq!(trust().may_send(&heading), is_taken, "{what}");
        }
        let knows_nobody = Trust::new(ManagerId(9), watch::Sender::<Arc<State>>::default().subscribe(), None);
        assert!(!knows_nobody.may_send(&heading(1, 1, &[], first)));
    }
}
