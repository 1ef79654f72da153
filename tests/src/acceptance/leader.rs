//! The leader of the registry is killed with SIGKILL while changes come in through the other two managers.

use std::time::Duration;

use super::load::{Change, Load, acknowledged, all_agree, leader, longest_stall, lost, twice};
use super::report::{Limit, Report};
use super::series::{RUNS, median};
use crate::lab::{Echo, Lab};
use crate::overlay::{Overlay, Spec, let_pass, wait_until_slowly};

const CALM: Duration = Duration::from_millis(1000);
/// Longer than any stall that could still meet its bar.
const AFTERMATH: Duration = Duration::from_secs(4);
const PING_INTERVAL: Duration = Duration::from_millis(5);
const SETTLE: Duration = Duration::from_secs(20);

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = Overlay::start(lab, &Spec { priorities: &[200, 150, 100], ..Spec::default() })?;
    let (mut stalls, mut acknowledged, mut watched) = (Vec::new(), Vec::new(), Watched::default());
    for number in 0..RUNS {
        let run = run(&mut overlay, number, &mut watched)?;
        stalls.push(run.stall);
        acknowledged.extend(run.acknowledged);
    }
    report.note(&format!("leader_killed: changes stalled for {stalls:.2?} s; {} acknowledged", acknowledged.len()));
    report.note(&format!("leader_killed: the leader carried no traffic in {} runs", watched.runs));
    report.add("leader_killed_stall_median", median(&stalls), "s", Limit::AtMost(1.5));
    report.add("leader_killed_stall_worst", stalls.into_iter().fold(f64::NAN, f64::max), "s", Limit::AtMost(3.0));
    report.count("leader_killed_lost", lost(&overlay, &acknowledged)?, "changes", Limit::Exactly(0.0));
    report.count("leader_killed_twice", twice(&overlay)?, "addresses", Limit::Exactly(0.0));
    report.count("leader_killed_pings_sent", watched.sent, "pings", Limit::AtLeast(1.0));
    report.count("leader_killed_pings_lost", watched.lost, "pings", Limit::Exactly(0.0));
    Ok(())
}

/// Pings in the runs in which the leader carried none of them.
#[derive(Debug, Default)]
struct Watched {
    runs: u64,
    sent: u64,
    lost: u64,
}

struct Run {
    /// Seconds without an acknowledgement.
    stall: f64,
    acknowledged: Vec<String>,
}

fn run(overlay: &mut Overlay<'_>, number: usize, watched: &mut Watched) -> anyhow::Result<Run> {
    wait_until_slowly(SETTLE, "both agents with one manager", || Ok(overlay.active().is_ok()))?;
    let (active, leader) = (overlay.active()?, leader(overlay)?);
    let (from, to) = (&overlay.agents[0], &overlay.agents[1]);
    let mut ping = Echo::ping(&from.host, to.v4()?, PING_INTERVAL)?;
    ping.wait_first(SETTLE)?;
    let loads = overlay.managers.iter().enumerate().filter(|(index, _)| *index != leader);
    let loads = loads.map(|(index, manager)| Load::start(manager, from, &format!("w{number}-{index}")));
    let loads = loads.collect::<anyhow::Result<Vec<_>>>()?;
    let_pass(CALM);
    overlay.managers[leader].program()?.kill()?;
    let_pass(AFTERMATH);
    let changes: Vec<Change> = loads.into_iter().flat_map(|load| load.finish().0).collect();
    let pings = ping.finish()?;
    if active != leader {
        watched.runs += 1;
        watched.sent += pings.sent;
        watched.lost += pings.lost;
    }
    overlay.managers[leader].start()?;
    overlay.wait_until_ready()?;
    wait_until_slowly(SETTLE, "a registry that all take part in", || all_agree(overlay))?;
    Ok(Run { stall: longest_stall(&changes), acknowledged: acknowledged(&changes) })
}
