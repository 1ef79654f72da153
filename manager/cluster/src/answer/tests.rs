//! A witness that lies: what it sends as a member, and as the leader of a later term that it claims to be.

use festoon_control::registry::{Author, Change, ManagerRole, ManagerSpec, State, Vouch, Who};
use festoon_proto::map::MapVersion;
use festoon_proto::{EpochId, ManagerId, SigningKey};
use openraft::raft::{AppendEntriesRequest, InstallSnapshotRequest};
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, SnapshotMeta, StoredMembership, Vote};

use super::*;
use crate::compare::tests::{CLUSTER, Wire, member, network, signing_key, spec, state_with, two};
use crate::storage::snapshot::Contents;
use crate::transfer::Heading;
use crate::types::{MemberId, Proposal, ProposalId, TypeConfig};

const WITNESS: u16 = 2;

fn registry(name: &str) -> State {
    let witness = ManagerSpec { role: ManagerRole::Witness, seal_key: None, underlay: Vec::new(), ..spec(2) };
    state_with(name, witness)
}

/// What the first manager answers to the witness.
async fn ask(first: &Cluster<Wire>, request: Request) -> Answer {
    let (from, to) = (member(WITNESS), first.network.me);
    let envelope = Envelope { epoch: EpochId::FIRST, proof: None, from, to, request };
    decode(&first.answer(ManagerId(WITNESS), &encode(&envelope)).await).unwrap()
}

fn later_vote(first: &Cluster<Wire>) -> Vote<MemberId> {
    Vote::new_committed(first.raft.metrics().borrow().current_term + 1, member(WITNESS))
}

/// A registry of the liar's own, at a later place of the log.
fn forged(first: &Cluster<Wire>) -> (Vec<u8>, SnapshotMeta<MemberId, openraft::EmptyNode>) {
    let vote = later_vote(first);
    let last = LogId::new(CommittedLeaderId::new(vote.leader_id.term, member(WITNESS)), 1_000_000);
    let membership = Arc::clone(&first.raft.metrics().borrow().membership_config);
    let contents = Contents {
        last_applied: Some(last),
        membership: StoredMembership::clone(&membership),
        state: Arc::new(registry("forged")),
        ..Contents::default()
    };
    let meta = SnapshotMeta {
        last_log_id: Some(last),
        last_membership: contents.membership.clone(),
        snapshot_id: "forged".to_owned(),
    };
    (contents.encode().unwrap(), meta)
}

async fn send_snapshot(first: &Cluster<Wire>, by: u16, key: &SigningKey) -> Answer {
    let (bytes, meta) = forged(first);
    let heading = Heading::sign((ManagerId(by), key), &[], (CLUSTER, EpochId::FIRST), meta.clone(), &bytes);
    let part = InstallSnapshotRequest { vote: later_vote(first), meta, offset: 0, data: bytes, done: true };
    ask(first, Request::Snapshot(Box::new(heading), part)).await
}

fn is_untouched(first: &Cluster<Wire>) -> bool {
    let state = first.snapshot();
    state.network_named("n").is_some() && state.networks().count() == 1
}

#[tokio::test(start_paused = true)]
async fn a_registry_of_its_own_making_is_not_taken() {
    let [first, _second] = two([registry("n"), registry("n")]).await;
    for (by, with) in [(WITNESS, 2), (1, 2), (1, 1)] {
        let answer = send_snapshot(&first, by, &signing_key(with)).await;
        assert!(matches!(answer, Answer::Rejected(Rejection::Unsigned)), "by {by} with the key of {with}: {answer:?}");
    }
    assert!(is_untouched(&first));
}

/// A change in the name of another, which the witness stands for, or which nobody does.
fn proposals(state: &State) -> Vec<Proposal> {
    let (seen, id) = (state.version(), ProposalId(7));
    let change = Change { by: Author { who: Who::Manager(ManagerId(1)), from: None }, ..network("forged").into() };
    let sign = |by: u16, key: u8| {
        let (cluster, epoch) = (CLUSTER, EpochId::FIRST);
        Vouch::sign(&signing_key(key), ManagerId(by), (cluster, epoch), MapVersion(seen.0), id.0, &change)
    };
    let vouches = [None, Some(sign(WITNESS, 2)), Some(sign(1, 2))];
    vouches.map(|vouch| Proposal { id, change: change.clone(), vouch }).to_vec()
}

#[tokio::test(start_paused = true)]
async fn entries_of_its_own_making_come_to_nothing() {
    let [first, _second] = two([registry("n"), registry("n")]).await;
    for proposal in proposals(&first.snapshot()) {
        let propose = Request::Propose { proposal: Box::new(proposal), attempt: 1, is_again: true };
        drop(ask(&first, propose).await);
        assert!(is_untouched(&first));
    }
    let vote = later_vote(&first);
    let last = first.raft.metrics().borrow().last_applied;
    let index = last.map_or(0, |last| last.index);
    let leader = CommittedLeaderId::new(vote.leader_id.term, member(WITNESS));
    let entries: Vec<Entry<TypeConfig>> = (index + 1..)
        .zip(proposals(&first.snapshot()))
        .map(|(index, proposal)| Entry {
            log_id: LogId::new(leader, index),
            payload: EntryPayload::Normal(Proposal { id: ProposalId(u128::from(index)), ..proposal }),
        })
        .collect();
    let leader_commit = entries.last().map(|entry| entry.log_id);
    let taken = ask(&first, Request::Append(AppendEntriesRequest { vote, prev_log_id: last, entries, leader_commit }));
    let taken = taken.await;
    assert!(matches!(taken, Answer::Append(_)), "it may say what the end of the log is: {taken:?}");
    let mut metrics = first.raft.metrics();
    let carried_out = metrics.wait_for(|metrics| metrics.last_applied >= leader_commit);
    tokio::time::timeout(std::time::Duration::from_secs(5), carried_out).await.unwrap().unwrap();
    assert!(is_untouched(&first));
}
