//! What is sent to one destination, and when.
//!
//! ```text
//! stream --handle_event--> [ lanes ] --poll_send--> shell --handle_outcome--> done: the cursor moves
//!                              |                                   |
//!                       poll_given_up                       failed: waits, and with it its lane
//! ```
//!
//! Events of one endpoint are a *lane*: the next of a lane is sent when the one before is done, so they arrive in order. Lanes
//! go side by side. A failure makes the destination pause, longer with every failure in a row; then one event is tried at a
//! time, those first that failed least, so that one event which is refused does not keep back the others. When something is
//! given up says [`give_up`].

mod give_up;
mod item;
mod lanes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::answer::MOST_RETRY_AFTER_MS;
use super::backoff::{Backoff, Jitter};
use super::health::{Health, News};
use crate::{Cursor, Place, Position, Source};
use item::{Entry, Item, Stage};
use lanes::Lanes;

pub use lanes::Lane;

/// The order of the first of the stream. Below are dead letters, which the cursor doesn't wait for.
const STREAM: u64 = 1 << 63;

/// How a queue works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// On their way at once, at most.
    pub in_flight: usize,
    /// Events that are kept here, at most.
    pub room: usize,
    /// Events that are read at once: with room for fewer, none are.
    pub part: usize,
    /// How long an event is tried, in milliseconds.
    pub give_up_ms: u64,
    /// How long to wait after failures.
    pub backoff: Backoff,
}

/// What tells one from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ticket {
    /// An event of the stream.
    Event(Position),
    /// A dead letter, which an admin wants to be sent again.
    Letter(u64),
}

/// What stands at a position of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What<T> {
    /// An event that the destination wants.
    Wanted {
        /// What it comes in order with.
        lane: Lane,
        /// When it happened.
        at: u64,
        /// It.
        payload: T,
    },
    /// One that it does not want.
    Unwanted,
    /// One that nobody has any more.
    Gone,
}

/// How sending ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Taken,
    /// It does not.
    Failed {
        /// Why.
        why: String,
        /// How long the receiver wants to be left alone.
        retry_after_ms: Option<u64>,
    },
    /// It was given up, and that is on record.
    Recorded,
    /// It was to be given up, and that could not be recorded.
    Unrecorded,
}

/// An event that is not tried any more, once that is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp<T> {
    /// Which.
    pub ticket: Ticket,
    /// It.
    pub payload: T,
    /// How often it was tried here.
    pub attempts: u32,
    /// Why it failed last.
    pub why: String,
}

/// Where a queue goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Start {
    /// All up to here is done.
    pub cursor: Cursor,
    /// And these behind it.
    pub done: BTreeSet<Position>,
    /// Events that were gone before they could be sent.
    pub missed: u64,
    /// Since when the destination fails, if that was told.
    pub failing_since: Option<u64>,
}

/// What is sent to one destination.
#[derive(Debug)]
pub struct Queue<T> {
    settings: Settings,
    jitter: Jitter,
    health: Health,
    recovered: Option<News>,
    cursor: Cursor,
    /// How far the stream was taken in.
    read: Cursor,
    /// Done behind the cursor, by an earlier run.
    done: BTreeSet<Position>,
    missed: u64,
    /// Dead letters by number, and behind them the stream in order, from [`STREAM`] on: its first is not done.
    entries: BTreeMap<u64, Entry<T>>,
    orders: HashMap<Ticket, u64>,
    next_order: u64,
    lanes: Lanes,
    sending: usize,
}

impl<T: Clone> Queue<T> {
    /// Goes on from `start`. The seed is for the jitter.
    pub fn new(settings: Settings, seed: u64, mut start: Start) -> Self {
        start.done.retain(|position| !start.cursor.covers(*position));
        Self {
            settings,
            jitter: Jitter::new(seed),
            health: Health::resume(start.failing_since),
            recovered: None,
            read: start.cursor.clone(),
            cursor: start.cursor,
            done: start.done,
            missed: start.missed,
            entries: BTreeMap::new(),
            orders: HashMap::new(),
            next_order: STREAM,
            lanes: Lanes::default(),
            sending: 0,
        }
    }

