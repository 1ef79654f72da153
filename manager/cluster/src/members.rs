//! Raft's membership follows the registry.
//!
//! Whoever is a manager in the registry should vote, whoever is none should not take part: the leader compares the two
//! and takes one step after the other, first learners, then all who have caught up together by one joint change (Raft
//! section 6). Nothing of it is remembered anywhere, so a new leader goes on where the last one was lost.
//!
//! Only a manager that is removed loses its vote *before* the registry loses it: the others know where it listens only from
//! there, and of two managers both must agree to that. See [`dismiss`].
//!
//! One task, on every member; it acts only while its member leads. It may be dropped at any time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use festoon_control::registry::State;
use festoon_proto::ManagerId;
use openraft::error::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, EmptyNode, Membership, Raft, RaftMetrics, Vote};
use tokio::sync::{Mutex, watch};

use crate::silence::Silence;
use crate::types::{MemberId, TypeConfig};

/// Entries that a learner may lag behind to become a voter. The log goes on while it catches up.
const LAG: u64 = 64;

/// How long after a failed step the next is tried.
const RETRY: Duration = Duration::from_millis(200);

/// Who holds it changes the members, and nobody else on this one does. Between the vote of a manager that is removed and its
/// record nothing must give it its vote back: such a change would outlast the removal, and could never end without that manager.
pub(crate) type Turn = Arc<Mutex<()>>;

/// What a call of openraft gives; `None` if this member ceases to lead before. Then it may never give anything: what a snapshot
/// takes the place of is neither carried out nor thrown away.
pub(crate) async fn while_leading<A>(raft: &Raft<TypeConfig>, call: impl Future<Output = A>) -> Option<A> {
    let mut metrics = raft.metrics();
    let vote = metrics.borrow().vote;
    tokio::select! {
        biased;
        answer = call => Some(answer),
        _ = metrics.wait_for(|now| now.vote != vote) => None,
    }
}

/// Takes the vote of a manager away that is being removed, before the registry is told to remove it. For the leader, which is
/// not the one, and whose turn it is. Returns whether it has none: a change of the voters that another leader has begun may lead
/// elsewhere.
pub(crate) async fn dismiss(
    raft: &Raft<TypeConfig>,
    state: &State,
    manager: ManagerId,
) -> Result<bool, RaftError<MemberId, ClientWriteError<MemberId, EmptyNode>>> {
    let stay = staying(raft, state, manager);
    let has_vote = raft.metrics().borrow().membership_config.voter_ids().any(|voter| voter.manager == manager);
    if stay.is_empty() || !has_vote {
        return Ok(true);
    }
    let written = raft.change_membership(ChangeMembers::ReplaceAllVoters(stay), true).await?;
    Ok(written.membership.is_some_and(|now| now.voter_ids().all(|voter| voter.manager != manager)))
}

/// The voters that stay when a manager goes.
pub(crate) fn staying(raft: &Raft<TypeConfig>, state: &State, manager: ManagerId) -> BTreeSet<MemberId> {
    voters_without(manager, raft.metrics().borrow().membership_config.membership(), &wanted(state))
}

/// Without those that began anew, as who they were: they have a vote until the leader has seen to that, and nobody uses it.
fn voters_without(
    manager: ManagerId,
    membership: &Membership<MemberId, EmptyNode>,
    wanted: &BTreeSet<MemberId>,
) -> BTreeSet<MemberId> {
    membership.voter_ids().filter(|voter| voter.manager != manager && wanted.contains(voter)).collect()
}

/// One change of the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// A manager gets a copy of the log.
    Learn(MemberId),
    /// These are to vote, and nobody else.
    Vote(BTreeSet<MemberId>),
    /// These get nothing any more.
    Forget(BTreeSet<MemberId>),
}

/// The members that a registry wants.
pub(crate) fn wanted(state: &State) -> BTreeSet<MemberId> {
    state.managers().map(|manager| MemberId { manager: manager.id, incarnation: manager.incarnation }).collect()
}

