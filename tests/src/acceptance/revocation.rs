//! Live agents are removed while they ping and are pinged, each with a session with every manager; and try to come
//! back.

use std::time::Duration;

use anyhow::Context;

use super::report::{Limit, Report};
use crate::clock::unix_ms;
use crate::lab::{Echo, Lab};
use crate::overlay::{Agent, Overlay, Spec, let_pass};
use crate::tools::outcome::EchoReport;

const VICTIMS: usize = 6;
const CALM: Duration = Duration::from_millis(500);
/// Longer than anything that could still meet its bar, and than the agent's pauses between attempts to be heard again.
const AFTERMATH: Duration = Duration::from_secs(3);
/// What an agent that was started again may take to be heard.
const RETURN: Duration = Duration::from_secs(5);
const PING_INTERVAL: Duration = Duration::from_millis(5);
const SETTLE: Duration = Duration::from_secs(20);

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = Overlay::start(lab, &Spec { priorities: &[200, 150, 100], agents: &["a"], ..Spec::default() })?;
    for number in 0..VICTIMS {
        let cloud = overlay.clouds[number % overlay.clouds.len()].clone();
        let name = format!("v{number}");
        overlay.add_agent(&name, &cloud.host(&name)?)?;
    }
    overlay.wait_until_ready()?;
    let runs = (0..VICTIMS).map(|number| run(&overlay, number)).collect::<anyhow::Result<Vec<_>>>()?;
    let returned = count_returned(&mut overlay)?;
    let worst = |figure: fn(&Run) -> f64| runs.iter().map(figure).fold(f64::NAN, f64::max);
    report.add("revocation_last_packet_worst", worst(|run| run.last_packet), "s", Limit::AtMost(1.0));
    report.add("revocation_last_session_worst", worst(|run| run.last_session), "s", Limit::AtMost(1.0));
    let asked: usize = runs.iter().map(|run| run.refused_by).sum();
    report.count("revocation_refused_by", asked as u64, "managers", Limit::Exactly((3 * VICTIMS) as f64));
    report.count("revocation_returned", returned, "agents", Limit::Exactly(0.0));
    Ok(())
}

struct Run {
    /// Seconds from the acknowledgement to the last ping that was answered, either way; 0 if that was before.
    last_packet: f64,
    /// To the last time the agent heard from any manager.
    last_session: f64,
    /// Managers that it asked since, and that did not know it.
    refused_by: usize,
}

fn run(overlay: &Overlay<'_>, number: usize) -> anyhow::Result<Run> {
    let (friend, victim) = (&overlay.agents[0], &overlay.agents[number + 1]);
    let mut pings = [(victim, friend), (friend, victim)]
        .map(|(from, to)| Echo::ping(&from.host, to.v4()?, PING_INTERVAL))
        .into_iter()
        .collect::<anyhow::Result<Vec<_>>>()?;
    pings.iter_mut().try_for_each(|ping| ping.wait_first(SETTLE).map(drop))?;
    let_pass(CALM);
    let before = unknown(overlay)?;
    overlay.managers[number % overlay.managers.len()].admin().remove_endpoint(victim.name())?;
    let acknowledged = unix_ms();
    let_pass(AFTERMATH);
    let last_session = last_heard(victim)?;
    let refused_by = unknown(overlay)?.iter().zip(before).filter(|(now, before)| *now > before).count();
    let mut last_packet = 0.0_f64;
    for ping in pings {
        last_packet = last_packet.max(last_reply(&ping.finish()?));
    }
    let since = |unix_ms: f64| ((unix_ms - acknowledged as f64) / 1000.0).max(0.0);
    Ok(Run { last_packet: since(last_packet), last_session: since(last_session), refused_by })
}

/// How often each manager got what belongs to no session or no endpoint.
fn unknown(overlay: &Overlay<'_>) -> anyhow::Result<Vec<u64>> {
    let count = |manager: &crate::overlay::Manager| {
        let status = manager.admin().status(0)?;
        Ok(status.dropped("unknown_session") + status.dropped("unknown_key"))
    };
    overlay.managers.iter().map(count).collect()
}

/// When the agent last heard from a manager, in milliseconds since 1970.
fn last_heard(agent: &Agent) -> anyhow::Result<f64> {
    let heard = agent.status()?.managers.iter().filter_map(|uplink| uplink.heard_ms_ago).min();
    // Rather too late than too early.
    let now = unix_ms();
    // Nothing could be concluded from an agent that forgot.
    let heard = heard.with_context(|| format!("{} never heard from a manager", agent.name()))?;
    Ok(now.saturating_sub(heard) as f64)
}

fn last_reply(report: &EchoReport) -> f64 {
    let arrived = report.echoes.iter().filter_map(|echo| echo.reply_ms).fold(0.0, f64::max);
    report.started_unix_ms as f64 + arrived
}

/// Starts all that were removed again, and says how many are heard by any manager or by the agent that stayed.
fn count_returned(overlay: &mut Overlay<'_>) -> anyhow::Result<u64> {
    let (friend, victims) = overlay.agents.split_first_mut().context("no agent")?;
    for victim in victims.iter_mut() {
        victim.down()?;
        victim.up()?;
    }
    let pings = victims.iter().map(|victim| Echo::ping(&victim.host, friend.v4()?, PING_INTERVAL));
    let pings = pings.collect::<anyhow::Result<Vec<_>>>()?;
    let_pass(RETURN);
    let mut returned = 0;
    for (victim, ping) in victims.iter().zip(pings) {
        let status = victim.status()?;
        let is_heard = status.managers.iter().any(|uplink| uplink.heard_ms_ago.is_some() || uplink.is_usable());
        returned += u64::from(is_heard || status.active.is_some() || ping.finish()?.received > 0);
    }
    Ok(returned)
}
