//! Power cuts at random moments: what was acknowledged is there afterwards, and the rest is whole or not there.

use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _, Snapshot};
use openraft::{RaftLogReader as _, RaftSnapshotBuilder as _, Vote};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

type Result<T> = std::result::Result<T, openraft::StorageError<MemberId>>;

/// What has to be on disk after some operation.
#[derive(Debug, Clone, Default, PartialEq)]
struct Expected {
    vote: Option<Vote<MemberId>>,
    purged: Option<LogId<MemberId>>,
    /// The log behind what was purged.
    log: Vec<Entry<TypeConfig>>,
    snapshot: Option<LogId<MemberId>>,
}

impl Expected {
    fn next(&self) -> u64 {
        self.log.last().map(|entry| entry.log_id).or(self.purged).map_or(0, |last| last.index + 1)
    }

    fn drop_until(&mut self, upto: LogId<MemberId>) {
        self.purged = self.purged.max(Some(upto));
        self.log.retain(|entry| entry.log_id.index > upto.index);
    }

    /// Whether a disk may look like this when it should look like `self`. Entries may still be there though they were purged.
    fn allows(&self, found: &Self) -> bool {
        let from = self.purged.map_or(0, |purged| purged.index + 1);
        let log = found.log.iter().filter(|entry| entry.log_id.index >= from);
        self.vote == found.vote && self.snapshot == found.snapshot && found.purged <= self.purged && log.eq(&self.log)
    }
}

/// A member, what was asked of it, and what it acknowledged.
struct Member {
    random: StdRng,
    storage: Storage,
    /// First what was acknowledged last, then what was asked for since.
    expected: Vec<Expected>,
    /// A leader with all entries that are committed.
    leader: Machine,
}

impl Member {
    fn last(&self) -> &Expected {
        &self.expected[self.expected.len() - 1]
    }

    fn expect(&mut self, change: impl FnOnce(&mut Expected)) {
        let mut next = self.last().clone();
        change(&mut next);
        self.expected.push(next);
    }

    fn acknowledged(&mut self) {
        self.expected.drain(..self.expected.len() - 1);
    }

    async fn operate(&mut self) -> Result<()> {
        match self.random.random_range(0..10) {
            0 => self.vote().await?,
            1 => self.truncate().await?,
            2 | 3 => self.snapshot().await?,
            4 => self.catch_up().await?,
            _ => self.append().await?,
        }
        self.acknowledged();
        Ok(())
    }

    async fn vote(&mut self) -> Result<()> {
        let term = self.last().vote.map_or(0, |vote| vote.leader_id.term) + 1;
        let vote = Vote::new(term, MemberId::from(self.random.random_range(1..4)));
        self.expect(|expected| expected.vote = Some(vote));
        self.storage.log.save_vote(&vote).await
    }

    async fn append(&mut self) -> Result<()> {
        let next = self.last().next();
        let entries = commands(next..next + self.random.random_range(1..6));
        self.expect(|expected| expected.log.extend(entries.clone()));
        self.storage.log.blocking_append(entries).await
    }

    /// Removes entries that are not committed.
    async fn truncate(&mut self) -> Result<()> {
        let (committed, next) = (self.committed(), self.last().next());
        if next <= committed {
            return Ok(());
        }
        let since = log_id(1, self.random.random_range(committed..next));
        self.expect(|expected| expected.log.retain(|entry| entry.log_id < since));
        self.storage.log.truncate(since).await
    }

    /// Commits and applies a part of the log, makes a snapshot and purges another part.
    async fn snapshot(&mut self) -> Result<()> {
        let applied = self.storage.machine.contents().last_applied.map_or(0, |last| last.index + 1);
        let next = self.last().next();
        let end = self.committed().max(applied + 1);
        if next < end {
            return Ok(());
        }
        let end = self.random.random_range(end..=next);
        let entries = self.storage.log.try_get_log_entries(applied..end).await?;
        assert_eq!(entries, commands(applied..end));
        self.storage.log.save_committed(Some(log_id(1, end - 1))).await?;
        self.storage.machine.apply(entries).await?;
        self.commit(end).await?;
        self.expect(|expected| expected.snapshot = Some(log_id(1, end - 1)));
        self.storage.machine.get_snapshot_builder().await.build_snapshot().await?;
        self.acknowledged();
        let upto = log_id(1, self.random.random_range(0..end));
        self.expect(|expected| expected.drop_until(upto));
        self.storage.log.purge(upto).await
    }

