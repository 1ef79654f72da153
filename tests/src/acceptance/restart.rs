//! All managers are killed at once and started again. Nobody else lends a hand.

use std::time::Duration;

use super::report::{Limit, Report};
use super::series::two_equal_managers;
use crate::clock::now;
use crate::lab::{Echo, Lab};
use crate::overlay::{Overlay, let_pass};

const RUNS: usize = 5;
const PING_INTERVAL: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(30);
const DOWN: Duration = Duration::from_secs(3);

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = two_equal_managers(lab)?;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        times.push(run(&mut overlay)?);
        overlay.wait_until_ready()?;
    }
    report.note(&format!("restart: traffic after {times:.2?} s"));
    let worst = times.into_iter().fold(f64::NAN, f64::max);
    report.add("restart_recovery_worst", worst, "s", Limit::AtMost(5.0));
    Ok(())
}

/// Seconds from the moment when all managers are up until pings are answered both ways.
fn run(overlay: &mut Overlay<'_>) -> anyhow::Result<f64> {
    for manager in &mut overlay.managers {
        manager.program()?.kill()?;
    }
    let_pass(DOWN);
    let (a, b) = (&overlay.agents[0], &overlay.agents[1]);
    let ways = [(&a.host, b.v4()?), (&b.host, a.v4()?)];
    // Started while nothing can answer yet: the first answer is the first packet through.
    let pings = ways.map(|(from, to)| Echo::ping(from, to, PING_INTERVAL));
    for manager in &mut overlay.managers {
        manager.spawn()?;
    }
    for manager in &mut overlay.managers {
        manager.wait_serving()?;
    }
    let up = now();
    for ping in pings {
        ping?.wait_first(PATIENCE)?;
    }
    Ok(up.elapsed().as_secs_f64())
}
