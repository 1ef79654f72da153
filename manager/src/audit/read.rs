//! The audit log for whoever asks for it: never with a gap that does not show.

use std::time::Duration;

use festoon_cluster::storage::{AUDIT_KEPT, StorageError, Whole};
use festoon_control::registry::audit::Entry;
use tokio::sync::watch;

use crate::cluster::Cluster;

/// How long a manager that has just started may take to find out what it has.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the part of the audit log that is whole.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(super) cluster: Cluster,
    pub(super) whole: watch::Receiver<Option<Whole>>,
}

/// Entries can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They are not here.
    #[error(
        "entries {first} to {last} of the audit log are not on this manager, which gets them from the others: ask again, or ask another manager; if none has them any more, go on after {last}"
    )]
    Behind {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// The disk fails, or is not known yet.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Reader {
    /// At most `limit` entries behind `after`; from the oldest that is here, if that is not said. None is left out between
    /// them, nor between `after` and the first unless the log is not to have those any more.
    pub async fn read(&self, after: Option<u64>, limit: usize) -> Result<Vec<Entry>, ReadError> {
        let whole = self.whole().await?;
        let count = self.cluster.snapshot().audited().count;
        let start = start(after, whole.bottom.count, count.saturating_sub(AUDIT_KEPT))?;
        let mut entries = self.cluster.audit(start, limit).await?;
        entries.truncate(in_a_row(start, &entries));
        if entries.is_empty() && start < whole.top.count {
            return Err(ReadError::Behind { first: start + 1, last: whole.top.count });
        }
        Ok(entries)
    }

    /// The newest `most` entries, as far as they are here and behind `after`. None is left out between them.
    pub async fn last(&self, after: u64, most: usize) -> Result<Vec<Entry>, ReadError> {
        let whole = self.whole().await?;
        let count = self.cluster.snapshot().audited().count;
        let start = count.saturating_sub(most as u64).max(after).max(whole.bottom.count);
        let mut entries = self.cluster.audit(start, most).await?;
        entries.truncate(in_a_row(start, &entries));
        Ok(entries)
    }

    async fn whole(&self) -> Result<Whole, StorageError> {
        let mut whole = self.whole.clone();
        let known = whole.wait_for(Option::is_some);
        let known = tokio::time::timeout(PATIENCE, known).await.map(|known| known.ok().and_then(|known| *known));
        known.ok().flatten().ok_or(StorageError::Closed)
    }
}

/// Behind which entry to read. All behind `bottom` are here; those up to `floor` are not kept.
fn start(after: Option<u64>, bottom: u64, floor: u64) -> Result<u64, ReadError> {
    match after {
        Some(after) if after.max(floor) < bottom => {
            Err(ReadError::Behind { first: after.max(floor) + 1, last: bottom })
        }
        after => Ok(after.unwrap_or_default().max(bottom)),
    }
}

/// How many of them follow `start` without a gap.
fn in_a_row(start: u64, entries: &[Entry]) -> usize {
    (start + 1..).zip(entries).take_while(|(number, entry)| *number == entry.number).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_goes_on_after_an_entry_is_told_if_the_next_is_missing() {
        for (after, bottom, floor, expected) in [
            (None, 0, 0, Ok(0)),
            (None, 700, 0, Ok(700)),
            (Some(0), 0, 0, Ok(0)),
            (Some(500), 700, 0, Err((501, 700))),
            (Some(700), 700, 0, Ok(700)),
            (Some(900), 700, 0, Ok(900)),
            // The log is not to have older ones.
            (Some(0), 700, 700, Ok(700)),
            (Some(0), 700, 600, Err((601, 700))),
            (Some(0), 700, 800, Ok(700)),
        ] {
            let found = start(after, bottom, floor).map_err(|error| match error {
                ReadError::Behind { first, last } => (first, last),
                ReadError::Storage(error) => panic!("{error}"),
            });
            assert_eq!(found, expected, "{after:?} {bottom} {floor}");
        }
    }

    #[test]
    fn a_page_ends_at_a_gap() {
        let entries: Vec<_> = [4, 5, 7, 8].map(|number| Entry { number, line: String::new() }).into();
        assert_eq!((in_a_row(3, &entries), in_a_row(2, &entries), in_a_row(9, &[])), (2, 0, 0));
    }
}
