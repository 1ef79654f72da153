//! 100,000 endpoints: how long a manager takes to start and another to join, how soon a change is everywhere, and what
//! it all takes in memory.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::report::{Limit, Report};
use crate::clock::now;
use crate::lab::{Lab, Receiver, Stream, wait_for};
use crate::overlay::{Admin, Introduction, Manager, ManagerStatus, Overlay, Spec};

const ENDPOINTS: usize = 100_000;
/// Changes on their way at once while the cluster is filled: they share waits for the disk.
const FILLERS: usize = 128;
/// Room for them, beside the network's own prefix.
const PREFIX: &str = "10.64.0.0/12";
const PAGES: usize = 400;
const CREATES: usize = 400;
const STARTS: usize = 4;
const JOINS: usize = 2;
const CHANGES: u16 = 200;
const FLOOD: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = Overlay::start(lab, &Spec { priorities: &[200], agents: &["a", "b", "c"], ..Spec::default() })?;
    overlay.first_manager()?.run(&["networks", "set", "default", &format!("--add-prefix={PREFIX}")])?;
    fill(overlay.first_manager()?, report)?;
    ask(&mut overlay.first_manager()?.admin(), report)?;
    let starts = (0..STARTS).map(|number| restart(&mut overlay.managers[0], number.is_multiple_of(2)));
    let starts = starts.collect::<anyhow::Result<Vec<f64>>>()?;
    report.note(&format!("size: starts took {starts:.2?} s, every other after SIGKILL"));
    report.add("size_start_worst", worst(&starts), "s", Limit::AtMost(3.0));
    let memory = peak_mb(&mut overlay.managers[0])?;
    report.add("size_memory_after_start", memory, "MB", Limit::AtMost(400.0));

    let joins = (0..JOINS).map(|_| join(&mut overlay)).collect::<anyhow::Result<Vec<f64>>>()?;
    report.note(&format!("size: joins took {joins:.2?} s"));
    report.add("size_join_worst", worst(&joins), "s", Limit::AtMost(10.0));

    overlay.wait_until_ready()?;
    let delays = (0..CHANGES).map(|number| change(&overlay, number)).collect::<anyhow::Result<Vec<f64>>>()?;
    report.note(&format!(
        "size: a change took {:.2} s in the median, {:.2} s at worst",
        percentile(&delays, 50),
        worst(&delays)
    ));
    report.add("size_change_p99", percentile(&delays, 99), "s", Limit::AtMost(2.0));

    let (create, restore) = back_up(&overlay, lab)?;
    report.add("size_snapshot_create", create, "s", Limit::AtMost(10.0));
    report.add("size_snapshot_restore", restore, "s", Limit::AtMost(10.0));

    flood(&overlay)?;
    let memory = overlay.managers.iter_mut().map(peak_mb).collect::<anyhow::Result<Vec<f64>>>()?;
    report.note(&format!("size: {memory:.0?} MB at most in each manager"));
    report.add("size_memory_worst", worst(&memory), "MB", Limit::AtMost(400.0));
    let file = fs::metadata(overlay.first_manager()?.data_dir().join("registry.redb"))?.len();
    report.note(&format!("size: the registry's file has {} MB", file >> 20));
    Ok(())
}

/// Adds endpoints until there are enough.
fn fill(manager: &Manager, report: &mut Report) -> anyhow::Result<()> {
    let (start, next) = (now(), AtomicUsize::new(manager.admin().status(0)?.endpoint_count));
    let add = |mut admin: Admin| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= ENDPOINTS {
                return Ok(());
            }
            admin.add_client(&format!("filler-{number}"))?;
        }
    };
    thread::scope(|scope| {
        let fillers: Vec<_> = (0..FILLERS).map(|_| scope.spawn(|| add(manager.admin()))).collect();
        let ended = fillers.into_iter().map(|filler| filler.join().unwrap_or_else(|_| anyhow::bail!("a panic")));
        ended.collect::<anyhow::Result<()>>()
    })?;
    let there = manager.admin().status(0)?.endpoint_count;
    report.note(&format!("size: {ENDPOINTS} endpoints were added in {:.0} s", start.elapsed().as_secs_f64()));
    report.count("size_endpoints", there as u64, "endpoints", Limit::AtLeast(ENDPOINTS as f64));
    Ok(())
}

