//! Who stands for a change: the manager that proposes it signs it, and every member checks that where the change is applied.
//!
//! Raft carries whatever a member puts into the log. So the log says for each change which manager vouches for it, and no
//! member takes the word of another for that:
//!
//! - The signature is by the signing key in the manager's record. It covers the change with its author, the id of the proposal,
//!   the cluster, the epoch, and how far the manager's copy went. So a change can be used neither for another cluster or
//!   epoch, nor a second time: its id is remembered for as long as the signature is good.
//! - A full manager speaks for itself, for root on its own machine, for the work that managers do by themselves, and for
//!   callers that it has authenticated. It does not speak as another manager.
//! - A witness speaks for itself alone: it says which program it runs, comes back with a new incarnation, and leaves.
//!
//! The caller's own secret is not part of a change: the manager that checked it stands for that, by name, in the audit log.

use festoon_proto::map::MapVersion;
use festoon_proto::{ClusterId, EpochId, ManagerId, Signature, SigningKey};
use serde::{Deserialize, Serialize};

use super::change::{Carried, Change, Who, carry_out_for};
use super::record::Manager;
use super::state::State;
use super::{Command, Refusal};

/// In front of what is signed.
const LABEL: &str = "festoon registry change 1";
/// How many places of the log a signature is good for. A member remembers at least as many proposals, so no signature
/// outlives the memory of what it was used for.
pub const GOOD_FOR: u64 = 8192;

/// A manager stands for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouch {
    /// Which manager.
    pub by: ManagerId,
    /// The epoch it is in.
    pub epoch: EpochId,
    /// The last place of the log that its copy contained.
    pub seen: MapVersion,
    /// By its signing key.
    pub signature: Signature,
}

/// Nobody who may do so stands for a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum VouchError {
    /// There is no signature.
    #[error("this change is not signed by a manager: run the same version of Festoon on all managers")]
    Missing,
    /// The manager is not in the cluster.
    #[error("manager {0} is not in the cluster (any more), so it can change nothing")]
    NotMember(ManagerId),
    /// The signature is not that manager's.
    #[error(
        "the signature of manager {0} on this change is wrong: check that signing.key in its --data-dir is the key it joined with"
    )]
    Signature(ManagerId),
    /// It was signed in another epoch.
    #[error("this change was signed in epoch {given}, and the cluster is in epoch {current}: try again")]
    Epoch {
        /// The epoch in the signature.
        given: EpochId,
        /// The epoch of the registry.
        current: EpochId,
    },
    /// It was signed long ago.
    #[error(
        "the manager that signed this change has an outdated copy of the registry: try again when it has caught up"
    )]
    Stale,
    /// The manager is a witness.
    #[error("manager {0} is a witness, which only votes: run this on a full manager, or name one with --server")]
    Witness(ManagerId),
    /// The manager does not speak for the author.
    #[error(
        "manager {0} may not make this change on behalf of its author: run the same version of Festoon on all managers"
    )]
    Author(ManagerId),
    /// An epoch does not begin by a change.
    #[error("an epoch begins with `festoon-manager promote` on one manager, not with a change of the registry")]
    Epochs,
}

impl VouchError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "not-vouched",
            Self::NotMember(_) => "not-a-member",
            Self::Signature(_) => "bad-signature",
            Self::Epoch { .. } => "other-epoch",
            Self::Stale => "vouch-too-old",
            Self::Witness(_) => "is-witness",
            Self::Author(_) => "not-its-author",
            Self::Epochs => "epoch-by-change",
        }
    }
}

impl Vouch {
    /// Manager `by`, with the signing key `key` and this copy of the registry, stands for a change. `seen` is how far its log
    /// was applied, and `proposal` the id of the proposal.
    pub fn sign(
        key: &SigningKey,
        by: ManagerId,
        (cluster, epoch): (ClusterId, EpochId),
        seen: MapVersion,
        proposal: u128,
        change: &Change,
    ) -> Self {
        let signature = key.sign(LABEL, &message(cluster, by, epoch, seen, proposal, change));
        Self { by, epoch, seen, signature }
    }

