//! One of a queue.

use super::super::backoff::{Backoff, Jitter};
use super::{Lane, Ticket};
use crate::Position;

/// Something in a queue: what is to be sent, what is done and waits for those before it, or that some events were gone.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) ticket: Option<Ticket>,
    pub(super) missed: u64,
    /// None once it is done.
    pub(super) item: Option<Item<T>>,
}

impl<T> Entry<T> {
    pub(super) const fn position(&self) -> Option<Position> {
        match self.ticket {
            Some(Ticket::Event(position)) => Some(position),
            _ => None,
        }
    }

    /// Whether it is neither done nor given up.
    pub(super) fn is_open(&self) -> bool {
        self.item.as_ref().is_some_and(|item| item.stage != Stage::GivenUp)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Sending { since: u64 },
    GivenUp,
}

#[derive(Debug)]
pub(super) struct Item<T> {
    pub(super) lane: Lane,
    pub(super) payload: T,
    pub(super) stage: Stage,
    pub(super) failures: u32,
    pub(super) why: Option<String>,
    at: u64,
    first_failed: Option<u64>,
    last_failed: Option<u64>,
}

impl<T> Item<T> {
    pub(super) const fn new(lane: Lane, at: u64, payload: T) -> Self {
        Self { lane, payload, stage: Stage::Waiting, failures: 0, why: None, at, first_failed: None, last_failed: None }
    }

    /// It failed. Returns how long it waits.
    pub(super) fn failed(&mut self, now: u64, why: &str, backoff: Backoff, jitter: &mut Jitter) -> u64 {
        self.stage = Stage::Waiting;
        self.failures = self.failures.saturating_add(1);
        self.first_failed.get_or_insert(now);
        self.last_failed = Some(now);
        self.why = Some(why.to_owned());
        backoff.delay(self.failures, jitter)
    }

    /// Whether it was refused after all that was taken here: before, the destination may have been failing as a whole.
    pub(super) fn has_failed_since(&self, last_success: Option<u64>) -> bool {
        self.last_failed.is_some_and(|failed| last_success.is_none_or(|success| success <= failed))
    }

    /// Since when it was refused, or could have been sent if the destination did not fail.
    pub(super) fn tried_since(&self, failing_since: Option<u64>) -> Option<u64> {
        let kept_back = failing_since.map(|since| since.max(self.at));
        [self.first_failed, kept_back].into_iter().flatten().min()
    }
}
