//! 100,000 events for a receiver of webhooks that is down for the first half of them, while the manager that delivers is killed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::report::{Limit, Report};
use crate::clock::now;
use crate::lab::{Lab, Program, tool, wait_for};
use crate::overlay::{Manager, Overlay, Spec, wait_until_slowly};
use crate::tools::webhooks::WebhooksReport;

/// Each is added and removed: two events.
const ENDPOINTS: usize = 50_000;
const BATCH: usize = 1_000;
/// Removals on their way at once.
const REMOVERS: usize = 64;
const PORT: u16 = 8099;
const PATIENCE: Duration = Duration::from_secs(600);
const END: Duration = Duration::from_secs(20);

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = Overlay::start(lab, &Spec { priorities: &[100], agents: &[], ..Spec::default() })?;
    let manager = overlay.managers.first_mut().context("no manager")?;
    let at = SocketAddr::new(manager.host.ip(), PORT);
    let created = manager.admin().api(
        "POST",
        "/event-destinations",
        &json!({
            "name": "receiver", "kind": "webhook", "url": format!("http://{at}/"), "events": ["admin.changed"],
            "allow_private_addresses": true,
        }),
    )?;
    let id = created["event_destination"]["id"].as_str().context("no id")?.to_owned();
    let endpoints = add(manager)?;
    let out = lab.dir().join("webhooks.json");
    let (began, mut receiver) = (now(), receive(manager, at, &out)?);
    // In the middle of the first half.
    wait_for(PATIENCE, "half of the first half", || (lag(manager, &id).ok()? < ENDPOINTS / 2).then_some(()))?;
    manager.program()?.kill()?;
    manager.start()?;
    remove(manager, &endpoints)?;
    wait_until_slowly(PATIENCE, "everything delivered", || Ok(lag(manager, &id).is_ok_and(|lag| lag == 0)))?;
    report.add("webhooks_time", began.elapsed().as_secs_f64(), "s", Limit::AtMost(300.0));
    receiver.terminate()?;
    receiver.wait(END)?;
    let found: WebhooksReport = serde_json::from_slice(&std::fs::read(&out)?).context("no report")?;
    let destination = manager.admin().api("GET", &format!("/event-destinations/{id}"), &Value::Null)?;
    let given_up = |member: &str| destination["delivery"][member].as_u64().context("no such count");
    let expected = (2 * endpoints.len()) as u64;
    report.count("webhooks_events", expected, "events", Limit::AtLeast(100_000.0));
    report.count("webhooks_lost", expected.saturating_sub(found.events), "events", Limit::Exactly(0.0));
    report.count("webhooks_out_of_order", found.out_of_order, "events", Limit::Exactly(0.0));
    report.count("webhooks_missed", given_up("missed")?, "events", Limit::Exactly(0.0));
    report.count("webhooks_dead_letters", given_up("dead_letters")?, "events", Limit::Exactly(0.0));
    report.note(&format!("webhooks: {} came again after the manager was killed", found.repeated));
    Ok(())
}

/// Adds all endpoints, and gives their ids.
fn add(manager: &Manager) -> anyhow::Result<Vec<String>> {
    let (mut admin, mut ids) = (manager.admin(), Vec::new());
    for first in (0..ENDPOINTS).step_by(BATCH) {
        let batch: Vec<_> = (first..first + BATCH).map(|number| json!({ "name": format!("hook-{number}") })).collect();
        let created = admin.api("POST", "/endpoints/batch", &json!({ "endpoints": batch }))?;
        let created = created.as_array().context("no list")?;
        ids.extend(created.iter().filter_map(|created| Some(created["endpoint"]["id"].as_str()?.to_owned())));
    }
    anyhow::ensure!(ids.len() == ENDPOINTS, "{} endpoints were added, not {ENDPOINTS}", ids.len());
    Ok(ids)
}

fn remove(manager: &Manager, ids: &[String]) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let remove = || {
        let mut admin = manager.admin();
        while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            admin.api("DELETE", &format!("/endpoints/{id}"), &Value::Null)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let removers: Vec<_> = (0..REMOVERS).map(|_| scope.spawn(remove)).collect();
        let ended = removers.into_iter().map(|remover| remover.join().unwrap_or_else(|_| anyhow::bail!("a panic")));
        ended.collect::<anyhow::Result<()>>()
    })
}

fn receive(manager: &Manager, at: SocketAddr, out: &std::path::Path) -> anyhow::Result<Program> {
    let listen = format!("--listen={at}");
    let out = format!("--out={}", out.display());
    manager.host.spawn(tool("festoon-labtool")?, &["webhooks".to_owned(), listen, out, "--until-eof".to_owned()])
}

/// Events that the destination does not have yet.
fn lag(manager: &Manager, id: &str) -> anyhow::Result<usize> {
    let destination = manager.admin().api("GET", &format!("/event-destinations/{id}"), &Value::Null)?;
    let lag = destination["delivery"]["lag"].as_u64().filter(|_| destination["delivery"]["manager"].is_string());
    Ok(usize::try_from(lag.context("nobody delivers")?)?)
}