/// The next step towards `wanted`; `None` when there is nothing to do, or nothing yet.
fn next_step(
    wanted: &BTreeSet<MemberId>,
    membership: &Membership<MemberId, EmptyNode>,
    may_vote: impl Fn(MemberId) -> bool,
) -> Option<Step> {
    let nodes: BTreeSet<MemberId> = membership.nodes().map(|(id, _)| *id).collect();
    let voters: BTreeSet<MemberId> = membership.voter_ids().collect();
    if let Some(newcomer) = wanted.difference(&nodes).next() {
        return Some(Step::Learn(*newcomer));
    }
    let may_vote = |id: &MemberId| voters.contains(id) || may_vote(*id);
    let ready: BTreeSet<MemberId> = wanted.iter().copied().filter(may_vote).collect();
    // A leader that was lost may have left the change half done.
    let is_joint = membership.get_joint_config().len() > 1;
    if !ready.is_empty() && (ready != voters || is_joint) {
        return Some(Step::Vote(ready));
    }
    let gone: BTreeSet<MemberId> = nodes.difference(wanted).copied().filter(|id| !voters.contains(id)).collect();
    (!gone.is_empty()).then_some(Step::Forget(gone))
}

/// How much was in the log of a leader when it began to lead.
type Inherited = Option<(Vote<MemberId>, u64)>;

/// Keeps the membership as the registry wants it, for as long as this member runs.
pub(crate) async fn follow(
    raft: Raft<TypeConfig>,
    mut states: watch::Receiver<Arc<State>>,
    (turn, silence): (Turn, Silence),
) {
    let (mut metrics, mut inherited) = (raft.metrics(), None);
    loop {
        let turn = turn.lock().await;
        // A change would be a sign of life. Nothing announces the end of the silence, and by then another leads most likely, so
        // that nothing is late here.
        if silence.is_on() {
            drop(turn);
            tokio::time::sleep(RETRY).await;
            continue;
        }
        let step = {
            let metrics = metrics.borrow_and_update();
            due(&states.borrow_and_update(), &metrics, &mut inherited)
        };
        if let Some(step) = step {
            tracing::info!(?step, "the membership of the registry's consensus changes");
            let taken = while_leading(&raft, take(&raft, step)).await;
            drop(turn);
            if let Some(Err(error)) = taken {
                tracing::info!(%error, "the membership did not change yet");
                // Nothing announces that it would succeed now, and at once it would fail again.
                tokio::time::sleep(RETRY).await;
            }
            continue;
        }
        drop(turn);
        let ended = tokio::select! {
            biased;
            changed = metrics.changed() => changed.is_err(),
            changed = states.changed() => changed.is_err(),
        };
        if ended {
            return;
        }
    }
}

/// What the leader has to do now.
fn due(state: &State, metrics: &RaftMetrics<MemberId, EmptyNode>, inherited: &mut Inherited) -> Option<Step> {
    let progress = metrics.replication.as_ref()?;
    if !has_carried_out(metrics, inherited) {
        return None;
    }
    let last = metrics.last_log_index.unwrap_or(0);
    let may_vote =
        |id: MemberId| progress.get(&id).copied().flatten().is_some_and(|matched| matched.index + LAG >= last);
    // Before the bootstrap there is nobody in the registry, and one member.
    let wanted = wanted(state);
    if wanted.is_empty() { None } else { next_step(&wanted, metrics.membership_config.membership(), may_vote) }
}

/// Whether the leader has carried out all that it began with: somebody may have been removed in it.
fn has_carried_out(metrics: &RaftMetrics<MemberId, EmptyNode>, inherited: &mut Inherited) -> bool {
    let (_, log) = match *inherited {
        Some(inherited) if inherited.0 == metrics.vote => inherited,
        _ => *inherited.insert((metrics.vote, metrics.last_log_index.unwrap_or(0))),
    };
    metrics.last_applied.is_some_and(|applied| applied.index >= log)
}

