//! What is written of changes is there after a restart, whether the log or a snapshot has them.

use festoon_control::registry::audit::{self, Entry, Head};
use openraft::RaftSnapshotBuilder as _;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _};
use tokio::sync::oneshot;

use super::*;

async fn read(storage: &Storage, after: u64, last: u64, limit: usize) -> Vec<Entry> {
    storage.machine.audit().read(after, last, limit).await.unwrap()
}

#[tokio::test]
async fn entries_survive_a_power_cut_or_are_made_again() {
    for seed in 0..50 {
        let (disk, beside) = (FaultyDisk::default(), FaultyDisk::default());
        let mut storage = open_both(&disk, &beside, inline()).await.unwrap();
        storage.log.blocking_append(commands(0..40)).await.unwrap();
        storage.machine.apply(commands(0..30)).await.unwrap();
        storage.machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
        storage.log.purge(log_id(1, 29)).await.unwrap();
        storage.machine.apply(commands(30..40)).await.unwrap();
        disk.cut_power(seed);
        beside.cut_power(seed);
        drop(storage);
        let mut storage = open_both(&disk, &beside, inline()).await.unwrap();
        // As openraft does with what is committed behind the snapshot.
        storage.machine.apply(commands(30..40)).await.unwrap();
        storage.machine.audit().flush().await.unwrap();
        let head = storage.machine.contents().state.audited();
        let all = read(&storage, 0, u64::MAX, 1000).await;
        let lines = all.iter().map(|entry| entry.line.as_str());
        assert_eq!(audit::verify(lines), Ok(Some((head.count, head.hash.to_string()))), "seed {seed}");
        assert_eq!(all.first().map(|entry| entry.number), Some(1), "seed {seed}");
        assert_eq!(read(&storage, 5, 20, 7).await, all[5..12]);
        assert_eq!(read(&storage, 5, 7, 7).await, all[5..7]);
        assert_eq!(read(&storage, head.count, u64::MAX, 7).await, []);
    }
}

#[tokio::test]
async fn the_chain_is_walked_back_to_its_beginning_and_takes_no_other_entry() {
    let mut storage = open(&FaultyDisk::default(), inline()).await.unwrap();
    storage.machine.apply(commands(0..20)).await.unwrap();
    storage.machine.audit().flush().await.unwrap();
    let head = storage.machine.contents().state.audited();
    let all = read(&storage, 0, u64::MAX, 1000).await;
    let walked = all.iter().rev().try_fold(head, Head::before);
    assert_eq!(walked, Some(Head::default()));
    let last = all.last().unwrap();
    let altered = Entry { line: last.line.replacen("network", "netw0rk", 1), ..last.clone() };
    assert_ne!(altered, *last);
    for other in [altered, all[all.len() - 2].clone(), Entry { number: 1, ..last.clone() }] {
        assert_eq!(head.before(&other), None, "{other:?}");
    }
}

#[tokio::test]
async fn the_registry_does_not_wait_for_its_file_but_a_snapshot_does() {
    let (disk, beside) = (FaultyDisk::default(), FaultyDisk::default());
    let database = redb::Builder::new().create_with_backend(disk.backend()).unwrap();
    let (open, opened) = oneshot::channel::<()>();
    let opening = audit_on(&beside);
    let slow = Box::pin(async move {
        opened.await.unwrap();
        opening.await
    });
    let mut storage = Storage::open(database, slow, inline()).await.unwrap();
    storage.log.blocking_append(commands(0..10)).await.unwrap();
    storage.machine.apply(commands(0..10)).await.unwrap();
    let mut builder = storage.machine.get_snapshot_builder().await;
    let built = tokio::spawn(async move { builder.build_snapshot().await });
    tokio::task::yield_now().await;
    assert!(!built.is_finished(), "its entries are nowhere on a disk yet");
    open.send(()).unwrap();
    built.await.unwrap().unwrap();
    let head = storage.machine.contents().state.audited();
    assert_eq!(read(&storage, 0, u64::MAX, 1000).await.len() as u64, head.count);
}
