//! What snapshots of a large cluster cost in time.

use std::time::{Duration, Instant};

use festoon_cluster::storage::{Execution, Label, Seed, seed};
use festoon_proto::{Fingerprint, ManagerId, PrivateKey, VerifyingKey};

use super::testing::{NOW, cluster, vault, with_recipient};
use super::{Archive, NewManager, Reason, read, restore, take};
use crate::vault::{RecoveryKey, SealKey};

/// Without optimisation a tenth says as much and takes a tenth of the time.
const MANY: u64 = if cfg!(debug_assertions) { 10_000 } else { 100_000 };

const LIMIT: Duration = Duration::from_secs(10);

#[expect(clippy::disallowed_methods, reason = "time is what is measured")]
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    println!("{what}: {} ms with {MANY} endpoints", start.elapsed().as_millis());
    assert!(start.elapsed() < LIMIT, "{what}");
    done
}

#[test]
fn a_large_cluster_is_saved_and_restored_within_seconds() {
    let key = RecoveryKey::generate();
    let state = with_recipient(cluster(MANY), &key.recipient());
    let root = tempfile::tempdir().unwrap();
    let archive = Archive::new(root.path().join("kept"), 1);
    let entry = timed("create", || {
        let file = take(state.clone(), ManagerId(1), &vault(1), NOW).unwrap();
        archive.put(ManagerId(1), NOW, Reason::Schedule, &file).unwrap()
    });
    println!("{} bytes", entry.bytes);
    let new = NewManager {
        name: "m1".to_owned(),
        public_key: PrivateKey::from_bytes([90; 32]).public_key(),
        seal_key: SealKey::new(PrivateKey::from_bytes([91; 32])),
        signing_key: VerifyingKey([92; 32]),
        tls_key: Fingerprint([93; 32]),
        underlay: vec![([192, 0, 2, 90], 51820).into()],
        https: vec![([192, 0, 2, 90], 8443).into()],
        priority: 7,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let restored = timed("restore", || {
        let content = read(&archive.read(&entry.name).unwrap(), &key).unwrap();
        let restored = restore(content, &new, &super::testing::recovery(), NOW).unwrap();
        let label = Label {
            cluster: restored.state.cluster().unwrap(),
            member: restored.member,
            epoch: restored.state.epoch().id(),
        };
        let database = crate::cluster::open(&root.path().join("registry.redb")).unwrap();
        runtime.block_on(seed(database, Execution::Threads, label, Seed::new(restored.state.clone()))).unwrap();
        restored
    });
    assert_eq!(restored.state.endpoints().count() as u64, MANY);
}
