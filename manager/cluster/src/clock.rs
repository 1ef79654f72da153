//! The time of the cluster: what the clocks of a majority of the voters agree on, so that one clock that is wrong lets in
//! nothing that has expired and ends nothing that has not.
//!
//! Each manager asks the others what their clocks show and takes the middle of the largest group that agrees within
//! [`CLOCK_TOLERANCE_MS`], if that is a majority. Between two rounds, and while no majority agrees, its time goes on by the
//! monotonic clock, which nobody sets. A manager that has not heard a majority since it was started has only its own clock: it
//! reads by that, and changes nothing that depends on time.
//!
//! A leap of a majority counts, so a cluster that was off for a month goes on by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use festoon_control::registry::{CLOCK_TOLERANCE_MS, Change, ClockError, UnixMs};
use openraft::Raft;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::message::{Answer, Request};
use crate::network::Network;
use crate::transport::Transport;
use crate::types::{MemberId, TypeConfig};

/// How often the others are asked.
const ROUND: Duration = Duration::from_secs(10);
/// How often while a majority does not agree.
const HURRY: Duration = Duration::from_millis(250);
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);

/// The clock of this machine.
#[derive(Clone)]
pub struct OwnClock(Arc<dyn Fn() -> UnixMs + Send + Sync>);

impl OwnClock {
    /// Another than the system's.
    pub fn new(clock: impl Fn() -> UnixMs + Send + Sync + 'static) -> Self {
        Self(Arc::new(clock))
    }

    fn now(&self) -> UnixMs {
        (self.0)()
    }
}

/// The system's, which may be set at any time.
impl Default for OwnClock {
    fn default() -> Self {
        Self::new(system_now)
    }
}

impl fmt::Debug for OwnClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnClock").field(&self.now()).finish()
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the machine, of which there is one")]
fn system_now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The time of the cluster as this manager knows it. A clone is the same.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    own: OwnClock,
    takes_any_date: bool,
    begun: Instant,
    /// By how much the clocks of others were ahead of our monotonic clock when they were heard last, in milliseconds.
    heard: Arc<Mutex<BTreeMap<MemberId, i64>>>,
    /// By how much the time of the cluster is, once a majority has agreed.
    agreed: watch::Sender<Option<i64>>,
}

impl Clock {
    pub(crate) fn new(own: OwnClock, takes_any_date: bool) -> Self {
        Self { own, takes_any_date, begun: Instant::now(), heard: Arc::default(), agreed: watch::Sender::new(None) }
    }

    /// The time of the cluster; that of our own clock until a majority has agreed.
    pub(crate) fn now(&self) -> UnixMs {
        let agreed = *self.agreed.borrow();
        agreed.map_or_else(|| self.own.now(), |ahead| UnixMs(self.monotonic_ms().saturating_add(ahead).max(0) as u64))
    }

    /// What our own clock shows.
    pub(crate) fn own_now(&self) -> UnixMs {
        self.own.now()
    }

    /// By how much a member's clock is ahead of the time of the cluster, in milliseconds. `None` if it was not heard, or
    /// there is no such time.
    pub(crate) fn ahead_of_cluster(&self, member: MemberId, me: MemberId) -> Option<i64> {
        let agreed = (*self.agreed.borrow())?;
        let theirs = if member == me { Some(self.own_ahead()) } else { self.heard().get(&member).copied() };
        Some(theirs?.saturating_sub(agreed))
    }

    /// That the dates of a change are right, as far as can be known within `limit`.
    pub(crate) async fn check(&self, change: &Change, limit: Duration) -> Result<(), ClockError> {
        if self.takes_any_date || change.dates().next().is_none() {
            return Ok(());
        }
        let mut agreed = self.agreed.subscribe();
        let known =
            tokio::time::timeout(limit, agreed.wait_for(Option::is_some)).await.is_ok_and(|known| known.is_ok());
        if known { change.check_dates(self.now()) } else { Err(ClockError::Unknown) }
    }

