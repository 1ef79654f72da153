//! What the audit log has of an attack: nothing that somebody did who may not.

use anyhow::Context;
use serde_json::Value;

use super::world::World;

/// The number of the newest entry.
pub(super) fn last(world: &World<'_>) -> anyhow::Result<u64> {
    let page = world.overlay.first_manager()?.admin().api("GET", "/audit?last=1", &Value::Null)?;
    page["items"][0]["number"].as_u64().context("the audit log is empty")
}

/// What was done behind entry number `before` by anybody but the managers that run, which do their work by themselves.
pub(super) fn since(world: &World<'_>, before: u64) -> anyhow::Result<Vec<String>> {
    let path = format!("/audit?after={before}");
    let page = world.overlay.first_manager()?.admin().api("GET", &path, &Value::Null)?;
    let entries = page["items"].as_array().context("this is no audit log")?;
    let running: Vec<String> =
        world.overlay.managers.iter().chain([&world.witness]).map(|manager| format!("m{}", manager.id)).collect();
    let is_work = |entry: &&Value| match entry["by"]["kind"].as_str() {
        Some("cluster") => true,
        Some("manager") => entry["by"]["id"].as_str().is_some_and(|id| running.iter().any(|it| it == id)),
        _ => false,
    };
    Ok(entries
        .iter()
        .filter(|entry| !is_work(entry))
        .map(|entry| format!("the attack changed something: {entry}"))
        .collect())
}
