//! The simulated underlay: what it does to datagrams between two nodes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::random::Random;
use crate::world::NodeId;

/// How good the underlay is.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// Time one way; each path has its own, drawn from this range.
    pub latency: Range<Duration>,
    /// Up to this is added to the time of each datagram, so that later ones may overtake it.
    pub jitter: Duration,
    /// Datagrams lost, of a thousand.
    pub loss: u32,
    /// Datagrams delivered twice, of a thousand.
    pub duplicates: u32,
}

impl Conditions {
    /// Round-trip times of 1 to 10 ms, and nothing lost, doubled or overtaken.
    pub fn good() -> Self {
        let latency = Duration::from_micros(500)..Duration::from_millis(5);
        Self { latency, jitter: Duration::ZERO, loss: 0, duplicates: 0 }
    }
}

/// The underlay.
#[derive(Debug)]
pub struct Underlay {
    conditions: Conditions,
    random: Random,
    latencies: BTreeMap<(NodeId, NodeId), Duration>,
    /// How many faults cut this direction now.
    cuts: BTreeMap<(NodeId, NodeId), u32>,
}

impl Underlay {
    /// One without faults.
    pub fn new(conditions: Conditions, random: Random) -> Self {
        Self { conditions, random, latencies: BTreeMap::new(), cuts: BTreeMap::new() }
    }

    /// How good it is.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Changes how good it is. Paths keep their latency.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// Nothing from `from` arrives at `to` any more. To be mended as often as it was cut.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        *self.cuts.entry((from, to)).or_default() += 1;
    }

    /// Takes back one [`Underlay::cut`].
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        if let Some(count) = self.cuts.get_mut(&(from, to)) {
            *count -= 1;
        }
        self.cuts.retain(|_, count| *count > 0);
    }

    /// Takes back every cut.
    pub fn mend_all(&mut self) {
        self.cuts.clear();
    }

    /// Whether no path is cut.
    pub fn is_whole(&self) -> bool {
        self.cuts.is_empty()
    }

    /// When copies of a datagram arrive, counted from now: none if it is lost, two if it is doubled.
    pub fn transit(&mut self, from: NodeId, to: NodeId) -> impl Iterator<Item = Duration> + use<> {
        let Conditions { loss, duplicates, .. } = self.conditions;
        let is_lost = self.random.chance(loss) || self.cuts.contains_key(&(from, to));
        let is_doubled = self.random.chance(duplicates);
        let first = (!is_lost).then(|| self.delay(from, to));
        let second = (!is_lost && is_doubled).then(|| self.delay(from, to));
        first.into_iter().chain(second)
    }

    /// The latency of a path, without jitter.
    pub fn latency(&mut self, from: NodeId, to: NodeId) -> Duration {
        let (random, range) = (&mut self.random, self.conditions.latency.clone());
        *self.latencies.entry((from.min(to), from.max(to))).or_insert_with(|| random.duration(range))
    }

    fn delay(&mut self, from: NodeId, to: NodeId) -> Duration {
        self.latency(from, to) + self.random.duration(Duration::ZERO..self.conditions.jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use festoon_proto::ManagerId;

    const A: NodeId = NodeId::Manager(ManagerId(1));
    const B: NodeId = NodeId::Manager(ManagerId(2));

    #[test]
    fn it_loses_doubles_and_reorders_as_it_was_told() {
        let conditions =
            Conditions { jitter: Duration::from_millis(3), loss: 100, duplicates: 100, ..Conditions::good() };
        let mut underlay = Underlay::new(conditions, Random::new(1));
        let arrivals: Vec<Vec<Duration>> = (0..10_000).map(|_| underlay.transit(A, B).collect()).collect();
        let share = |copies| arrivals.iter().filter(|arrival| arrival.len() == copies).count();
        assert!((900..1100).contains(&share(0)), "{} lost", share(0));
        assert!((800..1000).contains(&share(2)), "{} doubled", share(2));
        let first: Vec<_> = arrivals.iter().flatten().collect();
        assert!(first.windows(2).any(|pair| *pair[0] > *pair[1] + Duration::from_millis(2)));
    }

    #[test]
    fn a_cut_is_one_way_and_is_mended_as_often_as_it_was_made() {
        let mut underlay = Underlay::new(Conditions::good(), Random::new(1));
        underlay.cut(A, B);
        underlay.cut(A, B);
        underlay.mend(A, B);
        assert_eq!((underlay.transit(A, B).count(), underlay.transit(B, A).count()), (0, 1));
        underlay.mend(A, B);
        assert!(underlay.is_whole());
        assert_eq!(underlay.transit(A, B).count(), 1);
    }
}
