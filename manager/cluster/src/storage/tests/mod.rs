//! The storage on disks that work and on disks that fail.

mod audit;
mod damage;
mod power;
mod restart;
mod seed;
mod slow;

use std::time::Duration;

use festoon_control::registry::{AddNetwork, Bootstrap, Command, DEFAULT_MTU, FORMAT, ManagerRole, ManagerSpec, Vouch};
use festoon_proto::map::MapVersion;
use festoon_proto::{ClusterId, Fingerprint, ManagerId, PublicKey, SigningKey};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId};
use tokio::sync::watch;

use super::*;
use crate::testing::{FaultyDisk, audit_on};
use crate::types::{Proposal, ProposalId, TypeConfig};

// The suite numbers its members.
impl From<u64> for MemberId {
    fn from(number: u64) -> Self {
        Self { manager: ManagerId(number as u16), incarnation: 0 }
    }
}

/// Builds a store on a new disk, for each test of openraft's suite.
struct NewDisk;

impl StoreBuilder<TypeConfig, LogStore, Machine, Labels> for NewDisk {
    async fn build(&self) -> Result<(Labels, LogStore, Machine), openraft::StorageError<MemberId>> {
        let storage = open(&FaultyDisk::default(), Execution::Threads).await.unwrap();
        Ok((storage.labels, storage.log, storage.machine))
    }
}

#[test]
fn passes_the_suite_of_openraft() {
    Suite::test_all(NewDisk).unwrap();
}

/// With an audit log that nobody reads.
async fn open(disk: &FaultyDisk, execution: Execution) -> Result<Storage, StorageError> {
    open_both(disk, &FaultyDisk::default(), execution).await
}

async fn open_both(disk: &FaultyDisk, audit: &FaultyDisk, execution: Execution) -> Result<Storage, StorageError> {
    let database = redb::Builder::new().set_cache_size(1 << 20).create_with_backend(disk.backend())?;
    Storage::open(database, audit_on(audit), execution).await
}

/// Lets the last writes happen, and the disk be let go.
async fn close(disk: &FaultyDisk, storage: Storage) {
    drop(storage);
    while disk.is_open() {
        tokio::task::yield_now().await;
    }
}

/// As in a simulation.
fn inline() -> Execution {
    Execution::Inline(watch::channel(Duration::ZERO).1)
}

pub(super) fn log_id(term: u64, index: u64) -> LogId<MemberId> {
    LogId::new(CommittedLeaderId::new(term, MemberId::from(1)), index)
}

fn entry(term: u64, index: u64, command: Command) -> Entry<TypeConfig> {
    let (id, change) = (ProposalId((term as u128) << 64 | index as u128), command.into());
    let seen = MapVersion(index.saturating_sub(1));
    let vouch = Vouch::sign(&signing_key(), ManagerId(1), (CLUSTER, EpochId::FIRST), seen, id.0, &change);
    let proposal = Proposal { id, change, vouch: Some(vouch) };
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(proposal) }
}

const CLUSTER: ClusterId = ClusterId([7; 16]);

pub(super) fn signing_key() -> SigningKey {
    SigningKey::from_seed([1; 32])
}

pub(super) fn bootstrap() -> Command {
    let key = PublicKey::from_bytes([1; 32]);
    let (underlay, https) = (vec![([192, 0, 2, 1], 51820).into()], vec![([192, 0, 2, 1], 8443).into()]);
    let manager = ManagerSpec {
        name: "m1".into(),
        role: ManagerRole::Full,
        public_key: key,
        seal_key: None,
        signing_key: signing_key().verifying_key(),
        tls_key: Fingerprint([0; 32]),
        underlay,
        https,
        priority: 0,
        format: FORMAT,
    };
    Command::Bootstrap(Bootstrap { cluster: CLUSTER, manager })
}

pub(super) fn network(number: u64) -> Command {
    let prefix = format!("10.{}.{}.0/24", number >> 8 & 0xff, number & 0xff).parse().unwrap();
    Command::AddNetwork(AddNetwork { name: format!("network-{number}"), prefixes: vec![prefix], mtu: DEFAULT_MTU })
}

/// A log of a bootstrap and networks.
fn commands(indexes: std::ops::Range<u64>) -> Vec<Entry<TypeConfig>> {
    indexes.map(|index| entry(1, index, if index == 0 { bootstrap() } else { network(index) })).collect()
}
