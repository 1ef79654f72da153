//! Strangers open connections to both managers and never finish TLS: 4,096 to each, from 20 addresses, replaced as soon as a
//! manager closes one. Meanwhile an agent fetches its map and an admin changes the registry.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;

use super::report::{Limit, Report};
use super::series::two_equal_managers;
use crate::clock::now;
use crate::lab::{Host, Lab, Program, tool};
use crate::overlay::{Traffic, let_pass};

const HOSTS: usize = 20;
/// Of each host to each manager: 4,100 in all.
const CONNECTIONS: usize = 205;
const HTTPS_PORT: u16 = 8443;
/// So that all connections are open before anything is measured.
const FILL: Duration = Duration::from_secs(5);
const TRIES: usize = 20;

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let overlay = two_equal_managers(lab)?;
    let cloud = overlay.clouds.last().context("no cloud")?;
    let hosts = (0..HOSTS).map(|n| cloud.host(&format!("s{n}"))).collect::<anyhow::Result<Vec<Host>>>()?;
    let (a, b) = (&overlay.agents[0], &overlay.agents[1]);
    let readers = overlay.managers.iter().map(|it| a.map_reader(it)).collect::<anyhow::Result<Vec<_>>>()?;
    let traffic = Traffic::start(&a.host, &b.host, b.v4()?)?;
    let mut holding = Vec::new();
    for host in &hosts {
        for manager in &overlay.managers {
            holding.push(hold(host, SocketAddr::new(manager.host.ip(), HTTPS_PORT))?);
        }
    }
    let_pass(FILL);
    let (mut fetch, mut write, mut failed) = (0.0_f64, 0.0_f64, 0);
    for attempt in 0..TRIES {
        let start = now();
        failed += u64::from(readers[attempt % readers.len()].read().is_err());
        fetch = fetch.max(start.elapsed().as_secs_f64());
        let start = now();
        failed += u64::from(overlay.managers[attempt % overlay.managers.len()].token().is_err());
        write = write.max(start.elapsed().as_secs_f64());
    }
    drop(holding);
    let outcome = traffic.finish()?;
    report.count("half_open_connections", (HOSTS * CONNECTIONS) as u64, "a manager", Limit::AtLeast(4_096.0));
    report.count("half_open_failed", failed, "requests", Limit::Exactly(0.0));
    report.add("half_open_map_worst", fetch, "s", Limit::AtMost(1.0));
    report.add("half_open_write_worst", write, "s", Limit::AtMost(1.0));
    report.count("half_open_pings_lost", outcome.ping.lost, "pings", Limit::Exactly(0.0));
    Ok(())
}

fn hold(host: &Host, to: SocketAddr) -> anyhow::Result<Program> {
    let args =
        ["tcp-hold".to_owned(), format!("--to={to}"), format!("--count={CONNECTIONS}"), "--until-eof".to_owned()];
    host.spawn(tool("festoon-labtool")?, &args)
}
