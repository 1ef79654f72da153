//! The registry in memory: what the log says, as immutable states.
//!
//! It is on disk as a snapshot and the entries of the log behind it; after a start openraft applies those again.

use std::io::Cursor;
use std::sync::Arc;

use festoon_control::registry::audit::Entry as AuditEntry;
use festoon_control::registry::{Carried, Outcome, Refusal, State};
use festoon_proto::Fingerprint;
use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{
    EmptyNode, Entry, EntryPayload, ErrorSubject, ErrorVerb, LogId, RaftSnapshotBuilder, SnapshotMeta, StoredMembership,
};
use tokio::sync::watch;

use super::disk::Disk;
use super::slot::{Meta, Slot};
use super::snapshot::{Contents, SnapshotError};
use super::{AuditLog, Execution, StorageError};
use crate::compare::{Comparison, ROUND};
use crate::types::{Applied, MemberId, Proposal, TypeConfig};

type RaftError = openraft::StorageError<MemberId>;

/// The state machine of a member, for openraft.
pub struct Machine {
    contents: Contents,
    published: watch::Sender<Arc<State>>,
    /// The state at the last round place of the log, if one was passed since the start.
    round: watch::Sender<Arc<State>>,
    witness: Option<Witness>,
    slot: Arc<Slot>,
    disk: Disk,
    audit: AuditLog,
}

/// Is told of each place of the log that a member is about to carry out, and of the proposal that stands there, if one does.
pub type Witness = Box<dyn Fn(u64, Option<&Proposal>) + Send + Sync>;

/// Makes a snapshot of what the machine had when the builder was made.
pub struct Builder {
    contents: Contents,
    slot: Arc<Slot>,
    disk: Disk,
    audit: AuditLog,
}

impl Machine {
    pub(super) fn new(disk: Disk, audit: AuditLog, slot: Arc<Slot>, contents: Contents) -> Self {
        let published = watch::Sender::new(Arc::clone(&contents.state));
        Self { contents, published, round: watch::Sender::default(), witness: None, slot, disk, audit }
    }

    /// The state, and every later one.
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.published.subscribe()
    }

    /// What is written of changes.
    pub fn audit(&self) -> AuditLog {
        self.audit.clone()
    }

    /// From now on `witness` is told what is carried out. It must be quick.
    pub fn tell(&mut self, witness: Witness) {
        self.witness = Some(witness);
    }

    /// While there is no copy of a registry, only the change with this fingerprint is taken for its beginning.
    pub fn expect(&mut self, founding: Option<Fingerprint>) {
        if self.contents.state.cluster().is_none() {
            self.contents.state = Arc::new(State::before(founding));
            self.publish();
        }
    }

    /// Where work is done that may block.
    pub(crate) const fn execution(&self) -> &Execution {
        self.disk.execution()
    }

    /// What can be compared with other members.
    pub(crate) fn comparison(&self) -> Comparison {
        Comparison::new(self.watch(), self.round.subscribe(), self.disk.execution().clone())
    }

    /// What it has.
    #[cfg(test)]
    pub(super) const fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Tells of the state, if it is another than the last one that was told of.
    fn publish(&self) {
        let state = &self.contents.state;
        self.published.send_if_modified(|published| {
            let is_new = !Arc::ptr_eq(published, state);
            *published = Arc::clone(state);
            is_new
        });
    }

    fn carry_out(&mut self, entry: Entry<TypeConfig>, written: &mut Vec<AuditEntry>) -> Applied {
        let index = entry.log_id.index;
        if let Some(witness) = &self.witness {
            let proposal = if let EntryPayload::Normal(proposal) = &entry.payload { Some(proposal) } else { None };
            witness(index, proposal);
        }
        let applied = self.contents.apply(entry, written);
        if index.is_multiple_of(ROUND) {
            self.round.send_replace(Arc::clone(&self.contents.state));
        }
        applied
    }

    async fn install(&mut self, meta: Meta, bytes: Vec<u8>) -> Result<(), StorageError> {
        let decode = move || Ok((Contents::decode(&bytes)?, bytes));
        let (contents, bytes) = self.disk.execution().run(decode).await?;
        if contents.last_applied != meta.last_log_id || contents.membership != meta.last_membership {
            return Err(SnapshotError::Mismatch.into());
        }
        // Entries that only this member has in memory may be lost with their log: who sent the snapshot has them.
        self.slot.put(&meta, &bytes).await?;
        if contents.last_applied > self.contents.last_applied {
            self.contents = contents;
            // It shares nothing with the new state, and would keep all of the old one in memory.
            self.round.send_replace(Arc::default());
            self.publish();
        }
        Ok(())
    }
}

