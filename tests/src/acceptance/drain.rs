//! Maintenance: the manager that carries both agents is drained and then stopped, under 2,000 pings 5 ms apart.

use std::time::Duration;

use super::report::{Limit, Report};
use super::series::two_equal_managers;
use crate::lab::Lab;
use crate::overlay::{Traffic, let_pass};

const PINGS: u64 = 2000;
/// A third of the pings before the drain, a third before the stop, and a third after.
const PART: Duration = Duration::from_millis(3400);

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = two_equal_managers(lab)?;
    let active = overlay.active()?;
    let (from, to) = (&overlay.agents[0], &overlay.agents[1]);
    let traffic = Traffic::start(&from.host, &to.host, to.v4()?)?;
    let_pass(PART);
    overlay.managers[active].run(&["drain"])?;
    overlay.wait_carried(0, 1 - active)?;
    overlay.wait_carried(1, 1 - active)?;
    let_pass(PART);
    overlay.managers[active].stop()?;
    let_pass(PART);
    let outcome = traffic.finish()?;
    report.count("drain_pings_sent", outcome.ping.sent, "pings", Limit::AtLeast(PINGS as f64));
    report.count("drain_pings_lost", outcome.ping.lost, "pings", Limit::Exactly(0.0));
    report.count("drain_pings_duplicated", outcome.ping.duplicated, "pings", Limit::Exactly(0.0));
    report.count("drain_tcp_kept", u64::from(outcome.stream.kept), "of 1", Limit::Exactly(1.0));
    report.count("drain_bytes_lost", outcome.stream.bytes_lost, "bytes", Limit::Exactly(0.0));
    Ok(())
}
