//! How often somebody may try to log in. Pure: the time is an argument.
//!
//! Every try costs, before it is known whether it is right, so that many at once are no way round. One that is right gives the
//! cost back. A limit by name alone would let anybody lock anybody out. So tries as a user from a host that the user logged in
//! from before are counted apart: neither tries of that name from elsewhere nor tries of other names from there hold them up.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use festoon_control::registry::{UnixMs, site_of};

/// By address: 30 at once, then one every 10 s. Many people may share one.
const BY_ADDRESS: Rate = Rate { at_once: 30, each_ms: 10_000 };
/// By name: 10 at once, then one a minute. That is 1,440 a day, of a million codes.
const BY_NAME: Rate = Rate { at_once: 10, each_ms: 60_000 };
/// By name, from a host that its user logged in from before: 30 at once, then one every 10 s. Whoever guesses from there is
/// slowed as well.
const BY_BOTH: Rate = Rate { at_once: 30, each_ms: 10_000 };
/// Names and addresses that are remembered, of each kind.
const MAX_KEYS: usize = 50_000;
/// No name is longer.
const MAX_NAME: usize = 63;

#[derive(Debug, Clone, Copy)]
struct Rate {
    at_once: u64,
    each_ms: u64,
}

/// Too many tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many tries to log in: try again in {} s", .retry_after.as_secs())]
pub struct TooMany {
    /// When to try again (`Retry-After`), in whole seconds.
    pub retry_after: Duration,
}

/// One try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Try<'a> {
    /// As whom. Need not be anybody's name.
    pub(super) name: &'a str,
    /// Whence.
    pub(super) from: IpAddr,
    /// Whether that user logged in from there before.
    pub(super) is_known: bool,
}

/// What was tried lately.
#[derive(Debug, Default)]
pub(super) struct Limits {
    by_address: Buckets<IpAddr>,
    by_name: Buckets<String>,
    /// Of users, from hosts that they logged in from before.
    by_both: Buckets<(IpAddr, String)>,
}

impl Limits {
    /// Counts a try, if it is not one too many.
    pub(super) fn count(&mut self, attempt: Try<'_>, now: UnixMs) -> Result<(), TooMany> {
        let (address, name) = keys(attempt);
        if attempt.is_known {
            let both = (address, name);
            self.by_both.check(&both, BY_BOTH, now)?;
            self.by_both.add(both, BY_BOTH, now);
            return Ok(());
        }
        self.by_address.check(&address, BY_ADDRESS, now)?;
        self.by_name.check(&name, BY_NAME, now)?;
        self.by_name.add(name, BY_NAME, now);
        self.by_address.add(address, BY_ADDRESS, now);
        Ok(())
    }

    /// Counts a try that names nobody, by its host alone.
    pub(super) fn count_nameless(&mut self, from: IpAddr, now: UnixMs) -> Result<(), TooMany> {
        self.by_address.check(&site_of(from), BY_ADDRESS, now)?;
        self.by_address.add(site_of(from), BY_ADDRESS, now);
        Ok(())
    }

    /// It was right.
    pub(super) fn give_back(&mut self, attempt: Try<'_>) {
        let (address, name) = keys(attempt);
        if attempt.is_known {
            self.by_both.subtract(&(address, name), BY_BOTH);
        } else {
            self.by_address.subtract(&address, BY_ADDRESS);
            self.by_name.subtract(&name, BY_NAME);
        }
    }

    /// One that names nobody was right.
    pub(super) fn give_back_nameless(&mut self, from: IpAddr) {
        self.by_address.subtract(&site_of(from), BY_ADDRESS);
    }
}

fn keys(attempt: Try<'_>) -> (IpAddr, String) {
    (site_of(attempt.from), attempt.name.chars().take(MAX_NAME).collect())
}

