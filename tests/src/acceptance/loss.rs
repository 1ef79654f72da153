//! Every twentieth packet is lost everywhere for a minute: no reason to leave a manager.

use std::time::Duration;

use super::report::{Limit, Report};
use super::series::two_equal_managers;
use crate::lab::{Lab, Path};
use crate::overlay::{Overlay, Traffic, let_pass};

const PERCENT: f64 = 5.0;
const TIME: Duration = Duration::from_secs(60);

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let overlay = two_equal_managers(lab)?;
    let before = generations(&overlay)?;
    let (from, to) = (&overlay.agents[0], &overlay.agents[1]);
    let traffic = Traffic::start(&from.host, &to.host, to.v4()?)?;
    let lossy = overlay.net.lose(&Path::everywhere(), PERCENT)?;
    let_pass(TIME);
    let (packets, _) = lossy.dropped()?;
    lossy.heal()?;
    let outcome = traffic.finish()?;
    let switches = generations(&overlay)? - before;
    let lost = 100.0 * outcome.ping.lost as f64 / outcome.ping.sent as f64;
    report.note(&format!("loss: {packets} packets dropped, and with them {lost:.1} % of the pings (four hops each)"));
    report.count("loss_switches", switches, "switches", Limit::Exactly(0.0));
    report.count("loss_bytes_lost", outcome.stream.bytes_lost, "bytes", Limit::Exactly(0.0));
    // Without loss there is nothing to withstand: of four hops at 5 % each, 18.5 % of the pings.
    report.add("loss_pings_lost", lost, "percent", Limit::AtLeast(10.0));
    Ok(())
}

/// Of all agents, summed: every switch adds one.
fn generations(overlay: &Overlay<'_>) -> anyhow::Result<u64> {
    overlay.agents.iter().map(|agent| Ok(agent.status()?.generation)).sum()
}