impl Contents {
    pub(super) fn apply(&mut self, entry: Entry<TypeConfig>, audit: &mut Vec<AuditEntry>) -> Applied {
        let index = entry.log_id.index;
        self.last_applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Applied { index, result: None },
            EntryPayload::Normal(proposal) => self.answer(index, &proposal, audit),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                Applied { index, result: None }
            }
        }
    }

    /// Carries a proposal out, unless it was before.
    fn answer(&mut self, index: u64, proposal: &Proposal, audit: &mut Vec<AuditEntry>) -> Applied {
        if let Some(answer) = self.recent.answer(proposal.id) {
            return answer.clone();
        }
        let answer = Applied { index, result: Some(self.change(index, proposal, audit)) };
        self.recent.remember(proposal.id, answer.clone());
        answer
    }

    fn change(&mut self, index: u64, proposal: &Proposal, audit: &mut Vec<AuditEntry>) -> Result<Outcome, Refusal> {
        let Carried { state, outcome, entries } = proposal.carry_out(&self.state, index)?;
        self.state = Arc::new(state);
        audit.extend(entries);
        Ok(outcome)
    }
}

impl Builder {
    async fn build(&self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let contents = self.contents.clone();
        let encode = move || Ok(contents.encode()?);
        let bytes = self.disk.execution().run(encode).await?;
        let meta = SnapshotMeta {
            last_log_id: self.contents.last_applied,
            last_membership: self.contents.membership.clone(),
            // The same place in the log gives the same bytes on every member.
            snapshot_id: self.contents.last_applied.map(|last| last.to_string()).unwrap_or_default(),
        };
        // They could not be made again from the log that the snapshot takes the place of.
        self.audit.flush().await?;
        self.slot.put(&meta, &bytes).await?;
        Ok(snapshot(meta, bytes))
    }
}

fn snapshot(meta: Meta, bytes: Vec<u8>) -> Snapshot<TypeConfig> {
    Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }
}

fn on_snapshot(verb: ErrorVerb) -> impl FnOnce(StorageError) -> RaftError {
    move |error| error.into_raft(ErrorSubject::Snapshot(None), verb)
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, RaftError> {
        self.build().await.map_err(on_snapshot(ErrorVerb::Write))
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<MemberId>>, StoredMembership<MemberId, EmptyNode>), RaftError> {
        Ok((self.contents.last_applied, self.contents.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>, RaftError>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + Send,
        I::IntoIter: Send,
    {
        let mut written = Vec::new();
        let applied = entries.into_iter().map(|entry| self.carry_out(entry, &mut written)).collect();
        self.audit.add(&written).map_err(|error| error.into_raft(ErrorSubject::StateMachine, ErrorVerb::Write))?;
        self.publish();
        Ok(applied)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let Self { contents, slot, disk, audit, .. } = self;
        Builder { contents: contents.clone(), slot: Arc::clone(slot), disk: disk.clone(), audit: audit.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, RaftError> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Box<Cursor<Vec<u8>>>) -> Result<(), RaftError> {
        let installed = self.install(meta.clone(), snapshot.into_inner()).await;
        if installed.is_err() {
            self.slot.give_up();
        }
        installed.map_err(on_snapshot(ErrorVerb::Write))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, RaftError> {
        let found = self.slot.get().await.map_err(on_snapshot(ErrorVerb::Read))?;
        Ok(found.map(|(meta, bytes)| snapshot(meta, bytes)))
    }
}
