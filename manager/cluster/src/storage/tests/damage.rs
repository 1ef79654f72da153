//! Bits that flip are noticed, and the error says where.

use festoon_control::registry::State;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _, Snapshot};
use openraft::{RaftLogReader as _, RaftSnapshotBuilder as _, Vote};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

/// A disk with a snapshot of the entries before 30, and a log of those from 20 to 50.
async fn written() -> FaultyDisk {
    let disk = FaultyDisk::default();
    let mut storage = open(&disk, inline()).await.unwrap();
    let label = Label { cluster: ClusterId([7; 16]), member: MemberId::from(3), epoch: EpochId::FIRST };
    storage.labels.set(label).await.unwrap();
    storage.log.save_vote(&Vote::new(4, MemberId::from(3))).await.unwrap();
    storage.log.blocking_append(commands(0..50)).await.unwrap();
    storage.machine.apply(commands(0..30)).await.unwrap();
    storage.machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    storage.log.purge(log_id(1, 19)).await.unwrap();
    close(&disk, storage).await;
    disk
}

type All = (Arc<State>, Vec<Entry<TypeConfig>>, Option<Vote<MemberId>>, Option<Label>);

async fn all(storage: &mut Storage) -> All {
    let state = Arc::clone(&storage.machine.contents().state);
    let log = storage.log.try_get_log_entries(..).await.unwrap();
    (state, log, storage.log.read_vote().await.unwrap(), storage.labels.get())
}

/// What is said of the disk when a bit of `bytes` flips, at each place where they stand.
async fn damage(disk: &FaultyDisk, bytes: &[u8]) -> Vec<String> {
    let mut errors = Vec::new();
    for place in disk.find(bytes) {
        let disk = disk.copy();
        disk.flip(place * 8);
        errors.extend(open(&disk, inline()).await.err().map(|error| error.to_string()));
    }
    errors
}

#[tokio::test]
async fn a_damaged_entry_is_named() {
    let disk = written().await;
    let errors = damage(&disk, b"network-40").await;
    assert!(errors.iter().any(|error| error.contains("damaged at log entry 40")), "{errors:?}");
    assert!(errors.iter().all(|error| error.contains("asks the others for another copy")), "{errors:?}");
}

#[tokio::test]
async fn a_damaged_snapshot_is_named() {
    let errors = damage(&written().await, b"network-10").await;
    assert!(errors.iter().any(|error| error.contains("its snapshot is damaged")), "{errors:?}");
}

#[tokio::test]
async fn whatever_bit_flips_nothing_wrong_is_read() {
    let disk = written().await;
    let mut random = StdRng::seed_from_u64(1);
    let good = all(&mut open(&disk.copy(), inline()).await.unwrap()).await;
    let mut noticed = 0;
    for _ in 0..500 {
        let bit = random.random_range(0..disk.len() * 8);
        let disk = disk.copy();
        disk.flip(bit);
        // redb panics over some pages that make no sense: a manager has its file checked by a process of its own first.
        match tokio::spawn(async move { open(&disk, inline()).await }).await {
            // It was one of a page that is not in use.
            Ok(Ok(mut storage)) => assert_eq!(all(&mut storage).await, good, "bit {bit}"),
            Ok(Err(_)) => noticed += 1,
            Err(failed) => noticed += u32::from(failed.is_panic()),
        }
    }
    assert!(noticed > 0);
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let disk = written().await;
    let database = redb::Builder::new().create_with_backend(disk.backend()).unwrap();
    tables::commit(&database, &[Change::record(Record::Format, &(FORMAT + 1)).unwrap()]).unwrap();
    drop(database);
    let error = open(&disk, inline()).await.err().unwrap().to_string();
    assert!(error.contains("a newer version of Festoon wrote the registry"), "{error}");
}

#[tokio::test]
async fn a_damaged_snapshot_from_the_leader_changes_nothing() {
    let mut leader = open(&FaultyDisk::default(), inline()).await.unwrap().machine;
    leader.apply(commands(0..10)).await.unwrap();
    let Snapshot { meta, mut snapshot } = leader.get_snapshot_builder().await.build_snapshot().await.unwrap();
    snapshot.get_mut()[100] ^= 1;
    let mut machine = open(&FaultyDisk::default(), inline()).await.unwrap().machine;
    machine.apply(commands(0..3)).await.unwrap();
    let before = machine.contents().clone();
    let error = machine.install_snapshot(&meta, snapshot).await.unwrap_err().to_string();
    assert!(error.contains("its snapshot is damaged"), "{error}");
    assert_eq!(machine.contents().state, before.state);
    assert_eq!(machine.contents().last_applied, before.last_applied);
    assert!(machine.get_current_snapshot().await.unwrap().is_none());
}

#[tokio::test]
async fn a_full_disk_stops_writing_and_keeps_what_was_written() {
    let disk = FaultyDisk::default();
    let mut storage = open(&disk, inline()).await.unwrap();
    storage.log.blocking_append(commands(0..5)).await.unwrap();
    disk.set_limit(Some(disk.len()));
    let mut next = 5;
    let error = loop {
        match storage.log.blocking_append(commands(next..next + 100)).await {
            Ok(()) => next += 100,
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("has room"), "{error}");
    disk.set_limit(None);
    let again = storage.log.save_vote(&Vote::new(1, MemberId::from(1))).await;
    assert!(again.is_err(), "nothing is written behind a write that failed");
    close(&disk, storage).await;
    let mut storage = open(&disk, inline()).await.unwrap();
    let kept = storage.log.try_get_log_entries(..).await.unwrap();
    assert_eq!(kept[..next as usize], commands(0..next));
}
