//! What is written of changes is there after a restart, whether the log or a snapshot has them.

use festoon_control::registry::audit::{self, Entry};
use openraft::RaftSnapshotBuilder as _;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _};

use super::*;

async fn read(storage: &Storage, after: u64, limit: usize) -> Vec<Entry> {
    storage.log.audit().read(after, limit).await.unwrap()
}

#[tokio::test]
async fn entries_survive_a_power_cut_or_are_made_again() {
    for seed in 0..50 {
        let disk = FaultyDisk::default();
        let mut storage = open(&disk, inline()).await.unwrap();
        storage.log.blocking_append(commands(0..40)).await.unwrap();
        storage.machine.apply(commands(0..30)).await.unwrap();
        storage.machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
        storage.log.purge(log_id(1, 29)).await.unwrap();
        storage.machine.apply(commands(30..40)).await.unwrap();
        disk.cut_power(seed);
        drop(storage);
        let mut storage = open(&disk, inline()).await.unwrap();
        // As openraft does with what is committed behind the snapshot.
        storage.machine.apply(commands(30..40)).await.unwrap();
        storage.log.flusher().flush().await.unwrap();
        let head = storage.machine.contents().state.audited();
        let all = read(&storage, 0, 1000).await;
        let lines = all.iter().map(|entry| entry.line.as_str());
        assert_eq!(audit::verify(lines), Ok(Some((head.count, head.hash.to_string()))), "seed {seed}");
        assert_eq!(all.first().map(|entry| entry.number), Some(1), "seed {seed}");
        assert_eq!(read(&storage, 5, 7).await, all[5..12]);
        assert_eq!(read(&storage, head.count, 7).await, []);
    }
}