    fn verify(&self, state: &State, index: u64, proposal: u128, change: &Change) -> Result<(), VouchError> {
        let manager = state.manager(self.by).ok_or(VouchError::NotMember(self.by))?;
        let cluster = state.cluster().ok_or(VouchError::NotMember(self.by))?;
        let signed = message(cluster, self.by, self.epoch, self.seen, proposal, change);
        if !manager.signing_key.verifies(LABEL, &signed, &self.signature) {
            return Err(VouchError::Signature(self.by));
        }
        let current = state.epoch().id();
        if self.epoch != current {
            return Err(VouchError::Epoch { given: self.epoch, current });
        }
        // A copy can't go further than the log that it comes from.
        if index.checked_sub(self.seen.0).is_none_or(|since| since > GOOD_FOR) {
            return Err(VouchError::Stale);
        }
        may(manager, change, state)
    }
}

/// As [`carry_out`](super::carry_out), of a change that came as a proposal with this id: only if a manager that may do so
/// stands for it. The first change of a cluster has nobody yet who could.
pub fn carry_out_vouched(
    state: &State,
    index: u64,
    proposal: u128,
    change: &Change,
    vouch: Option<&Vouch>,
) -> Result<Carried, Refusal> {
    check_vouch(state, index, proposal, change, vouch)?;
    carry_out_for(state, index, change, vouch.map(|vouch| vouch.by))
}

/// Whether [`carry_out_vouched`] would get as far as the change itself.
pub fn check_vouch(
    state: &State,
    index: u64,
    proposal: u128,
    change: &Change,
    vouch: Option<&Vouch>,
) -> Result<(), VouchError> {
    match (state.cluster(), &change.command) {
        (None, _) => Ok(()),
        (_, Command::Bootstrap(_)) => Ok(()),
        _ => vouch.ok_or(VouchError::Missing)?.verify(state, index, proposal, change),
    }
}

fn message(
    cluster: ClusterId,
    by: ManagerId,
    epoch: EpochId,
    seen: MapVersion,
    proposal: u128,
    change: &Change,
) -> Vec<u8> {
    // It fails only on what has no length, and a change has none of that.
    postcard::to_stdvec(&(cluster, by, epoch, seen, proposal, change)).unwrap_or_default()
}

fn may(manager: &Manager, change: &Change, state: &State) -> Result<(), VouchError> {
    let own = parts(&change.command).map(of_manager);
    if own.clone().any(|of| matches!(of, Of::Nobody)) {
        return Err(VouchError::Epochs);
    }
    if own.clone().any(|of| matches!(of, Of::Itself(id) if id != manager.id)) {
        return Err(VouchError::Author(manager.id));
    }
    let is_its_own = match change.by.who {
        Who::Cluster => true,
        Who::Manager(id) | Who::Local { manager: id, .. } => id == manager.id,
        Who::User { .. } | Who::ApiToken { .. } | Who::Endpoint(_) | Who::Newcomer if !manager.is_full() => {
            return Err(VouchError::Witness(manager.id));
        }
        Who::User { user, session } => state.session(session).is_some_and(|session| session.user == user),
        Who::ApiToken { token, user } => state.api_token(token).is_some_and(|token| token.user == user),
        Who::Endpoint(id) => state.endpoint(id).is_some(),
        Who::Newcomer => true,
    };
    if !is_its_own {
        return Err(VouchError::Author(manager.id));
    }
    let speaks_for_itself = |of: Of| matches!(of, Of::Itself(id) | Of::Leaving(id) if id == manager.id);
    if manager.is_full() || own.clone().all(speaks_for_itself) { Ok(()) } else { Err(VouchError::Witness(manager.id)) }
}

/// The commands that a command is made of.
fn parts(command: &Command) -> std::slice::Iter<'_, Command> {
    match command {
        Command::Batch(parts) => parts.iter(),
        command => std::slice::from_ref(command).iter(),
    }
}

/// Who may stand for a command besides what is said of its author.
enum Of {
    /// Every full manager.
    Full,
    /// This manager alone: it is about what only that manager knows of itself.
    Itself(ManagerId),
    /// Every full manager, and this one.
    Leaving(ManagerId),
    /// No manager.
    Nobody,
}

const fn of_manager(command: &Command) -> Of {
    match command {
        Command::RenewManager(command) => Of::Itself(command.manager),
        Command::AnnounceProgram(command) => Of::Itself(command.manager),
        Command::RotateManagerKey(command) => Of::Itself(command.manager),
        Command::RotateSealKey(command) => Of::Itself(command.manager),
        Command::RemoveManager(id) => Of::Leaving(*id),
        Command::BeginEpoch(_) => Of::Nobody,
        _ => Of::Full,
    }
}
