//! One of a queue.

use super::super::backoff::{Backoff, Jitter};
use super::super::health::Health;
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
    /// When it failed first, or the one before it in its lane did that was given up for its own fault.
    refused_since: Option<u64>,
}

impl<T> Item<T> {
    pub(super) const fn new(lane: Lane, at: u64, payload: T) -> Self {
        let (stage, why, first_failed, last_failed, refused_since) = (Stage::Waiting, None, None, None, None);
        Self { lane, payload, stage, failures: 0, why, at, first_failed, last_failed, refused_since }
    }

    /// It failed. Returns how long it waits.
    pub(super) fn failed(&mut self, now: u64, why: &str, backoff: Backoff, jitter: &mut Jitter) -> u64 {
        self.stage = Stage::Waiting;
        self.failures = self.failures.saturating_add(1);
        self.first_failed.get_or_insert(now);
        self.refused_since.get_or_insert(now);
        self.last_failed = Some(now);
        self.why = Some(why.to_owned());
        backoff.delay(self.failures, jitter)
    }

    /// It is the first of its lane now, behind this one.
    pub(super) fn follow(&mut self, former: &Self, health: &Health) {
        let is_refused = former.stage == Stage::GivenUp && former.is_at_fault(health);
        self.refused_since = former.refused_since.filter(|_| is_refused);
    }

    /// Whether the destination took something else that was sent after this had been refused.
    pub(super) fn is_at_fault(&self, health: &Health) -> bool {
        self.refused_since.is_some_and(|since| health.last_taken.is_some_and(|taken| since < taken))
    }

    /// For how long it was refused after all that was taken here, in milliseconds. None if it was not.
    pub(super) fn refused_ms(&self, health: &Health) -> Option<u64> {
        self.last_failed?.checked_sub(health.last_success?)
    }

    /// Since when it was refused, or could have been sent if the destination did not fail: if a try says so that was made since
    /// it happened.
    pub(super) fn tried_since(&self, health: &Health) -> Option<u64> {
        let has_tried = health.last_refused.is_some_and(|tried| self.at <= tried);
        let kept_back = health.failing_since.filter(|_| has_tried).map(|since| since.max(self.at));
        [self.first_failed, kept_back].into_iter().flatten().min()
    }
}
