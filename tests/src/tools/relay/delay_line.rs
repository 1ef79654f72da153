//! Which packet leaves when. Pure: time comes in, the choices follow from the seed.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What is done to each packet.
#[derive(Debug, Clone, Copy)]
pub struct Disorder {
    /// What every packet waits.
    pub delay: Duration,
    /// At most this is added, evenly spread, for each packet on its own.
    pub jitter: Duration,
    /// The share of packets that leave twice, 0 to 1. The copy has a delay of its own.
    pub duplicate: f64,
}

/// Packets that wait for their time. Times count from any fixed moment.
///
/// Input: [`DelayLine::handle_packet`]. Output: [`DelayLine::poll_packet`], [`DelayLine::poll_timeout`].
#[derive(Debug)]
pub struct DelayLine {
    disorder: Disorder,
    random: StdRng,
    arrived: u64,
    /// By departure, then by arrival: without jitter the order stays.
    waiting: BTreeMap<(Duration, u64), Vec<u8>>,
}

impl DelayLine {
    /// An empty line.
    #[must_use]
    pub fn new(disorder: Disorder, seed: u64) -> Self {
        Self { disorder, random: StdRng::seed_from_u64(seed), arrived: 0, waiting: BTreeMap::new() }
    }

    /// A packet arrived.
    pub fn handle_packet(&mut self, now: Duration, packet: Vec<u8>) {
        if self.random.random_bool(self.disorder.duplicate.clamp(0.0, 1.0)) {
            self.insert(now, packet.clone());
        }
        self.insert(now, packet);
    }

    /// The next packet whose time has come.
    pub fn poll_packet(&mut self, now: Duration) -> Option<Vec<u8>> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the next packet leaves.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    fn insert(&mut self, now: Duration, packet: Vec<u8>) {
        let extra = self.disorder.jitter.mul_f64(self.random.random());
        self.arrived += 1;
        self.waiting.insert((now + self.disorder.delay + extra, self.arrived), packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// 200 packets a millisecond apart: when each left, and which it was.
    fn pass(disorder: Disorder, seed: u64) -> Vec<(Duration, u8)> {
        let mut line = DelayLine::new(disorder, seed);
        (0..200).for_each(|index| line.handle_packet(MS * u32::from(index), vec![index]));
        let mut out = Vec::new();
        while let Some(due) = line.poll_timeout() {
            assert_eq!(line.poll_packet(due.saturating_sub(MS / 1000)), None, "nothing leaves early");
            out.push((due, line.poll_packet(due).expect("due")[0]));
        }
        out
    }

    #[test]
    fn without_jitter_the_order_stays_and_the_delay_is_exact() {
        let out = pass(Disorder { delay: MS * 20, jitter: Duration::ZERO, duplicate: 0.0 }, 1);
        let expected: Vec<_> = (0..200).map(|index| (MS * (20 + u32::from(index)), index)).collect();
        assert_eq!(out, expected);
    }

    #[test]
    fn jitter_reorders_within_its_bounds_and_loses_nothing() {
        let out = pass(Disorder { delay: MS * 20, jitter: MS * 10, duplicate: 0.0 }, 1);
        let mut order: Vec<u8> = out.iter().map(|&(_, index)| index).collect();
        assert!(!order.is_sorted());
        order.sort_unstable();
        assert_eq!(order, (0..200).collect::<Vec<_>>());
        for (left, index) in out {
            let waited = left - MS * u32::from(index);
            assert!((MS * 20..=MS * 30).contains(&waited), "{waited:?}");
        }
    }

    #[test]
    fn a_share_leaves_twice() {
        let copies = pass(Disorder { delay: MS, jitter: Duration::ZERO, duplicate: 0.25 }, 1).len() - 200;
        assert!((25..=75).contains(&copies), "{copies}");
    }

    #[test]
    fn the_seed_decides() {
        let disorder = Disorder { delay: MS, jitter: MS * 5, duplicate: 0.1 };
        assert_eq!(pass(disorder, 7), pass(disorder, 7));
        assert_ne!(pass(disorder, 7), pass(disorder, 8));
    }
}
