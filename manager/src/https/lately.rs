//! From which hosts somebody proved lately who it is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// How long that is remembered.
const LATELY: Duration = Duration::from_secs(24 * 3600);
/// Hosts that are remembered.
const MAX_HOSTS: usize = 262_144;

/// When somebody proved who it is, for each host. Pure: the time is an argument.
#[derive(Debug, Default)]
pub(super) struct Lately(HashMap<IpAddr, Instant>);

impl Lately {
    /// Whether somebody at this host did lately.
    pub(super) fn has(&self, host: IpAddr, now: Instant) -> bool {
        self.0.get(&host).is_some_and(|at| now.saturating_duration_since(*at) < LATELY)
    }

    /// Somebody did just now.
    pub(super) fn note(&mut self, host: IpAddr, now: Instant) {
        if self.0.len() >= MAX_HOSTS && !self.0.contains_key(&host) {
            self.make_room(now);
        }
        self.0.insert(host, now);
    }

    /// Forgets many at once: one by one, every newcomer to a full table would cost a look at all of it.
    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, at| now.saturating_duration_since(*at) < LATELY);
        let mut all: Vec<(Instant, IpAddr)> = self.0.iter().map(|(host, at)| (*at, *host)).collect();
        let too_many = (all.len() + MAX_HOSTS / 8).saturating_sub(MAX_HOSTS);
        if let Some(last) = too_many.checked_sub(1) {
            let (older, youngest, _) = all.select_nth_unstable(last);
            for (_, host) in older.iter().chain([&*youngest]) {
                self.0.remove(host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_for_a_day_and_the_oldest_is_forgotten_first() {
        let (mut lately, begin) = (Lately::default(), Instant::now());
        let host = |n: usize| IpAddr::V4(u32::try_from(n).unwrap().into());
        lately.note(host(0), begin);
        assert!(lately.has(host(0), begin) && !lately.has(host(1), begin));
        assert!(!lately.has(host(0), begin + LATELY));
        (1..=MAX_HOSTS).for_each(|n| lately.note(host(n), begin + Duration::from_secs(1)));
        assert_eq!(lately.0.len(), MAX_HOSTS - MAX_HOSTS / 8 + 1);
        assert!(!lately.has(host(0), begin) && lately.has(host(MAX_HOSTS), begin));
    }
}
