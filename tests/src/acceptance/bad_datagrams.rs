//! A stranger sends datagrams that mean nothing, or only begin as if they did, of every size that UDP has: to a manager and
//! to an agent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;

use super::report::{Limit, Report};
use super::series::two_equal_managers;
use crate::lab::{Host, Lab, tool};
use crate::overlay::{Overlay, Traffic, wait_until_fine};
use crate::tools::junk::JunkReport;

/// How a datagram begins, in hexadecimal, and how many bytes it has: each of the protocol's four messages, right and wrong in
/// size, and none of them.
const KINDS: [(&str, &str); 6] = [
    ("", "0,1,31,32,148,1472,9000,65507"),
    ("01000000", "148"),
    ("01000000", "4,147,149,65507"),
    ("02000000", "92,91,65507"),
    ("03000000", "64,63,65507"),
    ("04000000", "32,31,1472,65507"),
];
const COUNT: u64 = 240;
const INTERVAL_US: u64 = 1500;
const SOON: Duration = Duration::from_secs(10);

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = two_equal_managers(lab)?;
    let stranger = overlay.clouds.last().context("no cloud")?.host("stranger")?;
    let (a, b) = (&overlay.agents[0], &overlay.agents[1]);
    let manager = &overlay.managers[overlay.active()?];
    let traffic = Traffic::start(&a.host, &b.host, b.v4()?)?;
    let (mut sent, mut uncounted) = (0, 0);
    for target in [Target::Manager(overlay.active()?), Target::Agent(0)] {
        let port = match target {
            Target::Manager(_) => SocketAddr::new(manager.host.ip(), 51820),
            Target::Agent(agent) => {
                let agent = &overlay.agents[agent];
                SocketAddr::new(agent.host.ip(), agent.status()?.listen_port)
            }
        };
        let before = target.drops(&overlay)?;
        let here = send_all(&stranger, port)?;
        let after = wait_counted(&overlay, target, &before, here)?;
        report.note(&format!("{target:?} counted of {here} datagrams: {after:?}"));
        sent += here;
        uncounted += here.saturating_sub(after.values().sum());
    }
    let outcome = traffic.finish()?;
    let mut ended = 0;
    for manager in &mut overlay.managers {
        ended += u64::from(!manager.program()?.is_running());
    }
    for agent in &mut overlay.agents {
        ended += u64::from(!agent.program()?.is_running());
    }
    report.count("bad_datagrams_sent", sent, "datagrams", Limit::AtLeast(2.0 * KINDS.len() as f64 * COUNT as f64));
    report.count("bad_datagrams_uncounted", uncounted, "datagrams", Limit::Exactly(0.0));
    report.count("bad_datagrams_crashes", ended, "programs", Limit::Exactly(0.0));
    report.count("bad_datagrams_pings_lost", outcome.ping.lost, "pings", Limit::Exactly(0.0));
    report.count("bad_datagrams_bytes_lost", outcome.stream.bytes_lost, "bytes", Limit::Exactly(0.0));
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Target {
    Manager(usize),
    Agent(usize),
}

impl Target {
    fn drops(self, overlay: &Overlay<'_>) -> anyhow::Result<BTreeMap<String, u64>> {
        Ok(match self {
            Self::Manager(index) => overlay.managers[index].status()?.drops,
            Self::Agent(index) => overlay.agents[index].status()?.drops.into_iter().collect(),
        })
    }
}

fn send_all(stranger: &Host, to: SocketAddr) -> anyhow::Result<u64> {
    let labtool = tool("festoon-labtool")?;
    let mut sent = 0;
    for (head, sizes) in KINDS {
        let args = [
            "udp-junk".to_owned(),
            format!("--to={to}"),
            format!("--head={head}"),
            format!("--sizes={sizes}"),
            format!("--count={COUNT}"),
            format!("--interval-us={INTERVAL_US}"),
        ];
        let report: JunkReport = serde_json::from_str(&stranger.run(&labtool.to_string_lossy(), &args)?)?;
        sent += report.sent;
    }
    Ok(sent)
}

/// What was counted since `before`, by reason, once that is as many as were sent; or what it is after a while.
fn wait_counted(
    overlay: &Overlay<'_>,
    target: Target,
    before: &BTreeMap<String, u64>,
    sent: u64,
) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut since = BTreeMap::new();
    let waited = wait_until_fine(SOON, || {
        let now = target.drops(overlay)?;
        let new = |(reason, count): (String, u64)| {
            let new = count - before.get(&reason).copied().unwrap_or(0);
            (new > 0).then_some((reason, new))
        };
        since = now.into_iter().filter_map(new).collect();
        anyhow::ensure!(since.values().sum::<u64>() >= sent, "not all are counted");
        Ok(())
    });
    // That they are not all counted is a result, and shows in the figures.
    drop(waited);
    Ok(since)
}
