//! What is there after a restart.

use festoon_control::registry::Refusal;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _};
use openraft::{RaftLogReader as _, RaftSnapshotBuilder as _, Vote};

use super::*;

#[tokio::test]
async fn the_log_the_vote_and_the_label_are_there_after_a_restart() {
    let disk = FaultyDisk::default();
    let label = Label { cluster: ClusterId([7; 16]), member: MemberId::from(3), epoch: EpochId::FIRST };
    let mut storage = open(&disk, inline()).await.unwrap();
    assert_eq!(storage.labels.get(), None);
    storage.labels.set(label).await.unwrap();
    storage.log.save_vote(&Vote::new(4, MemberId::from(3))).await.unwrap();
    storage.log.blocking_append(commands(0..5)).await.unwrap();
    storage.log.save_committed(Some(log_id(1, 3))).await.unwrap();
    storage.log.truncate(log_id(1, 4)).await.unwrap();
    close(&disk, storage).await;
    let mut storage = open(&disk, inline()).await.unwrap();
    assert_eq!(storage.labels.get(), Some(label));
    assert_eq!(storage.log.read_vote().await.unwrap(), Some(Vote::new(4, MemberId::from(3))));
    assert_eq!(storage.log.read_committed().await.unwrap(), Some(log_id(1, 3)));
    assert_eq!(storage.log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 3)));
    assert_eq!(storage.log.try_get_log_entries(..).await.unwrap(), commands(0..4));
}

#[tokio::test]
async fn the_state_is_the_last_snapshot_and_what_was_applied_behind_it() {
    let disk = FaultyDisk::default();
    let mut storage = open(&disk, inline()).await.unwrap();
    let states = storage.machine.watch();
    storage.machine.apply(commands(0..4)).await.unwrap();
    storage.machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let snapshot = storage.machine.contents().clone();
    assert_eq!(snapshot.state.networks().count(), 3);
    storage.machine.apply(commands(4..6)).await.unwrap();
    let last = Arc::clone(&states.borrow());
    close(&disk, storage).await;
    let mut storage = open(&disk, inline()).await.unwrap();
    assert_eq!(storage.machine.contents().last_applied, Some(log_id(1, 3)));
    assert_eq!(storage.machine.contents().recent, snapshot.recent);
    assert_eq!(*storage.machine.watch().borrow(), snapshot.state);
    storage.machine.apply(commands(4..6)).await.unwrap();
    assert_eq!(*storage.machine.watch().borrow(), last);
}

#[tokio::test]
async fn the_state_is_read_with_all_of_the_log_by_who_takes_no_part() {
    let disk = FaultyDisk::default();
    let mut storage = open(&disk, inline()).await.unwrap();
    storage.log.blocking_append(commands(0..6)).await.unwrap();
    storage.machine.apply(commands(0..4)).await.unwrap();
    storage.machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    storage.log.purge(log_id(1, 2)).await.unwrap();
    storage.machine.apply(commands(4..6)).await.unwrap();
    let last = Arc::clone(&storage.machine.watch().borrow());
    close(&disk, storage).await;
    let database = redb::Builder::new().create_with_backend(disk.backend()).unwrap();
    assert_eq!(read_state(database, inline()).await.unwrap(), last);
}

#[tokio::test]
async fn a_proposal_that_stands_in_the_log_twice_is_carried_out_once() {
    let mut machine = open(&FaultyDisk::default(), inline()).await.unwrap().machine;
    machine.apply(commands(0..1)).await.unwrap();
    let mut again = entry(1, 1, network(1));
    let first = machine.apply([again.clone()]).await.unwrap();
    assert!(matches!(first[0].result, Some(Ok(_))));
    let mut states = machine.watch();
    states.mark_unchanged();
    again.log_id.index = 2;
    assert_eq!(machine.apply([again]).await.unwrap(), first);
    assert!(!states.has_changed().unwrap());
    assert_eq!(machine.applied_state().await.unwrap().0, Some(log_id(1, 2)));
}

#[tokio::test]
async fn a_refused_command_is_answered_and_changes_nothing() {
    let mut machine = open(&FaultyDisk::default(), inline()).await.unwrap().machine;
    let mut states = machine.watch();
    let answers = machine.apply([entry(1, 0, network(1))]).await.unwrap();
    assert_eq!(answers, [crate::Applied { index: 0, result: Some(Err(Refusal::NoCluster)) }]);
    assert!(!states.has_changed().unwrap());
    machine.apply([entry(1, 1, bootstrap()), entry(1, 2, network(1))]).await.unwrap();
    assert!(states.has_changed().unwrap());
    assert_eq!(states.borrow_and_update().version().0, 2, "one state for the whole batch");
}

#[tokio::test]
async fn entries_behind_a_gap_wait_for_the_snapshot_that_fills_it() {
    let mut leader = open(&FaultyDisk::default(), inline()).await.unwrap();
    leader.machine.apply(commands(0..20)).await.unwrap();
    let snapshot = leader.machine.get_snapshot_builder().await.build_snapshot().await.unwrap();

    let disk = FaultyDisk::default();
    let Storage { mut log, mut machine, labels } = open(&disk, inline()).await.unwrap();
    log.blocking_append(commands(0..5)).await.unwrap();
    log.purge(log_id(1, 19)).await.unwrap();
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 19)));
    let mut reader = log.get_log_reader().await;
    let appending = tokio::spawn(async move { log.blocking_append(commands(20..22)).await });
    tokio::task::yield_now().await;
    assert_eq!(reader.try_get_log_entries(..).await.unwrap(), []);
    assert!(!appending.is_finished());
    machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    appending.await.unwrap().unwrap();
    assert_eq!(reader.try_get_log_entries(..).await.unwrap(), commands(20..22));
    drop((machine, reader, labels));
    tokio::task::yield_now().await;
    let mut storage = open(&disk, inline()).await.unwrap();
    assert_eq!(storage.log.try_get_log_entries(..).await.unwrap(), commands(20..22));
    assert_eq!(storage.machine.contents().last_applied, Some(log_id(1, 19)));
}

#[tokio::test]
async fn a_long_log_is_read_from_memory_and_from_disk() {
    let mut storage = open(&FaultyDisk::default(), inline()).await.unwrap();
    let end = tail::KEPT as u64 * 3;
    for start in (0..end).step_by(512) {
        storage.log.blocking_append(commands(start..start + 512)).await.unwrap();
    }
    let kept = end - tail::KEPT as u64;
    for range in [0..end, 0..1, kept - 1..kept + 1, kept..end, end - 1..end + 5, 100..100, end..end + 1] {
        let expected = commands(range.start..range.end.min(end));
        assert_eq!(storage.log.try_get_log_entries(range.clone()).await.unwrap(), expected, "{range:?}");
    }
    storage.log.truncate(log_id(1, 100)).await.unwrap();
    assert_eq!(storage.log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 99)));
    assert_eq!(storage.log.try_get_log_entries(98..).await.unwrap(), commands(98..100));
    storage.log.blocking_append(commands(100..103)).await.unwrap();
    assert_eq!(storage.log.try_get_log_entries(98..).await.unwrap(), commands(98..103));
}
