//! The stream as it is read: what is stored, with what the audit log says.

use std::collections::BTreeMap;
use std::sync::Arc;

use festoon_control::registry::audit::Entry;
use festoon_events::{Cursor, Event, Filter, Place, Position, Source};
use tokio::sync::watch;

use super::audit;
use super::store::{Row, Store, StoreError};
use crate::cluster::Cluster;

/// Rows that are looked at in one go.
const PART: usize = 500;
/// Rows that are looked at for one page, whether they are wanted or not.
const MOST: usize = 20_000;

/// The events of the cluster, as this manager has them. A clone is the same.
#[derive(Debug, Clone)]
pub struct Events {
    pub(super) store: Arc<Store>,
    pub(super) cluster: Cluster,
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
            for (position, event) in self.whole(rows).await? {
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

    /// At most `limit` positions behind `after`, in order, each with its event unless nobody has that any more.
    pub async fn rows(&self, after: Cursor, limit: usize) -> Result<Vec<(Position, Option<Event>)>, StoreError> {
        let rows = self.on_disk(move |store| store.read(&after, limit)).await?;
        self.whole(rows).await
    }

    /// Adds what the audit log says. An event is none if it does not say it any more.
    async fn whole(&self, rows: Vec<Row>) -> Result<Vec<(Position, Option<Event>)>, StoreError> {
        let audited = rows.iter().filter(|row| row.position.source == Source::Audit);
        let numbers = audited.map(|row| row.position.place.number);
        let mut entries = BTreeMap::new();
        if let (Some(first), Some(last)) = (numbers.clone().min(), numbers.max()) {
            let count = usize::try_from(last - first).unwrap_or(MOST).min(MOST) + 1;
            // They are gone with the part in consensus that this manager had; another one has them soon.
            let read: Vec<Entry> = self.cluster.audit(first.saturating_sub(1), count).await.unwrap_or_default();
            let state = self.cluster.snapshot();
            let events = read.iter().filter_map(|entry| audit::event(&state, entry));
            entries.extend(events.map(|(position, event)| (position.place.number, (position.place.life, event))));
        }
        let mut audited = |place: Place| {
            // An epoch that took entries back has others in their places; those from before it are as they were.
            let (_, event) = entries.remove(&place.number).filter(|(life, _)| *life == 0 || *life == place.life)?;
            Some(event)
        };
        let whole = rows.into_iter().map(|Row { position, event }| match position.source {
            Source::Audit => (position, audited(position.place)),
            Source::Manager(_) => (position, event),
        });
        Ok(whole.collect())
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || read(&store)).await.map_err(|_| StoreError::ended())?
    }
}

/// What a caller wants and may see.
pub(super) fn wanted(filter: Filter, may_see: impl Fn(&Event) -> bool) -> impl Fn(&Event) -> bool {
    move |event| filter.takes(event) && may_see(event)
}
