//! How many of what was measured was how large.

use std::time::Duration;

/// Counts of what was measured, by upper bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// By bound, each without those of lower bounds; at the end those above all.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// Of nothing yet. `bounds` grow.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Counts a length of time, in seconds.
    pub fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[place] += 1;
        self.sum += seconds;
    }

    /// Each bound with the count of all that is not above it.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let mut total = 0;
        bounds.zip(&self.counts).map(move |(bound, count)| {
            total += count;
            (bound, total)
        })
    }

    /// All that was measured, added.
    pub(crate) const fn sum(&self) -> f64 {
        self.sum
    }

    /// How often something was measured.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_holds_what_is_not_above_it() {
        let mut histogram = Histogram::new(&[0.25, 1.0]);
        for millis in [0, 250, 251, 1000, 1001, 60_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative, [(0.25, 2), (1.0, 4), (f64::INFINITY, 6)]);
        assert_eq!(histogram.count(), 6);
        assert!((histogram.sum() - 62.502).abs() < 1e-9);
    }
}
