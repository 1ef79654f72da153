//! Strangers try passwords at the manager that carries the traffic, from ten addresses, as often as their limits let them.
//! The control sends as many requests to a port of the same host that its firewall drops.

use std::time::Duration;

use anyhow::Context;

use super::report::{Limit, Report};
use super::series::two_equal_managers;
use super::size::percentile;
use crate::lab::{Echo, Host, Lab, Program};
use crate::overlay::let_pass;

const HOSTS: usize = 10;
/// Requests of each host.
const REQUESTS: usize = 200;
const LASTS: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(5);
const HTTPS_PORT: u16 = 8443;
const DROPPED_PORT: u16 = 8444;
/// What the flood may add to the 99th percentile, in milliseconds.
const MORE: f64 = 5.0;

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let overlay = two_equal_managers(lab)?;
    let cloud = overlay.clouds.last().context("no cloud")?;
    let hosts = (0..HOSTS).map(|n| cloud.host(&format!("s{n}"))).collect::<anyhow::Result<Vec<Host>>>()?;
    let manager = &overlay.managers[overlay.active()?].host;
    let chain = "{ type filter hook input priority 0; }";
    manager.run("nft", &["add", "table", "inet", "control"])?;
    manager.run("nft", &["add", "chain", "inet", "control", "in", chain])?;
    let port = DROPPED_PORT.to_string();
    manager.run("nft", &["add", "rule", "inet", "control", "in", "tcp", "dport", &port, "drop"])?;
    let (a, b) = (&overlay.agents[0], &overlay.agents[1]);
    let mut figures = Vec::new();
    for port in [DROPPED_PORT, HTTPS_PORT] {
        let flood = hosts.iter().map(|host| try_passwords(host, manager, port)).collect::<anyhow::Result<Vec<_>>>()?;
        let echo = Echo::ping(&a.host, b.v4()?, INTERVAL)?;
        let_pass(LASTS);
        let outcome = echo.finish()?;
        drop(flood);
        let trips: Vec<f64> = outcome.echoes.iter().filter_map(|echo| Some(echo.reply_ms? - echo.sent_ms)).collect();
        figures.push((percentile(&trips, 99), outcome.lost));
    }
    let [(control, _), (flood, lost)] = figures[..] else { anyhow::bail!("two runs") };
    report.note(&format!("login_flood: p99 of the control is {control:.2} ms"));
    report.add("login_flood_rtt_p99", flood, "ms", Limit::AtMost(control + MORE));
    report.count("login_flood_pings_lost", lost, "pings", Limit::Exactly(0.0));
    Ok(())
}

fn try_passwords(host: &Host, manager: &Host, port: u16) -> anyhow::Result<Program> {
    let url = format!("https://{}:{port}/api/v1/session?n=[1-{REQUESTS}]", manager.v4());
    let limit = LASTS.as_secs().to_string();
    let body = format!(r#"{{"name":"{}","password":"no such password"}}"#, host.name());
    let args = [
        "--parallel",
        "--parallel-max",
        "20",
        "--silent",
        "--insecure",
        "--output",
        "/dev/null",
        "--max-time",
        &limit,
        "--header",
        "content-type: application/json",
        "--data",
        &body,
        &url,
    ];
    host.spawn("curl", &args)
}
