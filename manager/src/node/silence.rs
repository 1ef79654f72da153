//! Which of the endpoints carried here are not heard any more. Their attachments stay: they may be heard again.
//!
//! Nothing is done per packet. A few endpoints are looked at now and then, so that all had their turn after some seconds.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::{Duration, Instant};

use festoon_proto::EndpointId;

/// How often some are looked at.
const PAUSE: Duration = Duration::from_millis(250);
/// So many turns make a round, unless endpoints are few.
const TURNS: usize = 20;
const LEAST: usize = 64;
/// An agent is gone after so long, and so many intervals of its probes.
const AGENT_LIMIT: Duration = Duration::from_secs(5);
const AGENT_INTERVALS: u32 = 5;
/// A stock client has no session any more after three minutes (`REJECT_AFTER_TIME` of WireGuard), or has begun a new one.
const CLIENT_LIMIT: Duration = Duration::from_secs(185);

/// The endpoints that are not heard, and whose turn it is.
#[derive(Debug)]
pub(super) struct Silence {
    began: Instant,
    next: Instant,
    last: Option<EndpointId>,
    silent: BTreeSet<EndpointId>,
}

/// How long an endpoint may be silent.
pub(super) fn limit(is_agent: bool, probe_interval: Duration) -> Duration {
    if is_agent { AGENT_LIMIT + probe_interval * AGENT_INTERVALS } else { CLIENT_LIMIT }
}

impl Silence {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, next: now + PAUSE, last: None, silent: BTreeSet::new() }
    }

    /// When it is time for [`Silence::turn`], as long as anything is carried.
    pub(super) const fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// Those whose turn it is; none if it is not time yet.
    pub(super) fn turn(&mut self, now: Instant, carried: &BTreeSet<EndpointId>) -> Vec<EndpointId> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + PAUSE;
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let some = carried.range((after, Bound::Unbounded)).copied().take((carried.len() / TURNS).max(LEAST));
        let some: Vec<EndpointId> = some.collect();
        self.last = some.last().copied();
        some
    }

    /// Takes down when an endpoint was last `heard`. Whether that is news: `true` if it is not heard any more, `false` if it
    /// is again.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        heard: Option<Instant>,
        limit: Duration,
    ) -> Option<bool> {
        let heard = heard.unwrap_or(self.began);
        let is_silent = now.saturating_duration_since(heard) > limit;
        let is_news = if is_silent { self.silent.insert(endpoint) } else { self.silent.remove(&endpoint) };
        is_news.then_some(is_silent)
    }

    /// The endpoint is not this manager's to judge any more, or attached anew. Returns whether it was silent.
    pub(super) fn forget(&mut self, endpoint: EndpointId) -> bool {
        self.silent.remove(&endpoint)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
mod tests {
    use super::*;

    #[test]
    fn all_have_their_turn_in_a_round() {
        let mut now = Instant::now();
        let carried: BTreeSet<EndpointId> = (1..=10_000).map(EndpointId).collect();
        let mut silence = Silence::new(now);
        assert!(silence.turn(now, &carried).is_empty());
        let mut seen = BTreeSet::new();
        for _ in 0..TURNS {
            now += PAUSE;
            let turn = silence.turn(now, &carried);
            assert_eq!(turn.len(), 500);
            seen.extend(turn);
        }
        assert_eq!(seen, carried);
    }

    #[test]
    fn silence_and_its_end_are_news_once() {
        let began = Instant::now();
        let (mut silence, limit) = (Silence::new(began), limit(true, Duration::from_millis(200)));
        let e = EndpointId(1);
        let late = began + limit + Duration::from_millis(1);
        assert_eq!(silence.judge(began + limit, e, None, limit), None);
        assert_eq!(silence.judge(late, e, None, limit), Some(true));
        assert_eq!(silence.judge(late, e, None, limit), None);
        assert_eq!(silence.judge(late, e, Some(late), limit), Some(false));
        assert_eq!(silence.judge(late, e, Some(late), limit), None);
    }
}
