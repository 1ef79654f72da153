//! Which manager carries this endpoint. Pure: verdicts on managers come in, moves come out.
//!
//! Of the managers that are alive, the endpoint goes to the one with the highest declared priority, and of equals to the
//! nearest. It leaves its manager when that is dead or drains, at once; for a better one only when that has been alive for
//! the hold-down, so that a manager that comes and goes does not take its endpoints along; and for a nearer one only when
//! it stays much nearer for as long.
//!
//! Every move takes a new generation. The new manager must acknowledge it; it is asked again until it does, and asked
//! again later if a restart made it forget.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use festoon_proto::signal::{Attach, ManagerState, MoveReason};
use festoon_proto::{Attachment, Generation, ManagerId};

/// An attachment is asked for again after this, doubling up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_millis(500);
/// How long not to go ahead of somebody else with this endpoint's identity again, doubling up to the longest. Two that do so
/// at once would keep each other and every manager busy.
const FIRST_TRUCE: Duration = Duration::from_secs(1);
const LAST_TRUCE: Duration = Duration::from_secs(30);
/// A manager is nearer if its round-trip time is less than 7 tenths of the active one's and lower by this at least.
const NEARER_BY: Duration = Duration::from_millis(5);

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Another manager carries the endpoint.
    Moved {
        /// The one before.
        from: Option<ManagerId>,
        /// The one now.
        to: ManagerId,
        /// Why.
        why: MoveReason,
    },
    /// No manager is alive.
    NoManager,
}

#[derive(Debug, Clone)]
struct Candidate {
    priority: u8,
    is_alive: bool,
    is_suspect: bool,
    was_lost: bool,
    state: ManagerState,
    rtt: Option<Duration>,
    held_until: Option<Instant>,
}

impl Candidate {
    fn new(priority: u8) -> Self {
        Self {
            priority,
            is_alive: false,
            is_suspect: false,
            was_lost: false,
            state: ManagerState::Serving,
            rtt: None,
            held_until: None,
        }
    }

    fn is_serving(&self) -> bool {
        self.state == ManagerState::Serving
    }

    fn is_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }
}

/// An attachment that waits for its acknowledgement.
#[derive(Debug, Clone, Copy)]
struct Pending {
    at: Instant,
    retry: Duration,
}

/// When this endpoint goes ahead again of somebody else who has its identity.
#[derive(Debug, Clone, Copy, Default)]
struct Truce {
    until: Option<Instant>,
    last: Duration,
}

impl Truce {
    /// Whether to go ahead now. If so, that has been done.
    fn take_turn(&mut self, now: Instant) -> bool {
        if self.until.is_some_and(|until| now < until) {
            return false;
        }
        let is_calm = self.until.is_none_or(|until| now >= until + LAST_TRUCE);
        self.last = if is_calm { FIRST_TRUCE } else { (self.last * 2).min(LAST_TRUCE) };
        self.until = Some(now + self.last);
        true
    }
}

/// The choice of a manager. Getters, `handle_*` for input, `poll_*` for output.
#[derive(Debug)]
pub struct Uplink {
    hold_down: Duration,
    candidates: BTreeMap<ManagerId, Candidate>,
    active: Option<ManagerId>,
    generation: Generation,
    /// Why that generation began.
    why: MoveReason,
    is_used: bool,
    pending: Option<Pending>,
    truce: Truce,
    nearer: Option<(ManagerId, Instant)>,
    transmit: VecDeque<(ManagerId, Attach)>,
    changes: VecDeque<Change>,
}

impl Uplink {
    /// With no manager yet. `generation` is the first of this start.
    pub fn new(generation: Generation) -> Self {
        Self {
            hold_down: Duration::ZERO,
            candidates: BTreeMap::new(),
            active: None,
            generation,
            why: MoveReason::Started,
            is_used: false,
            pending: None,
            truce: Truce::default(),
            nearer: None,
            transmit: VecDeque::new(),
            changes: VecDeque::new(),
        }
    }

    /// The manager that carries the endpoint.
    pub fn active(&self) -> Option<ManagerId> {
        self.active
    }

