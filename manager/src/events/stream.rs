//! The stream as it is read: what is stored, with what the audit log says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use festoon_cluster::storage::{StorageError, Whole};
use festoon_control::registry::audit::Entry;
use festoon_events::{Cursor, Event, Filter, Place, Position, Source};
use tokio::sync::watch;

use super::audit;
use super::store::{Row, Store, StoreError};
use crate::cluster::Cluster;

/// Rows that are looked at in one go.
const PART: usize = 500;
/// Entries of the audit log with fewer between them are read together.
const CLOSE: u64 = 20;
/// Rows that are looked at for one page, whether they are wanted or not.
const MOST: usize = 20_000;

/// The events of the cluster, as this manager has them. A clone is the same.
#[derive(Debug, Clone)]
pub struct Events {
    pub(super) store: Arc<Store>,
    pub(super) cluster: Cluster,
    /// The part of the audit log that is whole.
    pub(super) trail: watch::Receiver<Option<Whole>>,
}

/// Some events, in order.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Each with its place and the cursor behind it.
    pub events: Vec<(Position, Event, Cursor)>,
    /// Where to go on, behind all that was looked at.
    pub next: Cursor,
    /// Whether all was looked at that there is now.
    pub is_last: bool,
}

/// Positions of the stream, in order, each with its event unless nobody has that any more.
pub type Rows = Vec<(Position, Option<Event>)>;

impl Events {
    /// Changes with every event.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.store.watch()
    }

    /// A cursor behind all there is now.
    pub async fn end(&self) -> Result<Cursor, StoreError> {
        self.on_disk(Store::told).await
    }

    /// At most `limit` events behind `after` that are `wanted`.
    pub async fn page(&self, after: Cursor, limit: usize, wanted: impl Fn(&Event) -> bool) -> Result<Page, StoreError> {
        let mut page = Page { next: after, ..Page::default() };
        for _ in 0..MOST / PART {
            let cursor = page.next.clone();
            let rows = self.on_disk(move |store| store.read(&cursor, PART)).await?;
            page.is_last = rows.len() < PART;
            // They are gone with the part in consensus that this manager had; another one has them soon.
            let entries = self.entries(&rows).await.unwrap_or_default();
            for (position, event) in self.whole(rows, &entries) {
                page.next.pass(position);
                if let Some(event) = event.filter(&wanted) {
                    page.events.push((position, event, page.next.clone()));
                    if page.events.len() == limit {
                        page.is_last = false;
                        return Ok(page);
                    }
                }
            }
            if page.is_last {
                break;
            }
        }
        Ok(page)
    }

    /// Changes when more of the audit log is whole, or may be.
    pub fn watch_whole(&self) -> watch::Receiver<Option<Whole>> {
        self.trail.clone()
    }

    /// At most `limit` positions behind `after`, in order, each with its event unless nobody has that any more. None if some
    /// can't be had now: the audit log of this manager is not whole yet.
    pub async fn rows(&self, after: Cursor, limit: usize) -> Result<Option<Rows>, StoreError> {
        let rows = self.on_disk(move |store| store.read(&after, limit)).await?;
        let whole = *self.trail.borrow();
        let state = self.cluster.snapshot();
        let began = state.epoch().began.map_or(0, |began| began.epoch.began_unix_ms);
        let mut audited = rows.iter().map(|row| row.position).filter(|position| position.source == Source::Audit);
        if audited.any(|position| is_to_come(position.place, whole, began)) {
            return Ok(None);
        }
        match self.entries(&rows).await {
            Ok(entries) => Ok(Some(self.whole(rows, &entries))),
            // They are gone with the part in consensus that this manager had; another one has them soon.
            Err(StorageError::Closed) => Ok(None),
            Err(error) => Err(StoreError::audit(&error)),
        }
    }

    /// What the audit log has of what they say.
    async fn entries(&self, rows: &[Row]) -> Result<Vec<Entry>, StorageError> {
        let audited = rows.iter().filter(|row| row.position.source == Source::Audit);
        let mut entries = Vec::new();
        for (first, last) in runs(audited.map(|row| row.position.place.number).collect()) {
            let count = usize::try_from(last - first).unwrap_or(MOST).min(MOST) + 1;
            entries.extend(self.cluster.audit(first.saturating_sub(1), count).await?);
        }
        Ok(entries)
    }

    /// Adds what the audit log says. An event is none if it does not say it any more.
    fn whole(&self, rows: Vec<Row>, entries: &[Entry]) -> Rows {
        let state = self.cluster.snapshot();
        let events = entries.iter().filter_map(|entry| audit::event(&state, entry));
        let mut entries: BTreeMap<_, _> =
            events.map(|(position, event)| (position.place.number, (position.place.life, event))).collect();
        let mut audited = |place: Place| {
            // An epoch that took entries back has others in their places; those from before it are as they were.
            let (_, event) = entries.remove(&place.number).filter(|(life, _)| *life == 0 || *life == place.life)?;
            Some(event)
        };
        let whole = rows.into_iter().map(|Row { position, event }| match position.source {
            Source::Audit => (position, audited(position.place)),
            Source::Manager(_) => (position, event),
        });
        whole.collect()
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || read(&store)).await.map_err(|_| StoreError::ended())?
    }
}

/// The first and the last of numbers that are so close that they are read in one go. Of an endpoint that caused very many events
/// those in between are gone.
fn runs(numbers: BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if number - *last <= CLOSE => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}

/// Whether the audit log of this manager, of which so much is whole in the epoch that began then, has an entry later only. An
/// earlier epoch may have had more entries than this one has: those never come again.
fn is_to_come(place: Place, whole: Option<Whole>, began: u64) -> bool {
    whole.is_none_or(|whole| place.number > whole.top.count && place.life >= began)
}

/// What a caller wants and may see.
pub(super) fn wanted(filter: Filter, may_see: impl Fn(&Event) -> bool) -> impl Fn(&Event) -> bool {
    move |event| filter.takes(event) && may_see(event)
}

#[cfg(test)]
mod tests {
    use festoon_control::registry::audit::Head;

    use super::*;

    #[test]
    fn entries_that_are_far_apart_are_read_apart() {
        assert_eq!(runs(BTreeSet::new()), []);
        assert_eq!(runs([5, 1, 3, 60_000, 60_020].into()), [(1, 5), (60_000, 60_020)]);
    }

    #[test]
    fn what_the_audit_log_does_not_have_yet_is_waited_for() {
        let whole = Some(Whole { top: Head { count: 7, ..Head::default() }, ..Whole::default() });
        let is_to_come = |life, number, whole| is_to_come(Place { life, number }, whole, 3);
        assert!(is_to_come(3, 7, None), "nothing is known yet");
        for (life, number, expected) in [(3, 7, false), (3, 8, true), (4, 8, true), (2, 8, false), (0, 8, false)] {
            assert_eq!(is_to_come(life, number, whole), expected, "{life} {number}");
        }
    }
}
