//! Takes in the stream.

use festoon_control::registry::EventDestination;
use festoon_events::delivery::{Lane, What};
use festoon_events::{Event, Kind, Position};
use tokio::time::Instant;

use super::{AGAIN, Courier, PART, is_resting};
use crate::deliver::message::Message;
use crate::events::Rows;

/// How often it is said that the audit log is waited for.
const SAY_AGAIN_MS: u64 = 600_000;

impl Courier {
    /// Reads on, while there is room for a part. When the disk can't be read, it is left alone for a while.
    pub(super) async fn read(&mut self) {
        while !self.is_up_to_date && self.queue.has_room() && !is_resting(self.read_again_at) {
            match self.deliveries.0.events.rows(self.queue.read().clone(), PART).await {
                Ok(Some(rows)) => self.take(rows),
                Ok(None) => self.wait(),
                Err(error) => {
                    tracing::error!(%error, destination = %self.destination.name, "events wait for the disk");
                    self.read_again_at = Some(Instant::now() + AGAIN);
                    return;
                }
            }
        }
    }

    fn take(&mut self, rows: Rows) {
        if self.waiting_said_at.take().is_some() {
            tracing::info!(destination = %self.destination.name, "the audit log is whole: events are delivered on");
        }
        self.is_up_to_date = rows.len() < PART;
        for (position, event) in rows {
            let what = self.what(position, event);
            self.queue.handle_event(position, what);
        }
        self.is_saved = false;
        self.send();
    }

    /// There is nothing to read until the audit log changes. That is said now and then alone: it is being made whole, which is
    /// nobody's fault.
    fn wait(&mut self) {
        self.is_up_to_date = true;
        let now = self.now().0;
        if self.waiting_said_at.is_none_or(|said| now.saturating_sub(said) >= SAY_AGAIN_MS) {
            self.waiting_said_at = Some(now);
            tracing::warn!(destination = %self.destination.name, "events wait for the audit log, which is being made whole");
        }
    }

    fn what(&self, position: Position, event: Option<Event>) -> What<Message> {
        match event {
            None => What::Gone,
            Some(event) if wants(&self.destination, &event) => {
                What::Wanted { lane: Lane::of(position, &event), at: event.at, payload: Message::new(position, event) }
            }
            Some(_) => What::Unwanted,
        }
    }
}

/// Whether a destination gets an event. Heads of the audit log go everywhere: who writes the log does not choose who keeps them.
fn wants(destination: &EventDestination, event: &Event) -> bool {
    if event.kind == Kind::AuditHead {
        return true;
    }
    let is_wanted = |kind: &str| destination.kinds.is_empty() || destination.kinds.contains(kind);
    // A count stands for events of several kinds.
    let counted = event.details.get("kinds").filter(|_| event.kind == Kind::EventsSuppressed);
    let stands_for_wanted =
        || counted.and_then(|kinds| kinds.as_object()).is_some_and(|kinds| kinds.keys().any(|kind| is_wanted(kind)));
    (is_wanted(event.kind.word()) || stands_for_wanted()) && destination.networks.covers(event.network)
}
