//! What this manager says of its own links.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use festoon_proto::ManagerId;
use festoon_proto::signal::{LinkState, ManagerState};

use super::flood::MAX_NEIGHBOURS;

/// The shortest time between two statements that differ only in round-trip times.
const RTT_INTERVAL: Duration = Duration::from_secs(5);
/// A round-trip time that moved by no more than this is not news.
pub(super) const RTT_NOISE: Duration = Duration::from_millis(1);

/// The links of this manager, and what it last said of them.
#[derive(Debug)]
pub(super) struct OwnLinks {
    /// The links that are up, as measured now.
    up: BTreeMap<ManagerId, Duration>,
    statement: LinkState,
    stated_at: Option<Instant>,
    /// A round-trip time has changed too soon after the last statement: say so then.
    due: Option<Instant>,
}

impl OwnLinks {
    pub(super) fn new(me: ManagerId, sequence: u64) -> Self {
        let statement = LinkState { origin: me, sequence, state: ManagerState::Serving, neighbours: Vec::new() };
        Self { up: BTreeMap::new(), statement, stated_at: None, due: None }
    }

    /// What it said last.
    pub(super) fn statement(&self) -> &LinkState {
        &self.statement
    }

    /// When [`OwnLinks::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn set_up(&mut self, neighbour: ManagerId, rtt: Duration) {
        self.up.insert(neighbour, rtt);
    }

    /// Whether that link was up.
    pub(super) fn set_down(&mut self, neighbour: ManagerId) -> bool {
        self.up.remove(&neighbour).is_some()
    }

    /// Whether that is a change.
    pub(super) fn set_state(&mut self, state: ManagerState) -> bool {
        std::mem::replace(&mut self.statement.state, state) != state
    }

    /// Takes a measurement, and says whether to make a new statement of it now.
    pub(super) fn measure(&mut self, now: Instant, neighbour: ManagerId, rtt: Duration) -> bool {
        let Some(measured) = self.up.get_mut(&neighbour) else { return false };
        *measured = rtt;
        self.due = self.rtt_is_news().then(|| self.stated_at.map_or(now, |at| at + RTT_INTERVAL));
        self.handle_timeout(now)
    }

    /// Whether to make a statement now that had to wait.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        self.due.is_some_and(|at| at <= now)
    }

    /// Makes a new statement, with a sequence above that of the last one and above `echo`: what others remember of an
    /// earlier life of this manager.
    pub(super) fn state_anew(&mut self, now: Instant, echo: u64) {
        let neighbours = self.up.iter().map(|(&neighbour, &rtt)| (neighbour, micros(rtt)));
        self.statement.neighbours = neighbours.take(MAX_NEIGHBOURS).collect();
        self.statement.sequence = self.statement.sequence.max(echo).saturating_add(1);
        self.stated_at = Some(now);
        self.due = None;
    }

    fn rtt_is_news(&self) -> bool {
        self.statement.neighbours.iter().any(|(neighbour, stated)| {
            let stated = Duration::from_micros(u64::from(*stated));
            self.up.get(neighbour).is_some_and(|rtt| {
                let moved = rtt.abs_diff(stated);
                moved > RTT_NOISE && moved > stated / 4
            })
        })
    }
}

fn micros(rtt: Duration) -> u32 {
    u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
mod tests {
    use super::*;

    const N: ManagerId = ManagerId(2);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn with_link(now: Instant, rtt: Duration) -> OwnLinks {
        let mut links = OwnLinks::new(ManagerId(1), 7);
        links.set_up(N, rtt);
        links.state_anew(now, 0);
        links
    }

    #[test]
    fn only_a_large_change_of_the_rtt_is_news() {
        let now = Instant::now();
        let later = now + RTT_INTERVAL;
        for (before, after, news) in [(10, 12, false), (10, 13, true), (10, 7, true), (2, 3, false), (2, 4, true)] {
            assert_eq!(with_link(now, ms(before)).measure(later, N, ms(after)), news, "{before} ms, then {after} ms");
        }
        assert!(!with_link(now, ms(10)).measure(later, ManagerId(3), ms(50)), "a link that is not up");
    }

    #[test]
    fn news_of_the_rtt_waits_for_its_turn_and_is_taken_back_with_its_cause() {
        let now = Instant::now();
        let mut links = with_link(now, ms(10));
        assert!(!links.measure(now + ms(1), N, ms(50)));
        assert_eq!(links.poll_timeout(), Some(now + RTT_INTERVAL));
        assert!(links.handle_timeout(now + RTT_INTERVAL));
        assert!(!links.measure(now + ms(2), N, ms(10)));
        assert_eq!(links.poll_timeout(), None);
    }

    #[test]
    fn a_statement_outbids_an_echo() {
        let mut links = with_link(Instant::now(), ms(10));
        assert_eq!(links.statement().sequence, 8);
        links.state_anew(Instant::now(), 100);
        assert_eq!(links.statement().sequence, 101);
        assert_eq!(links.statement().neighbours, [(N, 10_000)]);
    }
}
