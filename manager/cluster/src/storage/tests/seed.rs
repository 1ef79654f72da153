//! Registries that begin from a state.

use festoon_control::registry::{Author, State, UnixMs, apply};
use festoon_proto::epoch::{EpochProof, EpochSigner};
use openraft::storage::{RaftLogStorage as _, RaftStateMachine as _};

use super::*;

fn promoted(member: MemberId) -> Seed {
    let run = |state, entry: Entry<TypeConfig>| match entry.payload {
        EntryPayload::Normal(proposal) => apply(&state, entry.log_id.index, &proposal.change.command).unwrap().0,
        _ => state,
    };
    let state = commands(0..6).into_iter().fold(State::default(), run);
    let epoch = state.next_epoch(member.manager, UnixMs(7)).unwrap();
    let signer = (EpochSigner::Manager(ManagerId(1)), &signing_key());
    let goes_on_with = (member.manager, signing_key().verifying_key());
    let proof = EpochProof::sign(signer, CLUSTER, epoch, state.version(), goes_on_with);
    next_epoch(Seed::new(state), member, proof, Author::CLUSTER).unwrap()
}

#[tokio::test]
async fn a_seeded_registry_has_the_state_one_voter_and_versions_of_its_own() {
    let disk = FaultyDisk::default();
    let member = MemberId { manager: ManagerId(1), incarnation: 4 };
    let label = Label { cluster: ClusterId([7; 16]), member, epoch: EpochId::FIRST };
    let seed_of = promoted(member);
    let state = seed_of.state.clone();
    let database = redb::Builder::new().create_with_backend(disk.backend()).unwrap();
    seed(database, inline(), label, seed_of.clone()).await.unwrap();
    let mut storage = open(&disk, inline()).await.unwrap();
    assert_eq!(storage.labels.get(), Some(label));
    let (applied, membership) = storage.machine.applied_state().await.unwrap();
    assert_eq!(membership.membership().voter_ids().collect::<Vec<_>>(), [member]);
    assert_eq!(**storage.machine.watch().borrow(), state);
    assert!(state.version().0 > 1 << 32);
    storage.machine.audit().flush().await.unwrap();
    let written = storage.machine.audit().read(0, u64::MAX, 10).await.unwrap();
    assert_eq!(written, seed_of.written);
    assert_eq!(written.last().map(|last| last.number), Some(state.audited().count), "what began the epoch too");
    let log = storage.log.get_log_state().await.unwrap();
    assert_eq!((log.last_log_id, log.last_purged_log_id), (applied, applied));
    assert_eq!(applied.unwrap().index, state.version().0);
    // Or its first election would be of a term in which its log is written already.
    assert_eq!(storage.log.read_vote().await.unwrap().unwrap().leader_id.term, 1);
}
