//! What the audit log tells.
//!
//! Task: [`follow`]. It may be cancelled at any point: what was not taken is there still.

use festoon_cluster::storage::Whole;
use festoon_control::registry::State;
use festoon_control::registry::audit::Entry;
use festoon_events::{Cursor, Event, Place, Position, Source, of_entry};
use tokio::sync::{mpsc, watch};

use super::writer::Arrival;
use crate::cluster::Cluster;

/// Entries that are read at once.
pub(super) const PART: usize = 500;
/// Entries that an epoch of the registry may take back: those are looked at again.
const TAKEN_BACK: u64 = 1_000;

/// Tells what the audit log has behind `told`, and all that is added, as far as it is whole. Ends with the registry.
pub(super) async fn follow(
    cluster: Cluster,
    mut trail: watch::Receiver<Option<Whole>>,
    told: Cursor,
    keep: u64,
    arrivals: mpsc::Sender<Arrival>,
) {
    let last = told.get(Source::Audit).unwrap_or_default();
    let (mut number, mut life) = (last.number, last.life);
    loop {
        let Ok(whole) = trail.wait_for(Option::is_some).await.map(|whole| whole.unwrap_or_default()) else { return };
        trail.mark_unchanged();
        let state = cluster.snapshot();
        let began = state.epoch().began.map_or(0, |began| began.epoch.began_unix_ms);
        let count = whole.top.count;
        if began > life {
            (life, number) = (began, number.min(count.saturating_sub(TAKEN_BACK)));
        }
        // What is below the bottom nobody has.
        number = number.max(count.saturating_sub(keep)).max(whole.bottom.count);
        while number < count {
            let entries = cluster.audit(number, PART).await.unwrap_or_default();
            let Some(last) = entries.last() else { break };
            number = last.number;
            let events = entries.iter().filter_map(|entry| event(&state, entry)).collect();
            if arrivals.send(Arrival::Numbered(events)).await.is_err() {
                return;
            }
        }
        if trail.changed().await.is_err() {
            return;
        }
    }
}

/// An entry as an event, with its place.
pub(super) fn event(state: &State, entry: &Entry) -> Option<(Position, Event)> {
    let audited = of_entry(&entry.line).inspect_err(|error| tracing::error!(number = entry.number, %error)).ok()?;
    let began = state.epoch().began.filter(|began| audited.index > began.from.0);
    let place = Place { life: began.map_or(0, |began| began.epoch.began_unix_ms), number: entry.number };
    Some((Position { source: Source::Audit, place }, audited.event))
}
