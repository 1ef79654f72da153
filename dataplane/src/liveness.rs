//! Is the other end of a tunnel alive?
//!
//! ```text
//!            answer                      nothing heard for an interval: probe;
//!   Down ------------->  Alive  ------------------------------------> Waiting
//!    ^                   ^   ^        answer, or traffic in time          |
//!    |                   |   +---------------------------------------------+
//!    | a whole burst     | answer                                          |
//!    | unanswered        |          no answer in time, or a hint           |
//!    +---------------- Suspect <------------------------------------------+
//! ```
//!
//! Suspicion comes before sentence: one missed answer only starts a burst of probes some milliseconds apart, and only a
//! burst of which no probe is answered is death. So detection is fast while random loss hardly ever kills: at 5 % loss
//! each way a whole burst is lost once in 10^8. Hints (an ICMP error, another manager's word) are not authenticated or
//! not first-hand: they start a burst and no more. Whoever forges them by the thousand gets a few bursts at once and then
//! one an interval. A hint beyond that is not lost, but waits: its burst begins when the next may.
//!
//! Traffic counts as life, but not for ever: it proves one direction only. A probe is due after a few intervals even while
//! traffic arrives, and a burst that goes unanswered while traffic still arrives is given longer, since then a queue is
//! the likelier cause.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Probes in a burst.
const BURST: u32 = 8;
/// Time between the probes of a burst.
const BURST_SPACING: Duration = Duration::from_millis(8);
/// The least time an answer is waited for.
const MIN_PATIENCE: Duration = Duration::from_millis(12);
/// The longest time an answer is waited for.
const MAX_PATIENCE: Duration = Duration::from_secs(1);
/// While traffic arrives, a burst must go unanswered for this long.
const PATIENCE_WITH_TRAFFIC: Duration = Duration::from_millis(500);
/// While traffic arrives, a probe is due after this many intervals.
const INTERVALS_WITH_TRAFFIC: u32 = 2;
/// A timer that fires later than this was not late on the network's account: we did not run ourselves.
const STALL: Duration = Duration::from_millis(30);
/// How often a burst is begun anew for that reason. A machine that is always late must come to a verdict too.
const MAX_RESTARTS: u32 = 2;
/// How soon a dead end is tried again, doubling up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// Bursts that hints may start one after another. Then they may start one in each interval.
const HINTS: u32 = 3;
/// Probes whose answers still tell a round-trip time.
const REMEMBERED: usize = 32;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It answered after it was dead or not known.
    Alive,
    /// It may be dead: a burst has begun.
    Suspected,
    /// It is dead.
    Dead,
}

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A probe with this sequence.
    Probe(u32),
    /// A handshake: it has been dead, and may have lost our session in a restart. The next probe follows by itself.
    Handshake,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Dead, or never heard. Tried again at `at`.
    Down { at: Instant, retry: Duration },
    /// A probe is due at `at`.
    Alive { at: Instant },
    /// A probe is out; it is missed at `at`.
    Waiting { at: Instant },
    /// A burst began at `since`; `sent` probes of it are out and the next, or the end of patience, is at `at`.
    Suspect { since: Instant, sent: u32, at: Instant },
}

/// The liveness of one other end. Getters, `handle_*` for input, `poll_*` for output.
#[derive(Debug)]
pub struct Liveness {
    interval: Duration,
    state: State,
    /// Of the burst that is under way.
    restarts: u32,
    sequence: u32,
    sent: VecDeque<(u32, Instant)>,
    last_heard: Option<Instant>,
    last_answer: Option<Instant>,
    /// When hints may start all their bursts again.
    hints_back_at: Option<Instant>,
    /// When a hint that waits is followed.
    hint: Option<Instant>,
    rtt: Option<Rtt>,
    actions: VecDeque<Action>,
    verdicts: VecDeque<Verdict>,
}

/// Smoothed round-trip time and its variation, as RFC 6298 section 2 computes them.
#[derive(Debug, Clone, Copy)]
struct Rtt {
    smoothed: Duration,
    variation: Duration,
}