/// For each key, when all that was counted is forgotten (generic cell rate algorithm).
#[derive(Debug)]
struct Buckets<K>(HashMap<K, u64>);

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn check(&self, key: &K, rate: Rate, now: UnixMs) -> Result<(), TooMany> {
        let empty_at = self.0.get(key).copied().unwrap_or_default();
        let room_at = empty_at.saturating_sub((rate.at_once - 1) * rate.each_ms);
        match room_at.saturating_sub(now.0) {
            0 => Ok(()),
            wait => Err(TooMany { retry_after: Duration::from_secs(wait.div_ceil(1000)) }),
        }
    }

    fn add(&mut self, key: K, rate: Rate, now: UnixMs) {
        if self.0.len() >= MAX_KEYS && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let empty_at = self.0.entry(key).or_default();
        *empty_at = (*empty_at).max(now.0).saturating_add(rate.each_ms);
    }

    fn subtract(&mut self, key: &K, rate: Rate) {
        if let Some(empty_at) = self.0.get_mut(key) {
            *empty_at = empty_at.saturating_sub(rate.each_ms);
        }
    }

    /// Forgets what has no effect any more or, failing that, whom it holds up least.
    fn make_room(&mut self, now: UnixMs) {
        self.0.retain(|_, empty_at| *empty_at > now.0);
        if self.0.len() < MAX_KEYS {
            return;
        }
        let least = self.0.iter().min_by_key(|(_, empty_at)| **empty_at).map(|(key, _)| key.clone());
        if let Some(key) = least {
            self.0.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attempt<'a>(name: &'a str, from: &str) -> Try<'a> {
        Try { name, from: from.parse().unwrap(), is_known: false }
    }

    /// How many of `tries` at the same time are let through.
    fn allowed(limits: &mut Limits, tries: impl IntoIterator<Item = Try<'static>>, now: u64) -> usize {
        tries.into_iter().filter(|attempt| limits.count(*attempt, UnixMs(now)).is_ok()).count()
    }

    #[test]
    fn a_name_is_tried_ten_times_and_then_once_a_minute() {
        let mut limits = Limits::default();
        let tries = |count: u8| (0..count).map(|n| attempt("ann", &format!("192.0.2.{n}")));
        assert_eq!(allowed(&mut limits, tries(50), 0), 10);
        let refused = limits.count(attempt("ann", "198.51.100.1"), UnixMs(500)).unwrap_err();
        assert_eq!(refused.to_string(), "too many tries to log in: try again in 60 s");
        assert_eq!(allowed(&mut limits, tries(50), 60_000), 1);
        assert_eq!(allowed(&mut limits, tries(50), 24 * 3_600_000), 10, "never more at once");
        let known = Try { is_known: true, ..attempt("ann", "192.0.2.1") };
        assert_eq!(allowed(&mut limits, [known], 24 * 3_600_000), 1, "nobody locks her out");
        assert_eq!(allowed(&mut limits, [attempt("bob", "192.0.2.1")], 24 * 3_600_000), 1);
    }

    #[test]
    fn neither_strangers_nor_neighbours_hold_up_who_logged_in_there_before() {
        let mut limits = Limits::default();
        for n in 0..100 {
            let _ = limits.count(attempt("ann", &format!("192.0.2.{n}")), UnixMs(0));
            let _ = limits.count(attempt(["bob", "eve", "joe", "sue"][n % 4], "192.0.2.1"), UnixMs(0));
            let _ = limits.count_nameless("192.0.2.1".parse().unwrap(), UnixMs(0));
        }
        assert!(limits.count(attempt("new", "192.0.2.1"), UnixMs(0)).is_err(), "the host itself has no tries left");
        let known = Try { is_known: true, ..attempt("ann", "192.0.2.1") };
        assert_eq!(allowed(&mut limits, [known; 100], 0), 30, "and who guesses there is slowed");
        limits.give_back(known);
        assert_eq!(allowed(&mut limits, [known; 2], 0), 1);
    }

    #[test]
    fn an_address_tries_names_thirty_times() {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let tries = |prefix: &'static str| {
            (0..100).map(move |n| attempt(NAMES[n % 4], &prefix.replace('#', &(n + 1).to_string())))
        };
        assert_eq!(allowed(&mut Limits::default(), tries("192.0.2.1"), 0), 30);
        assert_eq!(allowed(&mut Limits::default(), tries("::ffff:192.0.2.1"), 0), 30);
        assert_eq!(allowed(&mut Limits::default(), tries("2001:db8::#"), 0), 30, "a /64 is one");
        assert_eq!(allowed(&mut Limits::default(), tries("2001:db8:0:#::1"), 0), 40, "by name alone");
    }

    #[test]
    fn who_is_right_pays_nothing() {
        let mut limits = Limits::default();
        for _ in 0..100 {
            limits.count(attempt("ann", "192.0.2.1"), UnixMs(0)).unwrap();
            limits.give_back(attempt("ann", "192.0.2.1"));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_who_tries_most_stays() {
        let mut limits = Limits::default();
        (0..10).for_each(|_| limits.count(attempt("ann", "192.0.2.1"), UnixMs(0)).unwrap());
        for n in 0..u32::try_from(MAX_KEYS).unwrap() + 10 {
            let from = IpAddr::V4(n.into());
            limits.count(Try { name: &format!("u{n}"), from, is_known: false }, UnixMs(0)).unwrap();
        }
        assert_eq!((limits.by_name.0.len(), limits.by_address.0.len()), (MAX_KEYS, MAX_KEYS));
        assert!(limits.count(attempt("ann", "192.0.2.1"), UnixMs(0)).is_err());
        limits.count(attempt("new", "203.0.113.1"), UnixMs(3_600_000)).unwrap();
        assert_eq!(limits.by_name.0.len(), 1, "what is past goes");
    }

    proptest! {
        #[test]
        fn no_more_than_the_rate_in_any_time(steps in proptest::collection::vec(0_u64..40_000, 1..200)) {
            let mut limits = Limits::default();
            let (mut now, mut passed) = (0, Vec::new());
            for step in steps {
                now += step;
                if limits.count(attempt("ann", "192.0.2.1"), UnixMs(now)).is_ok() {
                    passed.push(now);
                }
            }
            for (at, first) in passed.iter().enumerate() {
                for (count, last) in (1..).zip(&passed[at..]) {
                    prop_assert!(count <= BY_NAME.at_once + (last - first) / BY_NAME.each_ms, "{:?}", passed);
                }
            }
        }

        #[test]
        fn whoever_waits_as_told_gets_in(tries in 1_u64..60, at in 0_u64..1_000_000) {
            let mut limits = Limits::default();
            for _ in 0..tries {
                let _ = limits.count(attempt("ann", "192.0.2.1"), UnixMs(at));
            }
            if let Err(TooMany { retry_after }) = limits.count(attempt("ann", "192.0.2.1"), UnixMs(at)) {
                let later = UnixMs(at + u64::try_from(retry_after.as_millis()).unwrap());
                prop_assert!(limits.count(attempt("ann", "192.0.2.1"), later).is_ok());
            }
        }
    }
}