    /// Gets a snapshot from the leader, and entries behind it while it is still being installed.
    async fn catch_up(&mut self) -> Result<()> {
        let end = self.last().next().max(self.committed()) + self.random.random_range(1..20);
        self.commit(end).await?;
        let Snapshot { meta, snapshot } = self.leader.get_snapshot_builder().await.build_snapshot().await?;
        let upto = log_id(1, end - 1);
        self.expect(|expected| {
            expected.snapshot = Some(upto);
            expected.drop_until(upto);
        });
        let entries = commands(end..end + self.random.random_range(1..4));
        self.expect(|expected| expected.log.extend(entries.clone()));
        let Storage { log, machine, .. } = &mut self.storage;
        log.purge(upto).await?;
        let (installed, appended) =
            tokio::join!(machine.install_snapshot(&meta, snapshot), log.blocking_append(entries));
        installed.and(appended)
    }

    /// Entries before `end` are committed.
    async fn commit(&mut self, end: u64) -> Result<()> {
        self.leader.apply(commands(self.committed()..end)).await.map(drop)
    }

    /// The first index that is not committed.
    fn committed(&self) -> u64 {
        self.leader.contents().last_applied.map_or(0, |last| last.index + 1)
    }

    /// Sees that the disk has what it must have.
    async fn check(&mut self, seed: u64) {
        let log = &mut self.storage.log;
        let found = Expected {
            vote: log.read_vote().await.unwrap(),
            purged: log.get_log_state().await.unwrap().last_purged_log_id,
            log: log.try_get_log_entries(..).await.unwrap(),
            snapshot: self.storage.machine.contents().last_applied,
        };
        let (expected, possible) = (&self.expected, |expected: &&Expected| expected.allows(&found));
        let expected = expected.iter().rev().find(possible);
        let expected =
            expected.unwrap_or_else(|| panic!("seed {seed}: found {found:?}, expected one of {:?}", self.expected));
        assert!(found.purged <= found.snapshot, "seed {seed}: nothing is lost between the snapshot and the log");
        assert!(log.read_committed().await.unwrap() <= self.leader.contents().last_applied);
        self.expected = vec![expected.clone()];
        let next = found.snapshot.map_or(0, |last| last.index + 1);
        let mut reference = open(&FaultyDisk::default(), inline()).await.unwrap().machine;
        reference.apply(commands(0..next)).await.unwrap();
        assert_eq!(reference.contents().state, self.storage.machine.contents().state, "seed {seed}");
    }
}

/// Opens the storage, though the power may go while it is being opened.
async fn open_at_last(disk: &FaultyDisk, random: &mut StdRng) -> Storage {
    loop {
        let before = disk.power_cuts();
        disk.cut_power_after(random.random_range(0..60), random.random());
        match open(disk, inline()).await {
            Ok(storage) => return storage,
            Err(error) => assert!(disk.power_cuts() > before, "{error}"),
        }
    }
}

/// Operates a member until the power goes, as often as it is told.
async fn survives(seed: u64, power_cuts: u64) {
    let disk = FaultyDisk::default();
    let leader = open(&FaultyDisk::default(), inline()).await.unwrap().machine;
    // Whoever makes a database has to see to it that no half of one is ever opened: redb does not.
    let storage = open(&disk, inline()).await.unwrap();
    let mut member =
        Member { random: StdRng::seed_from_u64(seed), storage, expected: vec![Expected::default()], leader };
    for _ in 0..power_cuts {
        let before = disk.power_cuts();
        disk.cut_power_after(member.random.random_range(0..120), member.random.random());
        while disk.power_cuts() == before {
            let operated = member.operate().await;
            assert!(operated.is_ok() || disk.power_cuts() > before, "seed {seed}: {operated:?}");
        }
        member.storage = open_at_last(&disk, &mut member.random).await;
        member.check(seed).await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_power_cuts() {
    for seed in 0..100 {
        survives(seed, 4).await;
    }
}

/// The disk above is worth nothing if it never loses anything.
#[tokio::test]
async fn the_faulty_disk_loses_what_was_not_synced() {
    use redb::StorageBackend as _;
    let survivors = |seed| {
        let disk = FaultyDisk::default();
        let backend = disk.backend();
        backend.set_len(4096).unwrap();
        backend.write(0, &[1; 2048]).unwrap();
        backend.sync_data().unwrap();
        backend.write(0, &[2; 4096]).unwrap();
        disk.cut_power(seed);
        assert!(backend.sync_data().is_err(), "whoever had the disk has lost it");
        let mut bytes = [0; 4096];
        disk.backend().read(0, &mut bytes).unwrap();
        let sectors = bytes.chunks(512).map(|sector| sector[0]).collect::<Vec<_>>();
        assert!(bytes.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])), "sectors are whole");
        sectors
    };
    let all: Vec<_> = (0..50).map(survivors).collect();
    assert!(all.contains(&vec![1, 1, 1, 1, 0, 0, 0, 0]), "all of it is lost");
    assert!(all.contains(&vec![2; 8]), "nothing of it is lost");
    assert!(all.iter().any(|found| found.contains(&1) && found.contains(&2)), "it is torn");
}