    /// How the destination is doing.
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// All up to here is done.
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// How far the stream was taken in: where to read on.
    pub const fn read(&self) -> &Cursor {
        &self.read
    }

    /// What is done behind the cursor.
    pub fn done(&self) -> impl Iterator<Item = Position> + '_ {
        let here = self.entries.values().filter(|entry| entry.item.is_none()).filter_map(|entry| entry.position());
        here.chain(self.done.iter().copied())
    }

    /// Events that were gone before they could be sent, up to the cursor.
    pub const fn missed(&self) -> u64 {
        self.missed
    }

    /// How many wait here or are on their way.
    pub fn waiting(&self) -> usize {
        self.orders.len()
    }

    /// Whether it takes in another part of the stream.
    pub fn has_room(&self) -> bool {
        self.room() >= self.settings.part
    }

    fn room(&self) -> usize {
        let more = if self.lacks_evidence() { self.settings.part } else { 0 };
        (self.settings.room + more).saturating_sub(self.entries.len() - self.letters())
    }

    fn letters(&self) -> usize {
        self.entries.range(..STREAM).count()
    }

    /// Whether it has this dead letter.
    pub fn has_letter(&self, number: u64) -> bool {
        self.orders.contains_key(&Ticket::Letter(number))
    }

    /// Takes in what comes next in the stream. What was taken in before is left out.
    pub fn handle_event(&mut self, position: Position, what: What<T>) {
        if self.read.covers(position) {
            return;
        }
        let missed = missing(&self.read, position) + u64::from(matches!(what, What::Gone));
        self.read.pass(position);
        if missed > 0 {
            self.push(Entry { ticket: None, missed, item: None });
        }
        let is_done = self.done.remove(&position);
        let ticket = Ticket::Event(position);
        match what {
            What::Wanted { lane, at, payload } if !is_done => self.push_item(ticket, lane, at, payload),
            What::Wanted { .. } => {
                self.push(Entry { ticket: Some(ticket), missed: 0, item: None });
            }
            What::Unwanted | What::Gone => {}
        }
        self.advance();
    }

    /// Takes in a dead letter that is wanted again since `at`. Who wants that has most likely seen to the destination, so it
    /// pauses no longer because of failures; only if the receiver said so.
    pub fn handle_letter(&mut self, number: u64, at: u64, payload: T) {
        if number < STREAM && !self.has_letter(number) {
            self.health.paused_until = 0;
            self.insert_item(number, Ticket::Letter(number), Item::new(Lane::Letter(number), at, payload));
        }
    }

    /// How sending something, or recording it, ended.
    pub fn handle_outcome(&mut self, now: u64, ticket: Ticket, outcome: Outcome) {
        let Some(&order) = self.orders.get(&ticket) else { return };
        let Some(item) = self.entries.get_mut(&order).and_then(|entry| entry.item.as_mut()) else { return };
        match (item.stage, outcome) {
            (Stage::Sending { since }, Outcome::Taken) => {
                self.sending -= 1;
                self.recovered = self.health.succeeded(since, now).or(self.recovered);
                self.finish(order);
            }
            (Stage::Sending { since }, Outcome::Failed { why, retry_after_ms }) => {
                self.sending -= 1;
                let delay = item.failed(now, &why, self.settings.backoff, &mut self.jitter);
                self.lanes.wait_until(now.saturating_add(delay), order);
                if self.health.failed(since, now, &why) {
                    let pause = self.settings.backoff.delay(self.health.failures, &mut self.jitter);
                    self.health.paused_until = now.saturating_add(pause);
                }
                let asked = now.saturating_add(retry_after_ms.unwrap_or_default());
                self.health.asked_until = self.health.asked_until.max(asked);
            }
            (Stage::GivenUp, Outcome::Recorded) => self.finish(order),
            (Stage::GivenUp, Outcome::Unrecorded) => {
                item.stage = Stage::Waiting;
                let (lane, failures) = (item.lane, item.failures);
                self.lanes.enable(lane, order, failures);
            }
            _ => {}
        }
    }

    /// The next to send. The shell says how that went, with the ticket.
    pub fn poll_send(&mut self, now: u64) -> Option<(Ticket, T)> {
        self.lanes.wake(now, self.settings.backoff.most_ms, |order| {
            self.entries.get(&order)?.item.as_ref().map(|item| item.failures)
        });
        if self.sending >= self.at_once() || self.is_paused(now) {
            return None;
        }
        let order = self.lanes.pop_ready()?;
        let entry = self.entries.get_mut(&order)?;
        let (ticket, item) = (entry.ticket?, entry.item.as_mut()?);
        item.stage = Stage::Sending { since: now };
        self.sending += 1;
        Some((ticket, item.payload.clone()))
    }

    /// What others want to know.
    pub fn poll_news(&mut self) -> Option<News> {
        self.recovered.take().or_else(|| self.health.poll_failing())
    }

    /// When to poll again if nothing else happens. None while there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<u64> {
        let is_full = self.sending >= self.at_once();
        self.lanes.next().filter(|_| !is_full).map(|next| next.max(self.health.next_try()))
    }

    /// When something is tried next, if the destination pauses.
    pub fn next_try(&self) -> Option<u64> {
        self.lanes.next().map(|_| self.health.next_try()).filter(|next| *next > 0)
    }

    const fn at_once(&self) -> usize {
        if self.health.failures == 0 { self.settings.in_flight } else { 1 }
    }

    fn is_paused(&self, now: u64) -> bool {
        // A clock that was set back must not make a pause longer than any is.
        let longest = self.settings.backoff.most_ms.max(MOST_RETRY_AFTER_MS);
        (1..=longest).contains(&self.health.next_try().saturating_sub(now))
    }

    fn push_item(&mut self, ticket: Ticket, lane: Lane, at: u64, payload: T) {
        let order = self.take_order();
        self.insert_item(order, ticket, Item::new(lane, at, payload));
    }

    fn insert_item(&mut self, order: u64, ticket: Ticket, item: Item<T>) {
        self.orders.insert(ticket, order);
        self.lanes.push(item.lane, order);
        self.entries.insert(order, Entry { ticket: Some(ticket), missed: 0, item: Some(item) });
    }

    fn push(&mut self, entry: Entry<T>) {
        let order = self.take_order();
        self.entries.insert(order, entry);
    }

    const fn take_order(&mut self) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        order
    }

    /// It is done; the next of its lane may go.
    fn finish(&mut self, order: u64) {
        let Some(entry) = self.entries.get_mut(&order) else { return };
        let (Some(ticket), Some(item)) = (entry.ticket, entry.item.take()) else { return };
        self.orders.remove(&ticket);
        if order < STREAM {
            self.entries.remove(&order);
        }
        if let Some(next) = self.lanes.remove(item.lane, order)
            && let Some(next_item) = self.entries.get_mut(&next).and_then(|entry| entry.item.as_mut())
            && next_item.stage == Stage::Waiting
        {
            next_item.follow(&item, &self.health);
            self.lanes.enable(item.lane, next, next_item.failures);
        }
        self.advance();
    }

    /// Moves the cursor over what is done.
    fn advance(&mut self) {
        while let Some((&order, entry)) = self.entries.range(STREAM..).next()
            && entry.item.is_none()
            && let Some(entry) = self.entries.remove(&order)
        {
            self.missed += entry.missed;
            if let Some(position) = entry.position() {
                self.cursor.pass(position);
            }
        }
        if self.entries.range(STREAM..).next().is_none() {
            self.cursor.clone_from(&self.read);
        }
    }
}

/// How many events the source told between what was read of it and this one. It leaves no number out, so they are gone.
fn missing(read: &Cursor, position: Position) -> u64 {
    let Place { life, number } = position.place;
    let before = match read.get(position.source) {
        // The audit log goes on counting in another epoch of the registry.
        Some(last) if last.life == life || position.source == Source::Audit => last.number,
        _ => 0,
    };
    number.saturating_sub(before.saturating_add(1))
}
