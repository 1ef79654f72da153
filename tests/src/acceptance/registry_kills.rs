//! Managers lose their power at random moments while changes come in, and with it what their disks had not synced. In the
//! simulation: hundreds of cuts, each in the middle of something, take seconds there.

use std::process::Command;

use anyhow::Context;
use serde::Deserialize;

use super::report::{Limit, Report};
use crate::lab::{Lab, tool};

const PROGRAM: &str = "festoon-registry-kills";

/// What the program prints.
#[derive(Deserialize)]
struct Figures {
    kills: u64,
    acknowledged: u64,
    unknown: u64,
    lost: u64,
    twice: u64,
    not_linearizable: u64,
    otherwise_wrong: u64,
}

pub(super) fn measure(_: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let program = tool(PROGRAM)?;
    let output = Command::new(&program).output().with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // Each failure says how to see it again.
    said.lines().filter(|line| line.contains("seed")).for_each(|line| report.note(line));
    anyhow::ensure!(output.status.success(), "{PROGRAM} failed: {said}");
    let found: Figures = serde_json::from_slice(&output.stdout).context("no figures")?;
    let Figures { acknowledged, unknown, .. } = found;
    report.note(&format!("registry_kills: {acknowledged} changes acknowledged, {unknown} whose clients never knew"));
    report.count("registry_kills", found.kills, "kills", Limit::AtLeast(500.0));
    report.count("registry_kills_lost", found.lost, "changes", Limit::Exactly(0.0));
    report.count("registry_kills_twice", found.twice, "addresses", Limit::Exactly(0.0));
    report.count("registry_kills_not_linearizable", found.not_linearizable, "histories", Limit::Exactly(0.0));
    report.count("registry_kills_otherwise_wrong", found.otherwise_wrong, "things", Limit::Exactly(0.0));
    Ok(())
}
