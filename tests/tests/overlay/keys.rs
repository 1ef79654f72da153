//! The CA is replaced under traffic.

use std::fs;

use anyhow::Context;
use festoon_tests::lab::{Echo, Lab};
use festoon_tests::overlay::{Agent, Manager, Overlay, Spec, wait_until_slowly};
use serde_json::Value;

use crate::{MS, SOON};

fn map(agent: &Agent) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(&fs::read(agent.state_dir().join("map.json"))?)?)
}

/// The CAs that an agent believes.
fn believed(agent: &Agent) -> anyhow::Result<Vec<Value>> {
    map(agent)?["authorities"].as_array().cloned().context("the map names no CAs")
}

fn wait_all(overlay: &Overlay<'_>, what: &str, check: impl Fn(&Agent) -> anyhow::Result<bool>) -> anyhow::Result<()> {
    wait_until_slowly(SOON, what, || {
        overlay.agents.iter().try_fold(true, |all, agent| check(agent).map(|one| all && one))
    })
}

fn wait_managers_ready(manager: &Manager) -> anyhow::Result<()> {
    wait_until_slowly(SOON, "all managers ready for the next step", || {
        let report: Value = serde_json::from_str(&manager.run(&["ca", "show", "--json"])?)?;
        let managers = report["managers"].as_array().context("no managers")?;
        Ok(report["agents_untold"] == 0 && managers.iter().all(|manager| manager["is_ready"] == true))
    })
}

#[test]
fn the_ca_is_replaced_under_traffic_and_agents_go_on_by_themselves() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec { priorities: &[100, 200], ..Spec::default() })?;
        overlay.wait_until_ready()?;
        let mut ping = Echo::ping(&overlay.agents[0].host, overlay.agents[1].v4()?, 5 * MS)?;
        ping.wait_first(SOON)?;
        let old = believed(&overlay.agents[0])?;
        assert_eq!(old.len(), 1);
        overlay.managers[0].run(&["ca", "rotate"])?;
        wait_all(&overlay, "the agents believe the next CA too", |agent| Ok(believed(agent)?.len() == 2))?;
        wait_managers_ready(&overlay.managers[1])?;
        overlay.managers[1].run(&["ca", "promote"])?;
        wait_managers_ready(&overlay.managers[0])?;
        // Everybody was told, so it needs no force.
        overlay.managers[0].run(&["ca", "retire", "--yes"])?;
        wait_all(&overlay, "the agents believe the new CA alone", |agent| {
            let now = believed(agent)?;
            Ok(now.len() == 1 && now != old)
        })?;
        overlay.managers[1].run(&["networks", "set", "default", "--add-prefix", "10.20.0.0/16"])?;
        wait_all(&overlay, "the agents have a map that came under the new CA", |agent| {
            Ok(map(agent)?["network"]["prefixes"].to_string().contains("10.20.0.0/16"))
        })?;
        let pings = ping.finish()?;
        assert!(pings.sent > 0 && pings.lost == 0, "{} of {} pings were lost", pings.lost, pings.sent);
        Ok(())
    })
}
