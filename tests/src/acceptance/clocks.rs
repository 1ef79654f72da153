//! The wall clock of an agent or a manager is wrong when it starts, or is set while it runs.

use std::time::Duration;

use super::report::{Limit, Report};
use crate::clock::now;
use crate::lab::{Echo, Lab, WallClock};
use crate::overlay::{Agent, Overlay, Spec, let_pass, wait_until_slowly};

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;
/// By how many seconds a clock is wrong at a start. Before and after each of these, the program runs with a clock that is right.
const WRONG: [i64; 4] = [-60, -HOUR, -3 * YEAR, 2 * HOUR];
/// To what a clock is set while packets flow.
const STEPS: [i64; 4] = [HOUR, 0, -HOUR, 0];
const CALM: Duration = Duration::from_secs(3);
const PING_INTERVAL: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = Overlay::start(lab, &Spec { priorities: &[200, 100], ..Spec::default() })?;
    let clock = |name: &str| WallClock::new(lab.dir().join(name));
    let (of_agent, of_manager) = (clock("clock-agent")?, clock("clock-manager")?);
    overlay.agents[0].clock = Some(of_agent.clone());
    overlay.managers[0].clock = Some(of_manager.clone());

    let agent = starts(&of_agent, || start_agent(&mut overlay))?;
    let manager = starts(&of_manager, || start_manager(&mut overlay))?;
    report.note(&format!("clocks: the tunnel was up after {agent:.2?} s and {manager:.2?} s"));
    let worst = |times: Vec<f64>| times.into_iter().fold(f64::NAN, f64::max);
    report.add("clocks_agent_worst", worst(agent), "s", Limit::AtMost(2.0));
    report.add("clocks_manager_worst", worst(manager), "s", Limit::AtMost(2.0));

    overlay.wait_until_ready()?;
    let (from, to) = (&overlay.agents[0], &overlay.agents[1]);
    let before = (from.status()?.generation, to.status()?.generation);
    let ping = Echo::ping(&from.host, to.v4()?, PING_INTERVAL)?;
    let_pass(CALM);
    for clock in [&of_agent, &of_manager] {
        for ahead in STEPS {
            clock.set(ahead)?;
            let_pass(CALM);
        }
    }
    let pings = ping.finish()?;
    let after = (from.status()?.generation, to.status()?.generation);
    report.count("clocks_switches", (after.0 - before.0) + (after.1 - before.1), "switches", Limit::Exactly(0.0));
    report.count("clocks_pings_sent", pings.sent, "pings", Limit::AtLeast(1.0));
    report.count("clocks_pings_lost", pings.lost, "pings", Limit::Exactly(0.0));
    Ok(())
}

/// Seconds that each start takes: with a clock that is wrong, and with the right one after that.
fn starts(clock: &WallClock, mut start: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    start()?;
    for wrong in WRONG {
        for ahead in [wrong, 0] {
            clock.set(ahead)?;
            times.push(start()?);
        }
    }
    Ok(times)
}

/// Seconds until the agent, started anew, reaches the other one.
fn start_agent(overlay: &mut Overlay<'_>) -> anyhow::Result<f64> {
    let to = overlay.agents[1].v4()?;
    let agent = &mut overlay.agents[0];
    agent.down()?;
    let mut ping = Echo::ping(&agent.host, to, PING_INTERVAL)?;
    let start = now();
    agent.up()?;
    ping.wait_first(PATIENCE)?;
    Ok(start.elapsed().as_secs_f64())
}

/// Seconds from the moment when the manager, started anew, serves until an agent has a tunnel to it.
fn start_manager(overlay: &mut Overlay<'_>) -> anyhow::Result<f64> {
    let manager = &mut overlay.managers[0];
    let id = manager.id;
    manager.program()?.kill()?;
    let_pass(CALM);
    manager.start()?;
    let start = now();
    wait_until_slowly(PATIENCE, "a tunnel to the manager", || is_reached(&overlay.agents[1], id))?;
    Ok(start.elapsed().as_secs_f64())
}

fn is_reached(agent: &Agent, manager: u16) -> anyhow::Result<bool> {
    let managers = agent.status()?.managers;
    Ok(managers.iter().any(|it| it.id == manager && !["down", "idle"].contains(&it.state.as_str())))
}
