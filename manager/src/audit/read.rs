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

/// Entries that follow one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// They. None is left out between them.
    pub entries: Vec<Entry>,
    /// Whether the log goes on behind them.
    pub goes_on: bool,
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

/// What a manager has.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// All behind this are here, as far as is known.
    bottom: u64,
    /// Up to this the log need not have any, for it is only so long.
    floor: u64,
    /// The last entry of the registry.
    count: u64,
}

impl Reader {
    /// At most `limit` entries behind `after`; from the oldest that is here, if that is not said. Fails if the next is not
    /// here, unless the log is not to have it any more.
    pub async fn read(&self, after: Option<u64>, limit: usize) -> Result<Part, ReadError> {
        let kept = self.kept().await?;
        let start = kept.start(after)?;
        let part = |entries| kept.part(start, entries);
        match part(self.cluster.audit(start, limit).await?) {
            Err(ReadError::Behind { .. }) => part(self.written(start, limit).await?),
            read => read,
        }
    }

    /// The newest `most` entries behind `after`, as far as they are here. Fails if the last is not.
    pub async fn last(&self, after: u64, most: usize) -> Result<Part, ReadError> {
        let kept = self.kept().await?;
        let start = kept.count.saturating_sub(most as u64).max(after).max(kept.bottom);
        let end = |entries| kept.end(start, entries);
        match end(self.cluster.audit(start, most).await?) {
            Err(ReadError::Behind { .. }) => end(self.written(start, most).await?),
            read => read,
        }
    }

    /// The same once all is on disk that is in memory.
    async fn written(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StorageError> {
        self.cluster.audit_log().ok_or(StorageError::Closed)?.flush().await?;
        self.cluster.audit(after, limit).await
    }

    async fn kept(&self) -> Result<Kept, StorageError> {
        let mut whole = self.whole.clone();
        let known = whole.wait_for(Option::is_some);
        let known = tokio::time::timeout(PATIENCE, known).await.map(|known| known.ok().and_then(|known| *known));
        let bottom = known.ok().flatten().ok_or(StorageError::Closed)?.bottom.count;
        let count = self.cluster.snapshot().audited().count;
        Ok(Kept { bottom, floor: count.saturating_sub(AUDIT_KEPT), count })
    }
}

impl Kept {
    /// Behind which entry to read.
    fn start(self, after: Option<u64>) -> Result<u64, ReadError> {
        match after.map(|after| after.max(self.floor)) {
            Some(after) if after < self.bottom => Err(ReadError::Behind { first: after + 1, last: self.bottom }),
            _ => Ok(after.unwrap_or_default().max(self.bottom)),
        }
    }

    /// Of what was found behind `start`, what follows it.
    fn part(self, start: u64, mut entries: Vec<Entry>) -> Result<Part, ReadError> {
        let oldest = entries.first().map_or(start, |first| first.number.saturating_sub(1).min(self.floor));
        let start = start.max(oldest);
        let in_a_row =
            (start.saturating_add(1)..=u64::MAX).zip(&entries).take_while(|(number, entry)| *number == entry.number);
        let in_a_row = in_a_row.count();
        let next = entries.get(in_a_row).map_or(self.count, |next| next.number.saturating_sub(1));
        entries.truncate(in_a_row);
        let reached = entries.last().map_or(start, |last| last.number);
        let goes_on = reached < self.count;
        match entries.is_empty() && goes_on {
            true => Err(ReadError::Behind { first: reached + 1, last: next }),
            false => Ok(Part { entries, goes_on }),
        }
    }