    /// Of the attachment now.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether a manager that is alive must wait before it is used again.
    pub fn is_held(&self, now: Instant, manager: ManagerId) -> bool {
        self.candidates.get(&manager).is_some_and(|candidate| candidate.is_held(now))
    }

    /// What a manager last said of itself.
    pub fn state_of(&self, manager: ManagerId) -> Option<ManagerState> {
        self.candidates.get(&manager).map(|candidate| candidate.state)
    }

    /// Takes over the managers of a map, with their priorities.
    pub fn set_managers(
        &mut self,
        now: Instant,
        hold_down: Duration,
        managers: impl IntoIterator<Item = (ManagerId, u8)>,
    ) {
        self.hold_down = hold_down;
        let mut before = std::mem::take(&mut self.candidates);
        for (manager, priority) in managers {
            let mut candidate = before.remove(&manager).unwrap_or_else(|| Candidate::new(priority));
            candidate.priority = priority;
            self.candidates.insert(manager, candidate);
        }
        self.choose(now);
    }

    /// A manager answers.
    pub fn handle_alive(&mut self, now: Instant, manager: ManagerId) {
        let hold_down = self.hold_down;
        if let Some(candidate) = self.candidates.get_mut(&manager) {
            candidate.is_alive = true;
            candidate.is_suspect = false;
            candidate.held_until = candidate.was_lost.then(|| now + hold_down);
            self.choose(now);
        }
    }

    /// A manager may be dead, or is known to be alive after all.
    pub fn handle_suspected(&mut self, manager: ManagerId, is_suspect: bool) {
        if let Some(candidate) = self.candidates.get_mut(&manager) {
            candidate.is_suspect = is_suspect;
        }
    }

    /// A manager is dead.
    pub fn handle_dead(&mut self, now: Instant, manager: ManagerId) {
        if let Some(candidate) = self.candidates.get_mut(&manager) {
            candidate.is_alive = false;
            candidate.is_suspect = false;
            candidate.was_lost = true;
            candidate.rtt = None;
            self.choose(now);
        }
    }

    /// What a manager says of itself in the answer to a probe: its state, and the attachment it knows of this endpoint.
    pub fn handle_answer(
        &mut self,
        now: Instant,
        manager: ManagerId,
        state: ManagerState,
        rtt: Option<Duration>,
        known: Option<Attachment>,
    ) {
        let hold_down = self.hold_down;
        let Some(candidate) = self.candidates.get_mut(&manager) else { return };
        if candidate.state == ManagerState::Draining && state == ManagerState::Serving {
            candidate.held_until = Some(now + hold_down);
        }
        candidate.state = state;
        candidate.rtt = rtt;
        self.choose(now);
        if self.active == Some(manager) && self.pending.is_none() {
            self.compare(now, manager, known);
        }
    }

    /// A manager acknowledges an attachment, or says that a higher one exists.
    pub fn handle_attach_reply(&mut self, now: Instant, manager: ManagerId, known: Attachment) {
        if self.active == Some(manager) {
            if !self.generation.may_follow(known.generation) {
                // It refuses a generation that is so far from what it knows, and would for ever.
                self.generation = known.generation.next();
            }
            self.compare(now, manager, Some(known));
        }
    }

