//! Scenarios: whole overlays on real hosts. They assert what happens, with generous deadlines; how fast it must happen is for
//! `make acceptance`.

mod clients;
mod diagnosis;
mod failover;
mod hostile;
mod keys;
mod lifecycle;
mod metrics;
mod networks;
mod paths;
mod registry;
mod restore;
mod rotation;
mod routes;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use festoon_tests::lab::{Host, tool};
use festoon_tests::overlay::{Agent, Overlay, wait_until_slowly};
use festoon_tests::tools::outcome::EchoReport;

const MS: Duration = Duration::from_millis(1);
const SOON: Duration = Duration::from_secs(15);

/// A few pings.
fn ping(from: &Host, to: IpAddr, count: u32) -> anyhow::Result<EchoReport> {
    let (to, count) = (format!("--target={to}"), format!("--count={count}"));
    let args = ["ping", &to, &count, "--interval-ms=5", "--linger-ms=300"];
    let text = from.run(&tool("festoon-labtool")?.to_string_lossy(), &args).context("ping")?;
    Ok(serde_json::from_str(&text)?)
}

/// Whether a ping is answered now.
fn reaches(from: &Host, to: IpAddr) -> anyhow::Result<bool> {
    Ok(ping(from, to, 3)?.received > 0)
}

/// Waits until a ping is answered.
fn wait_reaches(from: &Host, to: IpAddr) -> anyhow::Result<()> {
    wait_until_slowly(SOON, &format!("an answer from {to} to {}", from.name()), || reaches(from, to))
}

/// Waits until every agent reaches every other, over both families inside.
fn wait_all_reach(overlay: &Overlay<'_>) -> anyhow::Result<()> {
    for from in &overlay.agents {
        for to in overlay.agents.iter().filter(|to| to.name() != from.name()) {
            wait_reaches(&from.host, to.v4()?)?;
            wait_reaches(&from.host, to.v6()?)?;
        }
    }
    Ok(())
}

/// What a command that must fail says, in its one line. Warnings are lines of their own.
fn refusal(result: anyhow::Result<String>) -> anyhow::Result<String> {
    let said = match result {
        Ok(said) => anyhow::bail!("it should have failed, but said {said:?}"),
        Err(error) => error.to_string(),
    };
    let (warnings, said): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.contains(": warning: "));
    // A warning follows the command on the line where that is named.
    anyhow::ensure!(said.len() <= 1 && warnings.len() <= 1, "more than one line: {said:?}");
    Ok([warnings, said].concat().join(" "))
}

fn agent<'a>(overlay: &'a Overlay<'_>, name: &str) -> anyhow::Result<&'a Agent> {
    overlay.agents.iter().find(|agent| agent.name() == name).with_context(|| format!("no agent {name}"))
}
