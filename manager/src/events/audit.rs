//! What the audit log tells.
//!
//! Task: [`follow`]. It may be cancelled at any point: what was not taken is there still.

use std::time::Duration;

use festoon_control::registry::State;
use festoon_control::registry::audit::Entry;
use festoon_events::{Cursor, Event, Place, Position, Source, of_entry};
use tokio::sync::mpsc;

use super::writer::Arrival;
use crate::cluster::Cluster;

/// Entries that are read at once.
pub(super) const PART: usize = 500;
/// Entries are on disk a little later than the state that has them.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Entries that an epoch of the registry may take back: those are looked at again.
const TAKEN_BACK: u64 = 1_000;

/// Tells what the audit log has behind `told`, and all that is added. Ends with the registry.
pub(super) async fn follow(cluster: Cluster, told: Cursor, keep: u64, arrivals: mpsc::Sender<Arrival>) {
    let mut states = cluster.watch();
    let last = told.get(Source::Audit).unwrap_or_default();
    let (mut number, mut life) = (last.number, last.life);
    let mut pause = FIRST_PAUSE;
    loop {
        let state = std::sync::Arc::clone(&states.borrow_and_update());
        let count = state.audited().count;
        let began = state.epoch().began.map_or(0, |began| began.at.0);
        if began > life {
            (life, number) = (began, number.min(count.saturating_sub(TAKEN_BACK)));
        }
        number = number.max(count.saturating_sub(keep));
        if number < count {
            let entries = cluster.audit(number, PART).await.unwrap_or_default();
            if let Some(last) = entries.last() {
                (number, pause) = (last.number, FIRST_PAUSE);
                let events = entries.iter().filter_map(|entry| event(&state, entry)).collect();
                if arrivals.send(Arrival::Numbered(events)).await.is_err() {
                    return;
                }
                continue;
            }
            // Those from before this manager's first copy may never come.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        } else if states.changed().await.is_err() {
            return;
        }
    }
}

/// An entry as an event, with its place.
pub(super) fn event(state: &State, entry: &Entry) -> Option<(Position, Event)> {
    let audited = of_entry(&entry.line).inspect_err(|error| tracing::error!(number = entry.number, %error)).ok()?;
    let began = state.epoch().began.filter(|began| audited.index > began.from.0);
    let place = Place { life: began.map_or(0, |began| began.at.0), number: entry.number };
    Some((Position { source: Source::Audit, place }, audited.event))
}
