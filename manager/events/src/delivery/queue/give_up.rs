//! What is not tried any more.
//!
//! An event is given up when it was refused, or the destination took nothing, for as long as the settings say. In an outage
//! most events are never tried themselves: one try at a time says for all that the destination takes nothing. So such an event
//! is given up only if a try that was made since it happened has failed. A pause may be longer than events are tried; then
//! they wait for its end. A dead letter is wanted by somebody who waits for it, so each is tried at least once.
//!
//! An event may be *in the way* before that: the cursor waits for it, and the queue is full, so that nothing else goes. If the
//! destination took something that was sent after the event had been refused, that is the event's own fault. Then it is
//! given up after some tries, the last behind all that was taken:
//! - at once, if most of the queue was taken;
//! - after ten minutes, if its own lane fills the queue. So an outage of less than that costs nothing, and a longer one no
//!   event but one that was refused before.
//!
//! A full queue takes in one part more to find out whether the destination takes anything else. If there is nothing else in
//! that, nobody can tell a refusal from an outage, and the event is tried for as long as any.

use super::item::{Item, Stage};
use super::{GivenUp, Queue, STREAM};

/// An event that is in the way is tried so often, at least.
pub(super) const TRIES: u32 = 6;
/// And for so long, if its lane fills the queue: longer than a receiver takes to start anew. In milliseconds.
pub(super) const LONG_MS: u64 = 600_000;

impl<T: Clone> Queue<T> {
    /// What to give up. The shell records it and says so, with the ticket.
    pub fn poll_given_up(&mut self, now: u64) -> Option<GivenUp<T>> {
        let order = self.due_letter(now).or_else(|| self.due_event(now))?;
        let entry = self.entries.get_mut(&order)?;
        let (ticket, item) = (entry.ticket?, entry.item.as_mut()?);
        item.stage = Stage::GivenUp;
        self.lanes.disable(order);
        let why = item.why.clone().or_else(|| self.health.last_error.clone()).unwrap_or_default();
        Some(GivenUp { ticket, payload: item.payload.clone(), attempts: item.failures, why })
    }

    /// Letters are in no order.
    fn due_letter(&self, now: u64) -> Option<u64> {
        let is_due = |item: &Item<T>| item.stage == Stage::Waiting && item.failures > 0 && self.is_too_late(item, now);
        let mut letters = self.entries.range(..STREAM);
        letters.find(|(_, entry)| entry.item.as_ref().is_some_and(is_due)).map(|(&order, _)| order)
    }

    /// Only the first may be: it is the first of its lane too, and those behind come in order.
    fn due_event(&self, now: u64) -> Option<u64> {
        let (&order, entry) = self.entries.range(STREAM..).find(|(_, entry)| entry.is_open())?;
        let is_due =
            |item: &&Item<T>| item.stage == Stage::Waiting && (self.is_too_late(item, now) || self.is_in_the_way(item));
        entry.item.as_ref().filter(is_due).map(|_| order)
    }

    fn is_too_late(&self, item: &Item<T>, now: u64) -> bool {
        let since = item.tried_since(&self.health);
        since.is_some_and(|since| since.saturating_add(self.settings.give_up_ms) <= now)
    }

    /// Of the first event that is not done.
    fn is_in_the_way(&self, item: &Item<T>) -> bool {
        if self.has_room() || item.failures < TRIES || !item.is_at_fault(&self.health) {
            return false;
        }
        let letters = self.letters();
        let is_mostly_done = (self.orders.len() - letters) * 2 <= self.entries.len() - letters;
        item.refused_ms(&self.health).is_some_and(|long| is_mostly_done || long >= LONG_MS)
    }

    /// Whether nobody knows yet if the first event is refused or all are.
    pub(super) fn lacks_evidence(&self) -> bool {
        let first = self.entries.range(STREAM..).next().and_then(|(_, entry)| entry.item.as_ref());
        first.is_some_and(|item| item.failures >= TRIES && !item.is_at_fault(&self.health))
    }
}
