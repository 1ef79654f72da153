//! A registry that begins from a state instead of from nothing: a promoted copy, or a backup.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::Arc;

use festoon_control::registry::audit::Entry;
use festoon_control::registry::{
    Author, BeginEpoch, Carried, Change as Wanted, Command, Outcome, Refusal, RenewManager, State, UnixMs, carry_out,
};
use festoon_proto::epoch::EpochProof;
use openraft::{CommittedLeaderId, LogId, Membership, StoredMembership, Vote};
use redb::Database;

use super::disk::Disk;
use super::slot::{Meta, Slot};
use super::snapshot::Contents;
use super::tables::{Change, Record};
use super::{Execution, FORMAT, Label, StorageError, audit};
use crate::types::{MemberId, Proposal};

/// How far versions jump at least. Others may have gone on from the same state and told nodes of what they did; a version
/// must not mean two things, and nodes take no map that is older than the one they have.
const JUMP: u64 = 1 << 32;
/// Versions that an epoch has for every millisecond before the next can begin: more than anybody needs. So the versions of
/// an epoch that began later are higher, whatever was done in one that began from the same state.
const IN_A_MILLISECOND: u64 = 1 << 20;

/// The term that such a registry begins with. Nobody has an older log of it, so any would do.
const TERM: u64 = 1;

/// What a registry begins from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seed {
    /// The state.
    pub state: State,
    /// The last entries of its audit log, which may stand nowhere else yet.
    pub written: Vec<Entry>,
}

impl Seed {
    /// From a state of which all is written already.
    pub const fn new(state: State) -> Self {
        Self { state, written: Vec::new() }
    }

    /// Carries out a change at this place of the log. One that is refused changes nothing.
    pub fn add(&mut self, index: u64, change: &Wanted) -> Result<Outcome, Refusal> {
        carry_out(&self.state, index, change).map(|carried| self.take(carried))
    }

    /// The same with a proposal of the log: only if a manager that may do so stands for it.
    pub(crate) fn add_proposal(&mut self, index: u64, proposal: &Proposal) -> Result<Outcome, Refusal> {
        proposal.carry_out(&self.state, index).map(|carried| self.take(carried))
    }

    fn take(&mut self, carried: Carried) -> Outcome {
        let Carried { state, outcome, entries } = carried;
        self.state = state;
        self.written.extend(entries);
        outcome
    }
}

/// The place in the log of the first command that makes `state` the seed of an epoch which begins at `now`.
pub fn next_index(state: &State, now: UnixMs) -> u64 {
    state.version().0.saturating_add(JUMP).max(now.0.saturating_mul(IN_A_MILLISECOND))
}

/// What `member` goes on from alone, in the epoch that begins with `proof`, because `author` wants it.
pub fn next_epoch(seed: Seed, member: MemberId, proof: EpochProof, author: Author) -> Result<Seed, Refusal> {
    let mut seed = seed;
    let renew = RenewManager { manager: member.manager, incarnation: member.incarnation };
    let now = UnixMs(proof.epoch.began_unix_ms);
    let index = next_index(&seed.state, now);
    seed.add(index, &Wanted { at: now, by: author, ..Command::BeginEpoch(BeginEpoch { proof }).into() })?;
    seed.add(index + 1, &Wanted { at: now, ..Command::RenewManager(renew).into() })?;
    Ok(seed)
}

/// Begins a registry in an empty `database`: its only voter is the member of `label`. All of it is on disk and the database
/// closed when this returns; after a crash before that it is of no use. Must run inside tokio.
pub async fn seed(database: Database, execution: Execution, label: Label, seed: Seed) -> Result<(), StorageError> {
    seed_members(database, execution, label, [label.member].into(), seed).await
}

/// As [`seed`], with these voters: the first of them wrote the log so far.
pub(crate) async fn seed_members(
    database: Database,
    execution: Execution,
    label: Label,
    voters: BTreeSet<MemberId>,
    Seed { state, written }: Seed,
) -> Result<(), StorageError> {
    let writer = voters.first().copied().unwrap_or(label.member);
    let (disk, end) = Disk::start(ready(Ok(database)), execution);
    let vote: Vote<MemberId> = Vote::new(TERM, label.member);
    // Whoever opens the registry takes them from there into the audit log.
    disk.write(audit::rows(&written)).await?;
    disk.write(vec![
        Change::record(Record::Format, &FORMAT)?,
        Change::record(Record::Label, &label)?,
        Change::record(Record::Vote, &vote)?,
    ])
    .await?;
    let last = LogId::new(CommittedLeaderId::new(TERM, writer), state.version().0);
    let contents = Contents {
        last_applied: Some(last),
        membership: StoredMembership::new(Some(last), Membership::new(vec![voters], None)),
        state: Arc::new(state),
        ..Contents::default()
    };
    let meta = Meta {
        last_log_id: contents.last_applied,
        last_membership: contents.membership.clone(),
        snapshot_id: last.to_string(),
    };
    Slot::new(disk, None).put(&meta, &contents.encode()?).await?;
    // It fails only with the program.
    let _ = end.await;
    Ok(())
}
