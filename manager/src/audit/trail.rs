//! The walk along the chain, from its end backwards.
//!
//! Task: [`Trail::run`]. It may be cancelled at any point: what was fetched is on disk, and the rest is asked for again.

use std::time::Duration;

use festoon_cluster::storage::{AUDIT_KEPT, AuditLog, StorageError, Whole};
use festoon_control::registry::audit::{Entry, Head};
use festoon_proto::ManagerId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::ask::{PART, ask};
use super::read::Reader;
use crate::cluster::{Cluster, Https};

/// How soon missing entries are asked for again; each time twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(600);

/// Makes the audit log of a manager whole.
#[derive(Debug)]
pub struct Trail {
    me: ManagerId,
    cluster: Cluster,
    managers: Https,
    whole: watch::Sender<Option<Whole>>,
}

impl Trail {
    /// The trail of manager `me`.
    pub fn new(me: ManagerId, cluster: Cluster, managers: Https) -> Self {
        Self { me, cluster, managers, whole: watch::Sender::new(None) }
    }

    /// The part that is whole, once that is known. Its top moves with the registry; its bottom is as old as can be had.
    pub fn watch(&self) -> watch::Receiver<Option<Whole>> {
        self.whole.subscribe()
    }

    /// Reads the part that is whole.
    pub fn reader(&self) -> Reader {
        Reader { cluster: self.cluster.clone(), whole: self.watch() }
    }

    /// Follows the registry. Ends with it.
    pub async fn run(self) {
        let mut states = self.cluster.watch();
        let mut pause = FIRST_PAUSE;
        let mut again = Instant::now();
        loop {
            let floor = states.borrow_and_update().audited().count.saturating_sub(AUDIT_KEPT);
            let is_due = Instant::now() >= again;
            let is_short = match self.walk(is_due).await {
                Ok(whole) => whole.bottom.count > floor,
                // This manager's part in consensus is being replaced, or its disk fails, which others say.
                Err(error) => {
                    tracing::debug!(%error, "the audit log can't be read");
                    true
                }
            };
            if is_due {
                again = Instant::now() + pause;
                pause = if is_short { (pause * 2).min(LAST_PAUSE) } else { FIRST_PAUSE };
            }
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return },
                () = sleep_until(again), if is_short => {}
            }
        }
    }

    /// Walks from the end of the chain to what was whole before, and, if that is due, on from where that ends.
    async fn walk(&self, is_due: bool) -> Result<Whole, StorageError> {
        // What the file says, for it may be another one than before.
        let known = self.log()?.whole().await?;
        let top = self.cluster.snapshot().audited();
        let reached = self.descend(top, Some(known.top)).await?;
        let mut bottom = if reached == known.top { known.bottom } else { reached };
        if reached == known.top && is_due {
            bottom = self.descend(bottom, None).await?;
        }
        let whole = Whole { bottom, top };
        if whole != known {
            self.log()?.note(&whole)?;
        }
        self.whole.send_if_modified(|told| told.replace(whole) != Some(whole));
        Ok(whole)
    }

    /// The audit log, for one look at it: whoever holds it keeps its file from whoever opens it next.
    fn log(&self) -> Result<AuditLog, StorageError> {
        self.cluster.audit_log().ok_or(StorageError::Closed)
    }

    /// Walks back from `at` until it comes to `end` or to the oldest entry that is kept, or nobody has the next. Gives
    /// where that is.
    async fn descend(&self, mut at: Head, end: Option<Head>) -> Result<Head, StorageError> {
        let floor = self.cluster.snapshot().audited().count.saturating_sub(AUDIT_KEPT);
        while at.count > floor && Some(at) != end {
            // Not past the place where it may end.
            let least = end.map_or(floor, |end| if end.count < at.count { end.count.max(floor) } else { floor });
            let after = at.count.saturating_sub(PART as u64).max(least);
            let before = at;
            at = self.part(at, after).await?;
            if at == before {
                break;
            }
        }
        Ok(at)
    }

    /// Walks back from `at` over entries behind `after`, on this disk or from others, and gives how far that went.
    async fn part(&self, at: Head, after: u64) -> Result<Head, StorageError> {
        let own = self.read(after, at.count).await?;
        let reached = back(at, &own);
        if reached != at {
            return Ok(reached);
        }
        let others: Vec<ManagerId> = self.cluster.snapshot().managers().map(|manager| manager.id).collect();
        for of in others.into_iter().filter(|id| *id != self.me) {
            let theirs = ask(&self.managers, of, after, at.count).await;
            let reached = back(at, &theirs);
            if reached != at {
                // Those before were not looked at.
                let proved = usize::try_from(at.count - reached.count).unwrap_or_default();
                self.log()?.fill(&theirs[theirs.len().saturating_sub(proved)..]).await?;
                return Ok(reached);
            }
        }
        Ok(at)
    }

    /// The entries behind `after` and up to `last` that are here, those in memory too.
    async fn read(&self, after: u64, last: u64) -> Result<Vec<Entry>, StorageError> {
        let log = self.log()?;
        let found = log.read(after, last, PART).await?;
        if found.last().is_some_and(|entry| entry.number == last) {
            return Ok(found);
        }
        log.flush().await?;
        log.read(after, last, PART).await
    }
}

/// Walks back from `at` over the last of these entries that belong to the chain.
fn back(at: Head, entries: &[Entry]) -> Head {
    let mut at = at;
    for entry in entries.iter().rev() {
        match at.before(entry) {
            Some(before) => at = before,
            None => break,
        }
    }
    at
}
