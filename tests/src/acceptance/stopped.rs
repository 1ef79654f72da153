//! A manager that everybody prefers hangs for five seconds and goes on (SIGSTOP, SIGCONT), with what it held back.

use std::time::Duration;

use super::report::{Limit, Report};
use crate::clock::now;
use crate::lab::Lab;
use crate::overlay::{Overlay, Spec, Traffic, let_pass, wait_until_slowly};

const CALM: Duration = Duration::from_millis(500);
const HANG: Duration = Duration::from_secs(5);
/// An endpoint waits so long before it goes back.
const HOLD_DOWN_S: f64 = 30.0;
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = Overlay::start(lab, &Spec { priorities: &[200, 100], ..Spec::default() })?;
    let (from, to) = (&overlay.agents[0], &overlay.agents[1]);
    let traffic = Traffic::start(&from.host, &to.host, to.v4()?)?;
    let_pass(CALM);
    anyhow::ensure!(overlay.active()? == 0, "the agents are not with the manager they should prefer");
    overlay.managers[0].program()?.pause()?;
    let_pass(HANG);
    report.count("stopped_moved", carried_by(&overlay, 1)?, "agents", Limit::Exactly(2.0));
    overlay.managers[0].program()?.resume()?;
    let resumed = now();
    wait_until_slowly(PATIENCE, "the return to the preferred manager", || Ok(carried_by(&overlay, 1)? < 2))?;
    report.add("stopped_back_after", resumed.elapsed().as_secs_f64(), "s", Limit::AtLeast(HOLD_DOWN_S));
    overlay.wait_until_ready()?;
    let_pass(CALM);
    let outcome = traffic.finish()?;
    report.note(&format!("stopped: {} pings sent, a gap of {:.0} ms", outcome.ping.sent, outcome.ping.gap_ms));
    report.count("stopped_duplicated", outcome.ping.duplicated, "pings", Limit::Exactly(0.0));
    report.count("stopped_tcp_kept", u64::from(outcome.stream.kept), "of 1", Limit::Exactly(1.0));
    report.count("stopped_bytes_lost", outcome.stream.bytes_lost, "bytes", Limit::Exactly(0.0));
    Ok(())
}

/// How many agents a manager carries, by their own account.
fn carried_by(overlay: &Overlay<'_>, manager: usize) -> anyhow::Result<u64> {
    let id = overlay.managers[manager].id;
    overlay.agents.iter().map(|agent| Ok(u64::from(agent.status()?.active == Some(id)))).sum()
}