/// How long a cluster of one takes for a page of a list, and for a change.
fn ask(admin: &mut Admin, report: &mut Report) -> anyhow::Result<()> {
    let (mut pages, mut next) = (Vec::new(), String::new());
    for number in 0..PAGES {
        let start = now();
        let (items, cursor) = match number % 4 {
            // By name, through a filter that nearly all fail, the largest there is, and on from the page before.
            0 => admin.page("endpoints?sort=name&limit=100")?,
            1 => admin.page(&format!("endpoints?search=filler-{}", 90_000 + number))?,
            2 => admin.page("endpoints?limit=1000")?,
            _ => admin.page(&format!("endpoints{next}"))?,
        };
        pages.push(start.elapsed().as_secs_f64() * 1000.0);
        anyhow::ensure!(items > 0, "page {number} is empty");
        next = cursor.map_or(next, |cursor| format!("?cursor={cursor}"));
    }
    let mut creates = Vec::new();
    for number in 0..CREATES {
        let start = now();
        admin.add_client(&format!("one-more-{number}"))?;
        creates.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    for (what, figures, bar) in [("page", pages, 50.0), ("create", creates, 100.0)] {
        report.note(&format!("size: a {what} took {:.1} ms in the median", percentile(&figures, 50)));
        report.add(&format!("size_{what}_p99"), percentile(&figures, 99), "ms", Limit::AtMost(bar));
    }
    Ok(())
}

/// Seconds from its start until a manager that was stopped, or killed, answers with all that it had.
fn restart(manager: &mut Manager, is_killed: bool) -> anyhow::Result<f64> {
    let had = manager.admin().status(0)?.endpoint_count;
    if is_killed {
        manager.program()?.kill()?;
    } else {
        manager.stop()?;
    }
    let start = now();
    manager.spawn()?;
    let status = wait_for(PATIENCE, "an answer after a start", || manager.admin().status(0).ok())?;
    let took = start.elapsed().as_secs_f64();
    anyhow::ensure!(status.endpoint_count == had, "{} endpoints after a start, not {had}", status.endpoint_count);
    Ok(took)
}

/// Seconds until a new manager has all that the others have, votes, and lags behind in nothing.
fn join(overlay: &mut Overlay<'_>) -> anyhow::Result<f64> {
    let start = now();
    let priority = 150 - 50 * u8::try_from(overlay.managers.len() - 1)?;
    overlay.add_manager(priority)?;
    let (first, newcomer) = (overlay.first_manager()?, overlay.managers.last().context("no manager")?);
    wait_for(PATIENCE, "a manager in sync", || {
        let (first, newcomer) = (first.admin().status(0).ok()?, newcomer.admin().status(0).ok()?);
        is_in_sync(&newcomer, &first).then_some(())
    })?;
    Ok(start.elapsed().as_secs_f64())
}

fn is_in_sync(newcomer: &ManagerStatus, first: &ManagerStatus) -> bool {
    let members = &newcomer.registry.members;
    let member = members.iter().find(|member| member.id.manager == newcomer.manager);
    let is_equal = (newcomer.version, newcomer.endpoint_count) == (first.version, first.endpoint_count);
    is_equal && member.is_some_and(|member| member.votes && member.lag == Some(0))
}

/// Seconds from the acknowledgement of a change that concerns all endpoints until the last of the agents has it. It
/// goes through each manager in turn.
fn change(overlay: &Overlay<'_>, number: u16) -> anyhow::Result<f64> {
    let before = overlay.agents.iter().map(|agent| agent.map_version()).collect::<anyhow::Result<Vec<u64>>>()?;
    let mut admin = overlay.managers[usize::from(number) % overlay.managers.len()].admin();
    match number.is_multiple_of(2) {
        true => admin.set_mtu("default", 1300 + number)?,
        false => admin.set_priority("m3", 40 + u8::from(number % 4 == 1))?,
    }
    let acknowledged = now();
    for (agent, before) in overlay.agents.iter().zip(before) {
        wait_for(PATIENCE, "a new map", || agent.map_version().ok().filter(|version| *version > before))?;
    }
    Ok(acknowledged.elapsed().as_secs_f64())
}

/// Seconds for a snapshot, and for a manager made of it to answer. It runs on a host of its own: nobody is to find it.
fn back_up(overlay: &Overlay<'_>, lab: &Lab) -> anyhow::Result<(f64, f64)> {
    let (key, file) = (lab.dir().join("recovery.key"), lab.dir().join("backup.age"));
    let first = overlay.first_manager()?;
    fs::write(&key, first.run(&["snapshots", "key", "--yes"])?)?;
    let start = now();
    first.run(&["snapshots", "create", &file.to_string_lossy()])?;
    let create = start.elapsed().as_secs_f64();
    let host = overlay.clouds[0].host("elsewhere")?;
    let _apart = overlay.net.drop(&crate::lab::Path::around(&host))?;
    let me = Introduction { name: "elsewhere".to_owned(), underlay: host.ip(), priority: 1 };
    let start = now();
    let restored = Manager::restore(&host, lab.dir().join("elsewhere"), &me, &file, &key)?;
    let restore = start.elapsed().as_secs_f64();
    let (restored, had) = (restored.admin().status(0)?.endpoint_count, first.admin().status(0)?.endpoint_count);
    anyhow::ensure!(restored == had, "{restored} endpoints were restored of {had}");
    Ok((create, restore))
}

/// As much traffic as goes from one agent to another.
fn flood(overlay: &Overlay<'_>) -> anyhow::Result<()> {
    let (from, to) = (&overlay.agents[0], &overlay.agents[1]);
    let receiver = Receiver::start(&to.host, SocketAddr::new(to.v4()?, 5001))?;
    Stream::flood(&from.host, receiver.at(), FLOOD)?.wait(PATIENCE).map(drop)
}

/// The most memory that a manager had since it started.
fn peak_mb(manager: &mut Manager) -> anyhow::Result<f64> {
    let path = format!("/proc/{}/status", manager.program()?.pid());
    let status = fs::read_to_string(Path::new(&path)).with_context(|| path.clone())?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = peak.and_then(|peak| peak.split_whitespace().next()).context("no peak in it")?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}

pub(super) fn worst(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::NAN, f64::max)
}

/// Below which so many of a hundred are (nearest rank).
pub(super) fn percentile(figures: &[f64], percent: usize) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_figures() {
        let figures: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((percentile(&figures, 99), percentile(&figures, 50)), (198.0, 100.0));
        assert_eq!(percentile(&[7.0], 99), 7.0);
        assert!(percentile(&[], 99).is_nan());
    }
}
