//! A disk that takes its time.

use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _};
use openraft::{RaftLogReader as _, RaftSnapshotBuilder as _, Vote};

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("within the limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_read_at_once_and_acknowledged_when_they_are_on_disk() {
    let disk = FaultyDisk::default();
    let Storage { mut log, .. } = open(&disk, Execution::Threads).await.unwrap();
    let mut reader = log.get_log_reader().await;
    disk.stall();
    let appending = tokio::spawn(async move { log.blocking_append(commands(0..3)).await });
    until(async || reader.try_get_log_entries(..).await.unwrap() == commands(0..3)).await;
    assert!(!appending.is_finished());
    disk.resume();
    appending.await.unwrap().unwrap();
    disk.cut_power(0);
    let mut storage = open(&disk, Execution::Threads).await.unwrap();
    assert_eq!(storage.log.try_get_log_entries(..).await.unwrap(), commands(0..3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_disk_shares_a_commit_and_keeps_its_order() {
    let disk = FaultyDisk::default();
    let Storage { log, mut labels, machine } = open(&disk, Execution::Threads).await.unwrap();
    disk.stall();
    let before = disk.syncs();
    let label = |epoch: u32| Label {
        cluster: ClusterId([7; 16]),
        member: MemberId::from(1),
        epoch: EpochId { began_unix_ms: 0, number: epoch, by: None },
    };
    let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
    for epoch in 0..50 {
        let change = Change::record(Record::Label, &label(epoch)).unwrap();
        let told = told.clone();
        labels.disk.submit(vec![change], Box::new(move |result| told.send((epoch, result.is_ok())).unwrap())).unwrap();
    }
    assert!(order.try_recv().is_err());
    disk.resume();
    for epoch in 0..50 {
        assert_eq!(order.recv().await, Some((epoch, true)));
    }
    let commits = disk.syncs() - before;
    assert!(commits <= 4, "{commits} syncs for 50 writes");
    labels.set(label(50)).await.unwrap();
    drop((log, machine, labels));
    disk.cut_power(0);
    assert_eq!(open(&disk, Execution::Threads).await.unwrap().labels.get(), Some(label(50)));
}

#[tokio::test(start_paused = true)]
async fn inline_the_disk_takes_the_time_that_it_is_told_to() {
    let (delay, delays) = watch::channel(Duration::ZERO);
    let mut storage = open(&FaultyDisk::default(), Execution::Inline(delays)).await.unwrap();
    delay.send(Duration::from_millis(700)).unwrap();
    let start = tokio::time::Instant::now();
    storage.log.save_vote(&Vote::new(1, MemberId::from(1))).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(700));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_on_disk_soon() {
    let disk = FaultyDisk::default();
    let mut storage = open(&disk, inline()).await.unwrap();
    storage.log.blocking_append(commands(0..2)).await.unwrap();
    let before = disk.syncs();
    storage.log.save_committed(Some(log_id(1, 1))).await.unwrap();
    tokio::time::sleep(disk::LAZY / 2).await;
    assert_eq!(disk.syncs(), before);
    tokio::time::sleep(disk::LAZY).await;
    assert_eq!(disk.syncs(), before + 1);
    disk.cut_power(0);
    let mut storage = open(&disk, inline()).await.unwrap();
    assert_eq!(storage.log.read_committed().await.unwrap(), Some(log_id(1, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_applied_while_a_snapshot_is_written() {
    let disk = FaultyDisk::default();
    let Storage { mut machine, .. } = open(&disk, Execution::Threads).await.unwrap();
    machine.apply(commands(0..10)).await.unwrap();
    disk.stall();
    let mut builder = machine.get_snapshot_builder().await;
    let building = tokio::spawn(async move { builder.build_snapshot().await });
    machine.apply(commands(10..20)).await.unwrap();
    assert_eq!(machine.watch().borrow().version().0, 19);
    assert!(!building.is_finished());
    disk.resume();
    let built = building.await.unwrap().unwrap();
    assert_eq!(built.meta.last_log_id, Some(log_id(1, 9)), "it is of what was there when it was asked for");
    assert_eq!(machine.get_current_snapshot().await.unwrap().unwrap().meta, built.meta);
}
