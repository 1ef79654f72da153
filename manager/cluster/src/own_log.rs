//! The log of this manager beside openraft: read at the start, when its end is not certain, and when this manager's part
//! has ended.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use festoon_control::registry::{Command, State};
use openraft::{EntryPayload, RaftLogReader as _};

use crate::storage::{AuditLog, Flush, LogReader, Seed, StorageError};
use crate::types::{MemberId, Proposal};

/// A command of the log, and its place.
pub type Logged = (u64, Command);

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Commands, each with its place.
    pub commands: Vec<Logged>,
    /// Whether that is all: older ones have given way to a snapshot.
    pub is_whole: bool,
}

/// The way to the log. It keeps the disk open.
#[derive(Clone)]
pub(crate) struct OwnLog {
    pub(crate) reader: LogReader,
    pub(crate) flush: Flush,
    pub(crate) audit: AuditLog,
}

impl OwnLog {
    /// What `state` becomes if all that stands behind it in the log counts.
    pub(crate) async fn carry_out(&self, state: State) -> Result<Seed, openraft::StorageError<MemberId>> {
        // What stands between its version and the last command that was carried out was refused, and would be again.
        let rest = self.proposals(state.version().0 + 1).await?;
        let mut known = BTreeSet::new();
        let new = rest.into_iter().filter(|(_, proposal)| known.insert(proposal.id));
        let mut seed = Seed::new(state);
        for (index, proposal) in new {
            // What was refused is nothing now either.
            let _ = seed.add_proposal(index, &proposal);
        }
        Ok(seed)
    }

    /// The commands from `first` on.
    pub(crate) async fn tail(&self, first: u64) -> Result<Tail, openraft::StorageError<MemberId>> {
        let begins_at = self.reader.clone().try_get_log_entries(..).await?.first().map(|entry| entry.log_id.index);
        let proposals = self.proposals(first).await?;
        let commands = proposals.into_iter().map(|(index, proposal)| (index, proposal.change.command)).collect();
        Ok(Tail { commands, is_whole: begins_at.is_none_or(|begins_at| begins_at <= first) })
    }

    async fn proposals(&self, first: u64) -> Result<Vec<(u64, Proposal)>, openraft::StorageError<MemberId>> {
        let entries = self.reader.clone().try_get_log_entries(first..).await?;
        let proposal = |entry: openraft::Entry<_>| match entry.payload {
            EntryPayload::Normal(proposal) => Some((entry.log_id.index, proposal)),
            _ => None,
        };
        Ok(entries.into_iter().filter_map(proposal).collect())
    }

    /// All that was written is on disk when this returns.
    pub(crate) async fn flush(&self) -> Result<(), StorageError> {
        self.flush.flush().await
    }
}

/// The log, until this manager's part ends. A clone is the same one.
#[derive(Clone)]
pub(crate) struct UntilEnd(Arc<Mutex<Option<OwnLog>>>);

impl UntilEnd {
    pub(crate) fn new(log: OwnLog) -> Self {
        Self(Arc::new(Mutex::new(Some(log))))
    }

    /// The audit log, for a short while; none once this manager's part has ended.
    pub(crate) fn audit(&self) -> Option<AuditLog> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.as_ref().map(|log| log.audit.clone())
    }

    /// The log, for the one who ends this manager's part.
    pub(crate) fn take(&self) -> Option<OwnLog> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
