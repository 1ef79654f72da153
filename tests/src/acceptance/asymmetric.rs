//! Only the path between one agent and its manager is cut: that agent moves, the other stays, and their traffic takes the
//! link between the managers.

use std::time::Duration;

use super::report::{Limit, Report};
use super::series::two_equal_managers;
use crate::lab::Lab;
use crate::overlay::{Traffic, let_pass};

const CALM: Duration = Duration::from_millis(500);
const AFTERMATH: Duration = Duration::from_secs(2);
/// As for any other blackhole.
const WORST_MS: f64 = 600.0;

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let overlay = two_equal_managers(lab)?;
    let (a, b) = (&overlay.agents[0], &overlay.agents[1]);
    let active = &overlay.managers[overlay.active()?];
    let before = (a.status()?.generation, b.status()?.generation);
    let traffic = Traffic::start(&a.host, &b.host, b.v4()?)?;
    let_pass(CALM);
    let cut = overlay.net.cut(&a.host, &active.host)?;
    let_pass(AFTERMATH);
    let (a_now, b_now) = (a.status()?, b.status()?);
    let outcome = traffic.finish()?;
    report.count("asymmetric_a_moved", a_now.generation - before.0, "switches", Limit::Exactly(1.0));
    report.count("asymmetric_b_moved", b_now.generation - before.1, "switches", Limit::Exactly(0.0));
    let apart = a_now.active.is_some() && a_now.active != b_now.active && b_now.active == Some(active.id);
    report.count("asymmetric_apart", u64::from(apart), "of 1", Limit::Exactly(1.0));
    let gap = if outcome.ping.gap_closed { outcome.ping.gap_ms } else { f64::INFINITY };
    report.add("asymmetric_gap", gap, "ms", Limit::AtMost(WORST_MS));
    report.count("asymmetric_tcp_kept", u64::from(outcome.stream.kept), "of 1", Limit::Exactly(1.0));
    report.count("asymmetric_bytes_lost", outcome.stream.bytes_lost, "bytes", Limit::Exactly(0.0));
    cut.heal()
}