    /// Asks all others again and again. Never returns; may be dropped at any time.
    pub(crate) async fn keep<T: Transport>(&self, raft: &Raft<TypeConfig>, network: &Network<T>) {
        loop {
            let membership = Arc::clone(&raft.metrics().borrow().membership_config);
            let all: Vec<MemberId> = membership.nodes().map(|(&id, _)| id).collect();
            self.settle(network.me, &membership.voter_ids().collect());
            let mut asked = tokio::task::JoinSet::new();
            for other in all.iter().copied().filter(|id| *id != network.me) {
                let (clock, network) = (self.clone(), network.clone());
                asked.spawn(async move { clock.ask(&network, other).await });
            }
            // Who panicked has been reported, and was not heard.
            while asked.join_next().await.is_some() {
                self.settle(network.me, &membership.voter_ids().collect());
            }
            self.heard().retain(|member, _| all.contains(member));
            let pause = if self.agreed.borrow().is_some() { ROUND } else { HURRY };
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask<T: Transport>(&self, network: &Network<T>, other: MemberId) {
        let asked = self.monotonic_ms();
        if let Ok(Answer::Clock(theirs)) = network.ask(other, Request::Clock, LIMIT).await {
            // It was read somewhere in between.
            let read = asked.midpoint(self.monotonic_ms());
            self.heard().insert(other, i64::try_from(theirs.0).unwrap_or(i64::MAX).saturating_sub(read));
        }
    }

    /// Takes the time that a majority of the voters agrees on, if there is one.
    fn settle(&self, me: MemberId, voters: &BTreeSet<MemberId>) {
        let heard = self.heard();
        let of = |id: &MemberId| if *id == me { Some(self.own_ahead()) } else { heard.get(id).copied() };
        let clocks: Vec<i64> = voters.iter().filter_map(of).collect();
        drop(heard);
        let found = agree(clocks, voters.len());
        self.agreed.send_if_modified(|agreed| {
            let leap = agreed.zip(found).map_or(0, |(before, now)| now.saturating_sub(before));
            if leap.unsigned_abs() > CLOCK_TOLERANCE_MS {
                tracing::warn!(seconds = leap / 1000, "the clocks of a majority of the managers were set");
            }
            let is_news = found.is_some() && *agreed != found;
            *agreed = found.or(*agreed);
            is_news
        });
    }

    fn own_ahead(&self) -> i64 {
        i64::try_from(self.own.now().0).unwrap_or(i64::MAX).saturating_sub(self.monotonic_ms())
    }

    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn heard(&self) -> MutexGuard<'_, BTreeMap<MemberId, i64>> {
        // Nothing panics while holding it.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The middle of the largest group of clocks that agree, if it is a majority of so many voters.
fn agree(mut clocks: Vec<i64>, voters: usize) -> Option<i64> {
    clocks.sort_unstable();
    let tolerance = i64::try_from(CLOCK_TOLERANCE_MS).unwrap_or(i64::MAX);
    let group = |(at, first): (usize, &i64)| {
        let length = clocks[at..].partition_point(|clock| clock.saturating_sub(*first) <= tolerance);
        &clocks[at..at + length]
    };
    let largest = clocks.iter().enumerate().map(group).max_by_key(|group| group.len())?;
    (largest.len() * 2 > voters).then(|| largest[(largest.len() - 1) / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_majority_of_clocks_says_what_the_time_is_and_one_clock_moves_nothing() {
        for (clocks, voters, time) in [
            (vec![7], 1, Some(7)),
            (vec![0, 100, 200], 3, Some(100)),
            // One is wrong, either way, however far.
            (vec![0, 100, HOUR], 3, Some(0)),
            (vec![-HOUR, 0, 100], 3, Some(0)),
            (vec![0, 100, i64::MAX], 3, Some(0)),
            (vec![i64::MIN, 0, 100], 3, Some(0)),
            // One is lost.
            (vec![0, 100], 3, Some(0)),
            (vec![0, HOUR], 3, None),
            (vec![0], 3, None),
            (vec![0, 0], 4, None),
            (vec![0, 0, HOUR, HOUR], 4, None),
            (vec![0, 0, 0, HOUR, HOUR], 5, Some(0)),
            (vec![0, HOUR, HOUR, HOUR, 2 * HOUR], 5, Some(HOUR)),
            (vec![0, HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR], 5, None),
            (vec![], 0, None),
        ] {
            assert_eq!(agree(clocks.clone(), voters), time, "{clocks:?} of {voters}");
        }
    }

    fn member(number: u16) -> MemberId {
        MemberId { manager: festoon_proto::ManagerId(number), incarnation: 0 }
    }

    /// A clock that a test sets, as that of `me`, and the time of three voters.
    fn clock() -> (Arc<Mutex<u64>>, Clock, BTreeSet<MemberId>) {
        let shown = Arc::new(Mutex::new(1_700_000_000_000));
        let own = Arc::clone(&shown);
        let clock = Clock::new(OwnClock::new(move || UnixMs(*own.lock().unwrap())), false);
        (shown, clock, (1..=3).map(member).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn time_goes_on_whatever_one_clock_does_and_follows_a_majority() {
        let (shown, clock, voters) = clock();
        let me = member(1);
        let begin = clock.now().0;
        assert_eq!(
            clock.check(&dated(begin), Duration::from_secs(1)).await,
            Err(ClockError::Unknown),
            "nobody was heard"
        );
        let right = clock.own_ahead();
        clock.heard().extend([(member(2), right), (member(3), right + 40)]);
        clock.settle(me, &voters);
        let begin = clock.now().0;
        // Our own leaps by a month.
        *shown.lock().unwrap() += 30 * 24 * HOUR as u64;
        clock.settle(me, &voters);
        assert_eq!(clock.now().0, begin);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.now().0, begin + 60_000, "time does not stand still");
        assert_eq!(clock.check(&dated(begin + 60_000), Duration::ZERO).await, Ok(()));
        assert!(clock.check(&dated(clock.own_now().0), Duration::ZERO).await.is_err());
        assert!(clock.ahead_of_cluster(me, me).is_some_and(|ahead| ahead > 29 * 24 * HOUR));
        assert_eq!(clock.ahead_of_cluster(member(4), me), None);
        // And then another: now they are a majority.
        let month = clock.own_ahead();
        clock.heard().insert(member(2), month);
        clock.settle(me, &voters);
        assert_eq!(clock.now(), clock.own_now());
        // Nobody agrees with anybody: the time is what it would have been.
        let before = clock.now();
        clock.heard().insert(member(2), month + 2 * HOUR);
        clock.settle(me, &voters);
        assert_eq!(clock.now(), before);
    }

    fn dated(now: u64) -> Change {
        festoon_control::registry::Command::Expire(UnixMs(now)).into()
    }
}