    /// Of what was found behind `start`, what leads to the end of the log.
    fn end(self, start: u64, mut entries: Vec<Entry>) -> Result<Part, ReadError> {
        let reached = entries.last().map_or(start, |last| last.number);
        if reached < self.count {
            return Err(ReadError::Behind { first: reached + 1, last: self.count });
        }
        let backwards = (0..=reached).rev().zip(entries.iter().rev());
        let in_a_row = backwards.take_while(|(number, entry)| *number == entry.number).count();
        entries.drain(..entries.len() - in_a_row);
        Ok(Part { entries, goes_on: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(numbers: impl IntoIterator<Item = u64>) -> Vec<Entry> {
        numbers.into_iter().map(|number| Entry { number, line: String::new() }).collect()
    }

    /// The numbers and whether the log goes on, or what is missing.
    fn numbers(part: Result<Part, ReadError>) -> Result<(Vec<u64>, bool), (u64, u64)> {
        match part {
            Ok(part) => Ok((part.entries.iter().map(|entry| entry.number).collect(), part.goes_on)),
            Err(ReadError::Behind { first, last }) => Err((first, last)),
            Err(ReadError::Storage(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn whoever_goes_on_after_an_entry_is_told_if_the_next_is_missing() {
        for (after, bottom, floor, expected) in [
            (None, 0, 0, Ok(0)),
            (None, 700, 0, Ok(700)),
            (Some(0), 0, 0, Ok(0)),
            (Some(500), 700, 0, Err((501, 700))),
            (Some(700), 700, 0, Ok(700)),
            (Some(900), 700, 0, Ok(900)),
            // The log need not have older ones.
            (Some(0), 700, 700, Ok(700)),
            (Some(0), 700, 600, Err((601, 700))),
            (Some(0), 0, 800, Ok(0)),
            (Some(u64::MAX), 0, 0, Ok(u64::MAX)),
        ] {
            let found = Kept { bottom, floor, count: 10_000 }.start(after).map_err(|error| match error {
                ReadError::Behind { first, last } => (first, last),
                ReadError::Storage(error) => panic!("{error}"),
            });
            assert_eq!(found, expected, "{after:?} {bottom} {floor}");
        }
    }

    #[test]
    fn a_page_ends_at_a_gap_and_behind_it_the_gap_is_named() {
        let kept = |floor, count| Kept { bottom: 0, floor, count };
        let part = |kept: Kept, start, found: &[u64]| numbers(kept.part(start, entries(found.iter().copied())));
        assert_eq!(part(kept(0, 8), 3, &[4, 5, 7, 8]), Ok((vec![4, 5], true)));
        assert_eq!(part(kept(0, 8), 5, &[7, 8]), Err((6, 6)));
        assert_eq!(part(kept(0, 8), 6, &[7, 8]), Ok((vec![7, 8], false)));
        assert_eq!(part(kept(0, 8), 8, &[]), Ok((vec![], false)));
        assert_eq!(part(kept(0, 8), u64::MAX, &[]), Ok((vec![], false)));
        // A snapshot of the registry was taken over, and what led to it is not here yet.
        assert_eq!(part(kept(0, 10_500), 500, &[10_490, 10_491]), Err((501, 10_489)));
        assert_eq!(part(kept(0, 10_500), 500, &[]), Err((501, 10_500)));
        // The log is only so long, and is cut from time to time.
        assert_eq!(part(kept(700, 900), 0, &[601, 602]), Ok((vec![601, 602], true)));
        assert_eq!(part(kept(700, 900), 0, &[701, 702]), Ok((vec![701, 702], true)));
        assert_eq!(part(kept(700, 900), 0, &[703, 704]), Err((701, 702)));
    }

    #[test]
    fn the_newest_lead_to_the_end_of_the_log() {
        let end = |start, found: &[u64]| {
            numbers(Kept { bottom: 0, floor: 0, count: 8 }.end(start, entries(found.iter().copied())))
        };
        assert_eq!(end(5, &[6, 7, 8]), Ok((vec![6, 7, 8], false)));
        assert_eq!(end(3, &[4, 5, 7, 8]), Ok((vec![7, 8], false)));
        assert_eq!(end(3, &[4, 5, 6]), Err((7, 8)));
        assert_eq!(end(3, &[]), Err((4, 8)));
        assert_eq!(end(8, &[]), Ok((vec![], false)));
        assert_eq!(end(90, &[]), Ok((vec![], false)));
    }
}
