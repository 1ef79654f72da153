//! All managers and all their disks are lost at once, and one is restored from a snapshot: once on the machine of one
//! of them, and once on a new machine that got its address. Nobody lends the agents a hand.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::report::{Limit, Report};
use crate::clock::now;
use crate::lab::{Echo, Host, Lab};
use crate::overlay::{Agent, Introduction, Manager, Overlay, Spec};

const AGENTS: [&str; 4] = ["a", "b", "c", "d"];
const PING_INTERVAL: Duration = Duration::from_millis(20);
/// The time of a person who restores is not ours: this is how long agents may take once a manager serves.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = Overlay::start(lab, &Spec { priorities: &[200, 150, 100], agents: &AGENTS, ..Spec::default() })?;
    for (round, is_new) in [(1, false), (2, true)] {
        let name = if is_new { "restore_new_machine" } else { "restore_same_machine" };
        let before = addresses(&overlay)?;
        let backup = Backup::take(&overlay, lab, round)?;
        // The agents know of two managers more, which are gone for good.
        let old = lose_all(&mut overlay)?;
        let host = if is_new { old.replace("machine")? } else { old };
        let (took, back) = restore(&mut overlay, lab, &host, &backup, round)?;
        report.note(&format!("{name}: agents carried traffic {took:.1} s after the manager served"));
        report.count(&format!("{name}_back"), back, "agents", Limit::Exactly(AGENTS.len() as f64));
        let renumbered = addresses(&overlay)?.iter().zip(&before).filter(|(now, before)| now != before).count();
        report.count(&format!("{name}_renumbered"), renumbered as u64, "agents", Limit::Exactly(0.0));
        if round == 1 {
            // As an admin would: the cluster is one of three again.
            overlay.add_manager(150)?;
            overlay.add_manager(100)?;
        }
        overlay.wait_until_ready()?;
    }
    Ok(())
}

/// A snapshot and what reads it.
struct Backup {
    file: PathBuf,
    key: PathBuf,
}

impl Backup {
    fn take(overlay: &Overlay<'_>, lab: &Lab, round: u32) -> anyhow::Result<Self> {
        let (file, key) =
            (lab.dir().join(format!("backup{round}.age")), lab.dir().join(format!("recovery{round}.key")));
        fs::write(&key, overlay.new_recovery_key()?)?;
        overlay.first_manager()?.run(&["snapshots", "create", &file.to_string_lossy()])?;
        Ok(Self { file, key })
    }
}

fn addresses(overlay: &Overlay<'_>) -> anyhow::Result<Vec<Vec<std::net::IpAddr>>> {
    overlay.agents.iter().map(|agent| Ok(agent.status()?.addresses)).collect()
}

/// Kills all managers, deletes all that they kept, and says where the last one was.
fn lose_all(overlay: &mut Overlay<'_>) -> anyhow::Result<Host> {
    for manager in &mut overlay.managers {
        manager.program()?.kill()?;
        fs::remove_dir_all(manager.data_dir())?;
    }
    let hosts: Vec<Host> = overlay.managers.drain(..).map(|manager| manager.host.clone()).collect();
    hosts.last().cloned().context("no manager")
}

/// Seconds from when the restored manager serves until all agents have traffic, and how many have.
fn restore(
    overlay: &mut Overlay<'_>,
    lab: &Lab,
    host: &Host,
    backup: &Backup,
    round: u32,
) -> anyhow::Result<(f64, u64)> {
    let name = format!("phoenix{round}");
    let me = Introduction { name: name.clone(), underlay: host.v4().into(), priority: 200 };
    // A ring: every agent sends and is sent to.
    let next = |index: usize| &overlay.agents[(index + 1) % overlay.agents.len()];
    let ring = overlay.agents.iter().enumerate().map(|(index, agent)| (agent, next(index)));
    let ping = |(from, to): (&Agent, &Agent)| Echo::ping(&from.host, to.v4()?, PING_INTERVAL);
    let mut pings = ring.map(ping).collect::<anyhow::Result<Vec<_>>>()?;
    overlay.managers.push(Manager::restore(host, lab.dir().join(&name), &me, &backup.file, &backup.key)?);
    let serves = now();
    let back = pings.iter_mut().filter_map(|ping| ping.wait_first(PATIENCE.saturating_sub(serves.elapsed())).ok());
    let back = back.count() as u64;
    Ok((serves.elapsed().as_secs_f64(), back))
}