impl Rtt {
    fn first(sample: Duration) -> Self {
        Self { smoothed: sample, variation: sample / 2 }
    }

    fn update(&mut self, sample: Duration) {
        self.variation = (self.variation * 3 + self.smoothed.abs_diff(sample)) / 4;
        self.smoothed = (self.smoothed * 7 + sample) / 8;
    }
}

impl Liveness {
    /// Of an end that was not heard yet. It is tried at once, and suspected after `interval` of silence.
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            state: State::Down { at: now, retry: FIRST_RETRY },
            restarts: 0,
            sequence: 0,
            sent: VecDeque::with_capacity(REMEMBERED),
            last_heard: None,
            last_answer: None,
            hints_back_at: None,
            hint: None,
            rtt: None,
            actions: VecDeque::new(),
            verdicts: VecDeque::new(),
        }
    }

    /// Whether it is alive as far as is known; one that is only suspected is.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, State::Down { .. })
    }

    /// Whether a burst is under way.
    pub fn is_suspect(&self) -> bool {
        matches!(self.state, State::Suspect { .. })
    }

    /// The smoothed round-trip time.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|rtt| rtt.smoothed)
    }

    /// When anything authentic was last received.
    pub fn last_heard(&self) -> Option<Instant> {
        self.last_heard
    }

    /// Changes after how much silence it is suspected.
    pub fn set_interval(&mut self, interval: Duration) {
        if let State::Alive { at } = &mut self.state {
            // Shorter takes effect now; longer, after the probe that is due.
            *at = (*at).min(self.last_heard.map_or(*at, |heard| heard + interval));
        }
        self.interval = interval;
    }

    /// Anything authentic was received.
    pub fn handle_traffic(&mut self, now: Instant) {
        self.last_heard = Some(now);
        match self.state {
            State::Alive { .. } => {
                let unproven = self.last_answer.unwrap_or(now) + self.interval * INTERVALS_WITH_TRAFFIC;
                let at = unproven.min(now + self.interval);
                self.state = State::Alive { at: self.hint.map_or(at, |hint| hint.min(at)) };
            }
            // A dead end that speaks is asked at once, but not for every packet. It needs no handshake: it has our session.
            State::Down { .. } => {
                if self.sent.back().is_none_or(|&(_, sent)| now >= sent + FIRST_RETRY) {
                    self.probe(now);
                }
            }
            State::Waiting { .. } | State::Suspect { .. } => {}
        }
    }

    /// The answer to the probe `sequence` was received.
    pub fn handle_answer(&mut self, now: Instant, sequence: u32) {
        if let Some(position) = self.sent.iter().position(|&(sent, _)| sent == sequence) {
            let (_, at) = self.sent[position];
            self.sent.drain(..=position);
            self.learn_rtt(now.saturating_duration_since(at));
        }
        self.last_heard = Some(now);
        self.last_answer = Some(now);
        self.hint = None;
        if !self.is_alive() {
            self.verdicts.push_back(Verdict::Alive);
        }
        self.state = State::Alive { at: now + self.interval };
    }

    /// Something says that it may be dead: probe it at once, or as soon as hints may start a burst again.
    pub fn handle_hint(&mut self, now: Instant) {
        let (State::Alive { at } | State::Waiting { at }) = self.state else { return };
        let next = self.next_hint(now);
        if next <= now {
            self.follow_hint(now);
        } else if matches!(self.state, State::Alive { .. }) {
            self.hint = Some(next);
            self.state = State::Alive { at: at.min(next) };
        }
    }

    /// When hints may start a burst.
    fn next_hint(&self, now: Instant) -> Instant {
        let burst = self.interval * (HINTS - 1);
        self.hints_back_at.and_then(|at| at.checked_sub(burst)).map_or(now, |next| next.max(now))
    }

    fn follow_hint(&mut self, now: Instant) {
        let back_at = self.hints_back_at.map_or(now, |at| at.max(now));
        self.hints_back_at = Some(back_at + self.interval);
        self.suspect(now);
    }

    /// Our own way out changed, and with it everything that was known: ask at once.
    pub fn handle_change(&mut self, now: Instant) {
        match self.state {
            State::Down { .. } => self.state = State::Down { at: now, retry: FIRST_RETRY },
            State::Alive { .. } | State::Waiting { .. } => self.suspect(now),
            State::Suspect { .. } => {}
        }
    }

    /// A new session was made: if it was thought dead, ask whether it is.
    pub fn handle_session(&mut self, now: Instant) {
        let was_silent = self.last_heard.is_none_or(|heard| now > heard + LAST_RETRY * 2);
        self.last_heard = Some(now);
        if let State::Down { at, retry } = self.state {
            self.probe(now);
            // Should this one probe be lost, the next must not wait until the end of a long retry. But not again and
            // again for one that makes sessions and answers nothing.
            let at = if was_silent { at.min(now + FIRST_RETRY) } else { at };
            self.state = State::Down { at, retry };
        }
    }

    /// When to call [`Liveness::handle_timeout`].
    pub fn poll_timeout(&self) -> Instant {
        match self.state {
            State::Down { at, .. } | State::Alive { at } | State::Waiting { at } | State::Suspect { at, .. } => at,
        }
    }

    /// Something is due, perhaps.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = self.poll_timeout();
        if now < due {
            return;
        }
        let stalled = now - due > STALL;
        match self.state {
            State::Down { retry, .. } => self.retry(now, retry),
            State::Alive { .. } if self.hint.take().is_some() && self.next_hint(now) <= now => self.follow_hint(now),
            State::Alive { .. } => {
                self.probe(now);
                self.state = State::Waiting { at: now + self.patience() };
            }
            State::Waiting { .. } => self.suspect(now),
            State::Suspect { .. } if stalled && self.restarts < MAX_RESTARTS => {
                self.restarts += 1;
                self.continue_burst(now, now, 0);
            }
            State::Suspect { since, sent, .. } if sent < BURST => self.continue_burst(now, since, sent),
            State::Suspect { since, .. } => self.judge(now, since),
        }
    }

    /// The next thing to send.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next thing that changed.
    pub fn poll_verdict(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    fn retry(&mut self, now: Instant, retry: Duration) {
        self.actions.push_back(Action::Handshake);
        // Its session may still be good: it was only out of reach.
        if self.last_heard.is_some() {
            self.probe(now);
        }
        self.state = State::Down { at: now + retry, retry: (retry * 2).min(LAST_RETRY) };
    }

    fn suspect(&mut self, now: Instant) {
        self.restarts = 0;
        self.verdicts.push_back(Verdict::Suspected);
        self.continue_burst(now, now, 0);
    }

    fn continue_burst(&mut self, now: Instant, since: Instant, sent: u32) {
        self.probe(now);
        let last = sent + 1 == BURST;
        let at = now + if last { self.patience() } else { BURST_SPACING };
        self.state = State::Suspect { since, sent: sent + 1, at };
    }

    fn judge(&mut self, now: Instant, since: Instant) {
        let traffic_since = self.last_heard.is_some_and(|heard| heard > since);
        if traffic_since && now < since + PATIENCE_WITH_TRAFFIC {
            self.probe(now);
            self.state = State::Suspect { since, sent: BURST, at: now + self.patience() };
            return;
        }
        self.verdicts.push_back(Verdict::Dead);
        self.rtt = None;
        self.last_answer = None;
        self.state = State::Down { at: now + FIRST_RETRY, retry: FIRST_RETRY };
    }

    fn probe(&mut self, now: Instant) {
        self.sequence = self.sequence.wrapping_add(1);
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((self.sequence, now));
        self.actions.push_back(Action::Probe(self.sequence));
    }

    fn patience(&self) -> Duration {
        let estimate = self.rtt.map_or(MAX_PATIENCE / 4, |rtt| rtt.smoothed * 2 + rtt.variation * 4);
        estimate.clamp(MIN_PATIENCE, MAX_PATIENCE)
    }

    fn learn_rtt(&mut self, sample: Duration) {
        match &mut self.rtt {
            Some(rtt) => rtt.update(sample),
            None => self.rtt = Some(Rtt::first(sample)),
        }
    }
}

#[cfg(test)]
mod tests;
