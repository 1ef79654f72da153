//! How soon a client of one manager hears what happened at another: of changes, and of agents that move.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::Value;

use super::report::{Limit, Report};
use super::size::{percentile, worst};
use crate::clock::{now, unix_ms};
use crate::lab::Lab;
use crate::overlay::{EventStream, Overlay, Spec, let_pass};

const CHANGES: usize = 200;
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);

/// An event, and when a client had it, in milliseconds since 1970.
type Heard = (Value, u64);

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let agents = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let overlay = Overlay::start(lab, &Spec { priorities: &[200, 150, 100], agents: &agents, ..Spec::default() })?;
    // The last manager is the one of which nothing is told.
    let heard = listen(overlay.managers.last().context("no manager")?.admin().events()?);
    let delays = changes(&overlay, &heard)?;
    add(report, "change", &delays);
    let delays = moves(&overlay, &heard)?;
    add(report, "move", &delays);
    Ok(())
}

fn add(report: &mut Report, what: &str, delays: &[f64]) {
    let median = percentile(delays, 50);
    report.note(&format!("events: {} of each {what}, {median:.0} ms in the median", delays.len()));
    report.add(&format!("events_{what}_worst"), worst(delays), "ms", Limit::AtMost(200.0));
}

/// Hands on what a stream tells, with the time.
fn listen(mut stream: EventStream) -> Receiver<Heard> {
    let (hear, heard) = channel();
    thread::spawn(move || {
        while let Ok(event) = stream.wait_next() {
            if hear.send((event, unix_ms())).is_err() {
                return;
            }
        }
    });
    heard
}

/// Milliseconds from when events of this kind happened until they were heard of, for so many.
fn delays(heard: &Receiver<Heard>, kind: &str, count: usize) -> anyhow::Result<Vec<f64>> {
    let (mut delays, deadline) = (Vec::new(), now() + PATIENCE);
    while delays.len() < count {
        let left = deadline.saturating_duration_since(now());
        let (event, at) = heard.recv_timeout(left).with_context(|| format!("{} of {count} {kind}", delays.len()))?;
        if event["kind"] == kind {
            let happened: Timestamp = event["at"].as_str().context("an event has no time")?.parse()?;
            delays.push(at as f64 - happened.as_millisecond() as f64);
        }
    }
    Ok(delays)
}

/// Of changes made through the first manager.
fn changes(overlay: &Overlay<'_>, heard: &Receiver<Heard>) -> anyhow::Result<Vec<f64>> {
    let mut admin = overlay.first_manager()?.admin();
    for number in 0..CHANGES {
        admin.add_client(&format!("client-{number}"))?;
        let_pass(PAUSE);
    }
    delays(heard, "admin.changed", CHANGES)
}

/// Of agents that move from the first manager to the second, as the third hears it, and on to the third, as the first does.
fn moves(overlay: &Overlay<'_>, at_last: &Receiver<Heard>) -> anyhow::Result<Vec<f64>> {
    let [first, second] = [&overlay.managers[0], &overlay.managers[1]];
    let at_first = listen(first.admin().events()?);
    first.run(&["drain"])?;
    let mut all = delays(at_last, "endpoint.moved", overlay.agents.len())?;
    delays(&at_first, "endpoint.moved", overlay.agents.len())?;
    first.run(&["undrain"])?;
    // The first holds down still, so they go on to the third.
    second.run(&["drain"])?;
    all.extend(delays(&at_first, "endpoint.moved", overlay.agents.len())?);
    Ok(all)
}
