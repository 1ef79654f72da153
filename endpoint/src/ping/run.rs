//! Asks again and again. The one task may be cancelled at any point; Ctrl-C ends it early, with the summary.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use festoon_proto::ManagerId;
use festoon_proto::map::EndpointMap;
use tokio::time::{Instant, sleep_until};

use super::icmp::Echo;
use super::table::{manager, reply_line};
use super::target::{Target, choose, find};
use super::{Reply, Report, Summary};
use crate::node::measure::Measured;
use crate::prober::Prober;

/// How often, how long, and how long for.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Requests.
    pub count: u32,
    /// From one to the next.
    pub interval: Duration,
    /// How long to wait for each answer.
    pub patience: Duration,
}

/// Somebody who can be asked.
#[derive(Debug)]
enum Asked {
    Manager(ManagerId),
    Address(Echo),
}

/// Asks whom `name` means. `say` gets a line for people at a time.
pub async fn ping(
    prober: &Prober,
    map: &EndpointMap,
    name: &str,
    pace: Pace,
    mut say: impl FnMut(&str) -> io::Result<()>,
) -> anyhow::Result<Report> {
    let target = resolve(name, map, prober.status().await?.active).await?;
    let (asked, from) = open(target, map)?;
    let meant = matches!(target, Target::Address(_)) && from != name;
    say(&format!("asking {from}{}", if meant { format!(" for {name}") } else { String::new() }))?;
    let mut replies = Vec::new();
    tokio::select! {
        asked = ask_all(prober, &asked, pace, |reply| {
            say(&reply_line(&reply, &from, map))?;
            replies.push(reply);
            Ok(())
        }) => asked?,
        _ = tokio::signal::ctrl_c() => {}
    }
    let rtts: Vec<Option<u32>> = replies.iter().map(|reply| reply.rtt_us).collect();
    let (address, manager) = match target {
        Target::Address(address) => (Some(address), None),
        Target::Manager(manager) => (None, Some(manager)),
    };
    Ok(Report { target: name.to_owned(), address, manager, replies, summary: Summary::of(&rtts) })
}

async fn resolve(name: &str, map: &EndpointMap, active: Option<ManagerId>) -> anyhow::Result<Target> {
    if let Some(target) = find(name, map, active)? {
        return Ok(target);
    }
    // What the resolver does not know is like what it knows no good address for.
    let found = tokio::net::lookup_host((name, 0)).await.map(|found| found.map(|it| it.ip()).collect());
    let found: Vec<IpAddr> = found.unwrap_or_default();
    Ok(choose(name, &found, map)?)
}

fn open(target: Target, map: &EndpointMap) -> anyhow::Result<(Asked, String)> {
    Ok(match target {
        Target::Manager(id) => (Asked::Manager(id), manager(id, map)),
        Target::Address(address) => {
            let echo = Echo::open(address).with_context(|| {
                format!("cannot ping {address}: become root, or widen net.ipv4.ping_group_range to your group")
            })?;
            (Asked::Address(echo), address.to_string())
        }
    })
}

async fn ask_all(
    prober: &Prober,
    asked: &Asked,
    pace: Pace,
    mut done: impl FnMut(Reply) -> io::Result<()>,
) -> anyhow::Result<()> {
    for sequence in 1..=pace.count {
        let start = Instant::now();
        // Asked first: if it moves meanwhile, the next request says so.
        let via = match asked {
            Asked::Manager(manager) => Some(*manager),
            Asked::Address(_) => prober.status().await?.active,
        };
        let rtt = ask(prober, asked, sequence, pace.patience).await?;
        let rtt_us = rtt.map(|rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
        done(Reply { sequence, rtt_us, via })?;
        if sequence < pace.count {
            sleep_until(start + pace.interval).await;
        }
    }
    Ok(())
}

async fn ask(prober: &Prober, asked: &Asked, sequence: u32, patience: Duration) -> anyhow::Result<Option<Duration>> {
    match asked {
        Asked::Manager(manager) => {
            let measured = prober.measure(*manager, None, patience).await?;
            Ok(measured.map(|Measured { rtt_us, .. }| Duration::from_micros(u64::from(rtt_us))))
        }
        Asked::Address(echo) => match echo.ask(sequence, patience).await {
            // The way there is missing for now, or an ICMP error came: no answer.
            Err(error) if is_no_way(&error) => Ok(None),
            answered => Ok(answered?),
        },
    }
}

fn is_no_way(error: &io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    [ConnectionRefused, HostUnreachable, NetworkUnreachable].contains(&error.kind())
}
