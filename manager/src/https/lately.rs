//! From which hosts somebody proved lately who it is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// How long that is remembered.
const LATELY: Duration = Duration::from_secs(24 * 3600);
/// Hosts that are remembered.
const MAX_HOSTS: usize = 65_536;

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
            self.0.retain(|_, at| now.saturating_duration_since(*at) < LATELY);
            let oldest = self.0.iter().min_by_key(|(_, at)| **at).map(|(host, _)| *host);
            if let Some(oldest) = oldest.filter(|_| self.0.len() >= MAX_HOSTS) {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(host, now);
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
        assert_eq!(lately.0.len(), MAX_HOSTS);
        assert!(!lately.has(host(0), begin) && lately.has(host(MAX_HOSTS), begin));
    }
}
