//! The same failover again and again, in one lab, and the gaps it made.

use std::time::Duration;

use rand::RngExt;

use super::report::{Limit, Report};
use crate::lab::Lab;
use crate::overlay::{Agent, AgentStatus, Outcome, Overlay, Spec, Traffic, let_pass};

/// How often, for the bars that say so.
pub(super) const RUNS: usize = 20;
/// Traffic before a fault: this, and up to this much more, so that faults fall anywhere between two probes.
const CALM: Duration = Duration::from_millis(300);
/// Traffic after a fault: longer than any gap that could still meet its bar.
const AFTERMATH: Duration = Duration::from_millis(1500);

/// What happened in the runs.
#[derive(Debug, Default)]
pub(super) struct Series {
    gaps: Vec<f64>,
    kept: usize,
    bytes_lost: u64,
}

/// Two managers that neither agent prefers, and both agents with the first of them.
pub(super) fn two_equal_managers(lab: &Lab) -> anyhow::Result<Overlay<'_>> {
    let overlay = Overlay::start(lab, &Spec { priorities: &[200, 100], ..Spec::default() })?;
    overlay.first_manager()?.run(&["managers", "set", "m1", "--priority=100"])?;
    overlay.wait_until_ready()?;
    Ok(overlay)
}

impl Series {
    /// One run: traffic from the first agent to the second, `fault` to the manager that carries both, and then `heal` to bring
    /// all back into good order. What `fault` returns lasts until then.
    pub(super) fn run<F>(
        &mut self,
        overlay: &mut Overlay<'_>,
        fault: impl FnOnce(&mut Overlay<'_>, usize) -> anyhow::Result<F>,
        heal: impl FnOnce(&mut Overlay<'_>, usize, F) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let active = overlay.active()?;
        let (from, to) = (&overlay.agents[0], &overlay.agents[1]);
        let traffic = Traffic::start(&from.host, &to.host, to.v4()?)?;
        let_pass(CALM + CALM.mul_f64(rand::rng().random_range(0.0..1.0)));
        let broken = fault(overlay, active)?;
        let_pass(AFTERMATH);
        let after = overlay.active()?;
        if after == active {
            let seen: Vec<AgentStatus> = overlay.agents.iter().map(Agent::status).collect::<Result<_, _>>()?;
            anyhow::bail!("the agents did not move: {seen:?}");
        }
        self.add(&traffic.finish()?);
        heal(overlay, active, broken)?;
        overlay.wait_until_ready()
    }

    fn add(&mut self, outcome: &Outcome) {
        let gap = if outcome.ping.gap_closed { outcome.ping.gap_ms } else { f64::INFINITY };
        self.gaps.push(gap);
        self.kept += usize::from(outcome.stream.kept);
        self.bytes_lost += outcome.stream.bytes_lost;
    }

    /// Reports the gaps' worst and, with a bar, their median; and that every connection lived and lost nothing.
    pub(super) fn report(&self, name: &str, median_ms: Option<f64>, worst_ms: f64, report: &mut Report) {
        let shown: Vec<String> = self.gaps.iter().map(|gap| format!("{gap:.0}")).collect();
        report.note(&format!("{name}: gaps of {} ms", shown.join(" ")));
        if let Some(bar) = median_ms {
            report.add(&format!("{name}_gap_median"), median(&self.gaps), "ms", Limit::AtMost(bar));
        }
        let worst = self.gaps.iter().copied().fold(f64::NAN, f64::max);
        report.add(&format!("{name}_gap_worst"), worst, "ms", Limit::AtMost(worst_ms));
        let runs = self.gaps.len();
        report.count(&format!("{name}_tcp_kept"), self.kept as u64, &format!("of {runs}"), Limit::Exactly(runs as f64));
        report.count(&format!("{name}_bytes_lost"), self.bytes_lost, "bytes", Limit::Exactly(0.0));
    }
}

/// The mean of the two in the middle, for an even number.
pub(super) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.get(middle) {
        None => f64::NAN,
        Some(&upper) if sorted.len() % 2 == 1 => upper,
        Some(&upper) => (sorted[middle - 1] + upper) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