async fn take(
    raft: &Raft<TypeConfig>,
    step: Step,
) -> Result<(), RaftError<MemberId, ClientWriteError<MemberId, EmptyNode>>> {
    match step {
        Step::Learn(id) => raft.add_learner(id, EmptyNode {}, false).await.map(drop),
        Step::Vote(voters) => raft.change_membership(ChangeMembers::ReplaceAllVoters(voters), false).await.map(drop),
        // They need not have heard of it: whoever gets nothing any more asks.
        Step::Forget(gone) => raft.change_membership(ChangeMembers::RemoveNodes(gone), false).await.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use festoon_proto::ManagerId;
    use openraft::{CommittedLeaderId, LogId};

    use super::*;

    fn ids(numbers: &[u16]) -> BTreeSet<MemberId> {
        numbers.iter().map(|&number| MemberId { manager: ManagerId(number), incarnation: 0 }).collect()
    }

    fn membership(configs: &[&[u16]], learners: &[u16]) -> Membership<MemberId, EmptyNode> {
        let voters = configs.iter().map(|config| ids(config)).collect::<Vec<_>>();
        let all = voters.iter().flatten().copied().chain(ids(learners));
        Membership::new(voters.clone(), all.map(|id| (id, EmptyNode {})).collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn a_cluster_grows_and_shrinks_step_by_step() {
        let one = |number: u16| MemberId { manager: ManagerId(number), incarnation: 0 };
        for (wanted, configs, learners, caught_up, step) in [
            (&[1][..], &[&[1][..]][..], &[][..], &[][..], None),
            (&[1, 2, 3], &[&[1]], &[], &[], Some(Step::Learn(one(2)))),
            (&[1, 2, 3], &[&[1]], &[2], &[2], Some(Step::Learn(one(3)))),
            (&[1, 2, 3], &[&[1]], &[2, 3], &[], None),
            (&[1, 2, 3], &[&[1]], &[2, 3], &[3], Some(Step::Vote(ids(&[1, 3])))),
            (&[1, 2, 3], &[&[1]], &[2, 3], &[2, 3], Some(Step::Vote(ids(&[1, 2, 3])))),
            // Half done by a leader that was lost.
            (&[1, 2, 3], &[&[1], &[1, 2, 3]], &[], &[], Some(Step::Vote(ids(&[1, 2, 3])))),
            // A learner that is dead must not keep another from leaving.
            (&[1, 2, 9], &[&[1, 2, 3]], &[9], &[], Some(Step::Vote(ids(&[1, 2])))),
            (&[2], &[&[1, 2]], &[], &[], Some(Step::Vote(ids(&[2])))),
            (&[1, 2], &[&[1, 2]], &[7, 8], &[], Some(Step::Forget(ids(&[7, 8])))),
        ] {
            let caught_up = ids(caught_up);
            let next = next_step(&ids(wanted), &membership(configs, learners), |id| caught_up.contains(&id));
            assert_eq!(next, step, "{wanted:?} of {configs:?} and {learners:?}");
        }
    }

    #[test]
    fn a_leader_changes_nobody_before_it_has_carried_out_what_it_began_with() {
        let mut metrics = RaftMetrics::new_initial(MemberId::default());
        let mut inherited = None;
        let mut has = |term, last, applied| {
            metrics.vote = Vote::new_committed(term, MemberId::default());
            metrics.last_log_index = Some(last);
            metrics.last_applied = Some(LogId::new(CommittedLeaderId::new(1, MemberId::default()), applied));
            has_carried_out(&metrics, &mut inherited)
        };
        assert!(!has(1, 7, 5));
        assert!(!has(1, 9, 6));
        assert!(has(1, 9, 7), "the rest it has written itself");
        assert!(!has(2, 12, 9));
        assert!(has(2, 15, 12));
    }

    #[test]
    fn who_began_anew_does_not_stay_as_who_it_was() {
        let before = MemberId { manager: ManagerId(2), incarnation: 0 };
        let wanted = ids(&[1, 3]).into_iter().chain([MemberId { incarnation: 1, ..before }]).collect();
        for configs in [&[&[1, 2, 3][..]][..], &[&[1, 2, 3], &[1, 3]]] {
            assert_eq!(voters_without(ManagerId(3), &membership(configs, &[]), &wanted), ids(&[1]), "{configs:?}");
        }
        assert_eq!(voters_without(ManagerId(3), &membership(&[&[1, 2, 3]], &[]), &ids(&[1, 2, 3])), ids(&[1, 2]));
    }

    #[test]
    fn a_manager_that_began_anew_replaces_itself() {
        let before = MemberId { manager: ManagerId(2), incarnation: 0 };
        let after = MemberId { incarnation: 1, ..before };
        let wanted = ids(&[1, 3]).into_iter().chain([after]).collect();
        let now = membership(&[&[1, 2, 3]], &[]);
        assert_eq!(next_step(&wanted, &now, |_| false), Some(Step::Learn(after)));
    }
}