    /// When to call [`Uplink::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let held = self.candidates.values().filter_map(|candidate| candidate.held_until);
        let nearer = self.nearer.map(|(_, since)| since + self.hold_down);
        held.chain(nearer).chain(self.pending.map(|pending| pending.at)).min()
    }

    /// A hold-down ends, or an attachment is asked for again.
    pub fn handle_timeout(&mut self, now: Instant) {
        for candidate in self.candidates.values_mut() {
            candidate.held_until = candidate.held_until.filter(|&until| now < until);
        }
        self.choose(now);
        self.ask(now);
    }

    /// The next message to send. How long the manager before was silent is for the caller to add, who listens to it.
    pub fn poll_transmit(&mut self) -> Option<(ManagerId, Attach)> {
        self.transmit.pop_front()
    }

    /// The next change.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    fn compare(&mut self, now: Instant, manager: ManagerId, known: Option<Attachment>) {
        match known {
            Some(known) if known.manager == manager && known.generation == self.generation => self.pending = None,
            Some(known) if known.generation >= self.generation => self.overtake(now, known.generation),
            _ if self.pending.is_none() => self.attach(now),
            _ => {}
        }
    }

    /// Somebody with our identity was ahead of us: an old backup or a cloned disk is running.
    fn overtake(&mut self, now: Instant, known: Generation) {
        // What was asked for until now leads nowhere. The next probe tells again what the manager knows.
        self.pending = None;
        if self.truce.take_turn(now) {
            self.generation = known.next();
            self.why = MoveReason::Overtaken;
            self.attach(now);
        }
    }

    fn choose(&mut self, now: Instant) {
        let best = self.best(now);
        let active = self.active.and_then(|id| self.candidates.get(&id).map(|candidate| (id, candidate)));
        let why = match (active, &best) {
            (_, None) => return self.give_up(),
            (None, Some(_)) if self.active.is_some() => MoveReason::ManagerRemoved,
            (None, Some(_)) => MoveReason::Started,
            (Some((_, active)), Some(_)) if !active.is_alive => MoveReason::ManagerDead,
            (Some((id, active)), Some((best_id, best))) => {
                if id == *best_id || !best.is_serving() || best.is_suspect {
                    self.nearer = None;
                    return;
                }
                if !active.is_serving() {
                    MoveReason::Draining
                } else if best.is_held(now) {
                    return;
                } else if best.priority > active.priority {
                    MoveReason::Priority
                } else if self.is_nearer_for_long(now) {
                    MoveReason::Nearer
                } else {
                    return;
                }
            }
        };
        if let Some((to, _)) = best {
            self.move_to(now, to, why);
        }
    }

    fn best(&self, now: Instant) -> Option<(ManagerId, Candidate)> {
        let alive = self.candidates.iter().filter(|(_, candidate)| candidate.is_alive);
        let best = alive.max_by_key(|(id, candidate)| {
            (
                candidate.is_serving(),
                !candidate.is_suspect,
                !candidate.is_held(now),
                candidate.priority,
                Reverse(candidate.rtt.unwrap_or(Duration::MAX)),
                Reverse(**id),
            )
        });
        best.map(|(id, candidate)| (*id, candidate.clone()))
    }

    /// Whether the nearest manager of the active one's priority has been much nearer for the hold-down.
    fn is_nearer_for_long(&mut self, now: Instant) -> bool {
        let Some(active) = self.active.and_then(|id| self.candidates.get(&id)) else { return false };
        let Some(active_rtt) = active.rtt else { return false };
        let nearest = self
            .candidates
            .iter()
            .filter(|(_, other)| other.is_alive && other.is_serving() && !other.is_held(now))
            .filter(|(_, other)| other.priority == active.priority)
            .filter_map(|(id, other)| Some((other.rtt?, *id)))
            .min()
            .filter(|(rtt, _)| *rtt * 10 < active_rtt * 7 && *rtt + NEARER_BY < active_rtt)
            .map(|(_, id)| id);
        match (nearest, self.nearer) {
            (Some(id), Some((before, since))) if id == before => return now >= since + self.hold_down,
            (nearest, _) => self.nearer = nearest.map(|id| (id, now)),
        }
        false
    }

    fn give_up(&mut self) {
        self.nearer = None;
        self.pending = None;
        if self.active.take().is_some() {
            self.changes.push_back(Change::NoManager);
        }
    }

    fn move_to(&mut self, now: Instant, to: ManagerId, why: MoveReason) {
        let from = self.active.replace(to);
        if self.is_used {
            self.generation = self.generation.next();
        }
        self.why = why;
        self.nearer = None;
        self.changes.push_back(Change::Moved { from, to, why });
        self.attach(now);
    }

    fn attach(&mut self, now: Instant) {
        self.is_used = true;
        self.pending = Some(Pending { at: now, retry: FIRST_RETRY });
        self.ask(now);
    }

    fn ask(&mut self, now: Instant) {
        if let (Some(pending), Some(active)) = (&mut self.pending, self.active)
            && now >= pending.at
        {
            let attach = Attach { generation: self.generation, why: self.why, gap_ms: None };
            self.transmit.push_back((active, attach));
            pending.at = now + pending.retry;
            pending.retry = (pending.retry * 2).min(LAST_RETRY);
        }
    }
}

#[cfg(test)]
mod tests;
