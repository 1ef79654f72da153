//! What of a queue may go next.

use std::collections::{BTreeSet, HashMap, VecDeque};

use festoon_proto::{EndpointId, ManagerId, NetworkId};

use super::STREAM;
use crate::{Event, Position, Source};

/// What comes in order: the events of one endpoint; of those about none, those of one manager, network or source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Of an endpoint.
    Endpoint(EndpointId),
    /// Of a manager.
    Manager(ManagerId),
    /// Of a network.
    Network(NetworkId),
    /// Of the rest, by who tells it.
    Source(Source),
    /// A dead letter comes in order with nothing.
    Letter(u64),
}

impl Lane {
    /// The lane of the event at this position.
    pub fn of(position: Position, event: &Event) -> Self {
        let endpoint = event.endpoint.map(Self::Endpoint);
        let other = endpoint.or(event.manager.map(Self::Manager)).or(event.network.map(Self::Network));
        other.unwrap_or(Self::Source(position.source))
    }
}

/// Orders by lane, and which of the first of their lanes may go. Whoever is not the first waits for that alone.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<Lane, VecDeque<u64>>,
    /// Those of the stream that may go: how often they failed, and their order.
    ready: BTreeSet<(u32, u64)>,
    /// Letters that may go. They are many, and refused as before perhaps: they take turns with the stream, which has the first.
    letters: BTreeSet<(u32, u64)>,
    is_letters_turn: bool,
    /// Those that failed: when they may go, and their order.
    waiting: BTreeSet<(u64, u64)>,
}

impl Lanes {
    /// At the end of its lane.
    pub(super) fn push(&mut self, lane: Lane, order: u64) {
        let all = self.lanes.entry(lane).or_default();
        all.push_back(order);
        if all.len() == 1 {
            self.make_ready(0, order);
        }
    }

    /// It may go, if it is the first of its lane.
    pub(super) fn enable(&mut self, lane: Lane, order: u64, failures: u32) {
        if self.lanes.get(&lane).and_then(|all| all.front()) == Some(&order) {
            self.make_ready(failures, order);
        }
    }

    fn make_ready(&mut self, failures: u32, order: u64) {
        let all = if order < STREAM { &mut self.letters } else { &mut self.ready };
        all.insert((failures, order));
    }

    /// It may go at that time. It was taken from here when it went.
    pub(super) fn wait_until(&mut self, time: u64, order: u64) {
        self.waiting.insert((time, order));
    }

    /// It may not go.
    pub(super) fn disable(&mut self, order: u64) {
        self.ready.retain(|&(_, ready)| ready != order);
        self.letters.retain(|&(_, ready)| ready != order);
        self.waiting.retain(|&(_, waiting)| waiting != order);
    }

    /// It is done. Returns who is the first of the lane now, if that was it before.
    pub(super) fn remove(&mut self, lane: Lane, order: u64) -> Option<u64> {
        let all = self.lanes.get_mut(&lane)?;
        let was_first = all.front() == Some(&order);
        all.retain(|&other| other != order);
        let first = all.front().copied();
        if first.is_none() {
            self.lanes.remove(&lane);
        }
        first.filter(|_| was_first)
    }

    /// Those whose time has come may go, and those that would wait for longer than `longest`: the clock was set back.
    pub(super) fn wake(&mut self, now: u64, longest: u64, failures: impl Fn(u64) -> Option<u32>) {
        while let Some((time, order)) = self.due(now, now.saturating_add(longest)) {
            self.waiting.remove(&(time, order));
            if let Some(failures) = failures(order) {
                self.make_ready(failures, order);
            }
        }
    }

    fn due(&self, now: u64, latest: u64) -> Option<(u64, u64)> {
        let first = self.waiting.first().filter(|(time, _)| *time <= now);
        first.or_else(|| self.waiting.last().filter(|(time, _)| *time > latest)).copied()
    }

    pub(super) fn pop_ready(&mut self) -> Option<u64> {
        let (first, second) = match self.is_letters_turn {
            true => (&mut self.letters, &mut self.ready),
            false => (&mut self.ready, &mut self.letters),
        };
        let (_, order) = first.pop_first().or_else(|| second.pop_first())?;
        self.is_letters_turn = order >= STREAM;
        Some(order)
    }

    /// When somebody may go; 0 if somebody may already.
    pub(super) fn next(&self) -> Option<u64> {
        match self.ready.is_empty() && self.letters.is_empty() {
            false => Some(0),
            true => self.waiting.first().map(|(time, _)| *time),
        }
    }
}
