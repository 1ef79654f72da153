//! The leader of the registry is killed with SIGKILL while changes come in through the other two managers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::report::{Limit, Report};
use super::series::{RUNS, median};
use crate::clock::now;
use crate::lab::{Echo, Lab};
use crate::overlay::{Manager, Overlay, Spec, let_pass, wait_until_slowly};

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
    let stop = AtomicBool::new(false);
    let (before, after) = overlay.managers.split_at_mut(leader);
    let (dying, after) = after.split_first_mut().context("a leader that is no manager")?;
    let survivors = before.iter().chain(after.iter());
    let (killed, writers) = thread::scope(|scope| {
        let stop = &stop;
        let writers: Vec<_> = survivors
            .enumerate()
            .map(|(index, manager)| scope.spawn(move || write(manager, &format!("w{number}-{index}"), stop)))
            .collect();
        let_pass(CALM);
        let killed = dying.program().and_then(|program| program.kill());
        let_pass(AFTERMATH);
        stop.store(true, Ordering::Relaxed);
        let writers = writers.into_iter().map(|writer| writer.join().unwrap_or_default()).collect::<Vec<_>>();
        (killed, writers)
    });
    killed?;
    let pings = ping.finish()?;
    if active != leader {
        watched.runs += 1;
        watched.sent += pings.sent;
        watched.lost += pings.lost;
    }
    overlay.managers[leader].start()?;
    overlay.wait_until_ready()?;
    wait_until_slowly(SETTLE, "a registry that all take part in", || all_agree(overlay))?;
    let mut acknowledgements: Vec<(Instant, String)> = writers.into_iter().flatten().collect();
    acknowledgements.sort();
    let stall = acknowledgements.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_secs_f64()).fold(f64::NAN, f64::max);
    Ok(Run { stall, acknowledged: acknowledgements.into_iter().map(|(_, name)| name).collect() })
}

/// Adds endpoints one after the other until it is stopped: when each was acknowledged, and its name.
fn write(manager: &Manager, prefix: &str, stop: &AtomicBool) -> Vec<(Instant, String)> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{prefix}-{number}");
        if manager.run(&["endpoint", "add", &name, "--client"]).is_ok() {
            acknowledged.push((now(), name));
        }
    }
    acknowledged
}

fn leader(overlay: &Overlay<'_>) -> anyhow::Result<usize> {
    let status = overlay.first_manager()?.status()?;
    overlay.index_of(status.registry.leader.context("nobody leads the registry")?.manager)
}

fn all_agree(overlay: &Overlay<'_>) -> anyhow::Result<bool> {
    for manager in &overlay.managers {
        let registry = manager.status()?.registry;
        let lags = |member: &crate::overlay::Member| !member.votes || !member.is_heard || member.lag != Some(0);
        if registry.leader.is_none()
            || registry.members.len() != overlay.managers.len()
            || registry.members.iter().any(lags)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Changes that were acknowledged and that some manager does not have.
fn lost(overlay: &Overlay<'_>, acknowledged: &[String]) -> anyhow::Result<u64> {
    let mut lost = BTreeSet::new();
    for manager in &overlay.managers {
        let endpoints = manager.endpoints()?;
        let there: BTreeSet<&str> = endpoints.iter().map(|row| &*row.name).collect();
        lost.extend(acknowledged.iter().filter(|name| !there.contains(&***name)).cloned());
    }
    Ok(lost.len() as u64)
}

/// Addresses that two endpoints have.
fn twice(overlay: &Overlay<'_>) -> anyhow::Result<u64> {
    let endpoints = overlay.first_manager()?.endpoints()?;
    let all: Vec<IpAddr> = endpoints.iter().flat_map(|row| row.addresses.iter().copied()).collect();
    Ok((all.len() - all.iter().collect::<BTreeSet<_>>().len()) as u64)
}
