//! A manager under load: changes of the registry through it one after the other, and reads of its report and of a map,
//! until it is stopped.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::clock::now;
use crate::overlay::{Admin, Agent, Manager, Overlay, let_pass};

/// Between two changes. Three writers make some 15,000 endpoints in two minutes.
const WRITE_PAUSE: Duration = Duration::from_millis(20);
const REPORT_PAUSE: Duration = Duration::from_millis(20);
/// Each costs a process.
const MAP_PAUSE: Duration = Duration::from_millis(200);

/// An attempt to add an endpoint.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) name: String,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// Why it was not acknowledged.
    pub(super) refused: Option<String>,
}

/// How reads went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reads {
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) slowest: Duration,
}

impl AddAssign for Reads {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// Load on one manager, until finished or dropped.
#[derive(Debug)]
pub(super) struct Load {
    stop: Stop,
    writer: JoinHandle<Vec<Change>>,
    readers: Vec<JoinHandle<Reads>>,
}

/// Ends threads, also when their owner fails.
#[derive(Debug)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// Puts it on `manager`. The names of new endpoints begin with `prefix`; the map is that of `agent`.
    pub(super) fn start(manager: &Manager, agent: &Agent, prefix: &str) -> anyhow::Result<Self> {
        let stop = Stop(Arc::new(AtomicBool::new(false)));
        let (mut reports, maps) = (manager.admin(), agent.map_reader(manager)?);
        let until = |stop: &Stop| Arc::clone(&stop.0);
        let readers = vec![
            spawn_reader(until(&stop), REPORT_PAUSE, move || reports.status(1).map(drop)),
            spawn_reader(until(&stop), MAP_PAUSE, move || maps.read().map(drop)),
        ];
        Ok(Self { writer: spawn_writer(until(&stop), manager.admin(), prefix), stop, readers })
    }

    /// Ends it: every change that was tried, and how reads went.
    pub(super) fn finish(self) -> (Vec<Change>, Reads) {
        drop(self.stop);
        let mut reads = Reads::default();
        self.readers.into_iter().for_each(|reader| reads += reader.join().unwrap_or_default());
        (self.writer.join().unwrap_or_default(), reads)
    }
}

fn spawn_writer(stop: Arc<AtomicBool>, mut admin: Admin, prefix: &str) -> JoinHandle<Vec<Change>> {
    let prefix = prefix.to_owned();
    thread::spawn(move || {
        let mut changes = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let (name, began) = (format!("{prefix}-{}", changes.len()), now());
            let refused = admin.add_client(&name).err().map(|error| format!("{error:#}"));
            changes.push(Change { name, began, ended: now(), refused });
            let_pass(WRITE_PAUSE);
        }
        changes
    })
}

fn spawn_reader(
    stop: Arc<AtomicBool>,
    pause: Duration,
    mut read: impl FnMut() -> anyhow::Result<()> + Send + 'static,
) -> JoinHandle<Reads> {
    thread::spawn(move || {
        let mut reads = Reads::default();
        while !stop.load(Ordering::Relaxed) {
            let began = now();
            match read() {
                Ok(()) => reads.answered += 1,
                Err(error) => {
                    eprintln!("a read failed: {error:#}");
                    reads.failed += 1;
                }
            }
            reads.slowest = reads.slowest.max(began.elapsed());
            let_pass(pause);
        }
        reads
    })
}

/// The names of those that were acknowledged.
pub(super) fn acknowledged<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Vec<String> {
    changes.into_iter().filter(|change| change.refused.is_none()).map(|change| change.name.clone()).collect()
}

/// The longest time without an acknowledgement, in seconds, from the first change to the last.
pub(super) fn longest_stall(changes: &[Change]) -> f64 {
    let acknowledged = changes.iter().filter(|change| change.refused.is_none()).map(|change| change.ended);
    let begin = changes.iter().map(|change| change.began).min();
    let end = changes.iter().map(|change| change.ended).max();
    let mut times: Vec<Instant> = acknowledged.chain(begin).chain(end).collect();
    times.sort();
    times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).fold(f64::NAN, f64::max)
}

/// Whether every manager hears every other, all vote, none lags, and all have the same version.
pub(super) fn all_agree(overlay: &Overlay<'_>) -> anyhow::Result<bool> {
    let mut versions = BTreeSet::new();
    for manager in &overlay.managers {
        let status = manager.admin().status(1)?;
        let lags = |member: &crate::overlay::Member| !member.votes || !member.is_heard || member.lag != Some(0);
        let members = &status.registry.members;
        if status.registry.leader.is_none() || members.len() != overlay.managers.len() || members.iter().any(lags) {
            return Ok(false);
        }
        versions.insert(status.version);
    }
    Ok(versions.len() == 1)
}

/// The index of the manager that leads the registry.
pub(super) fn leader(overlay: &Overlay<'_>) -> anyhow::Result<usize> {
    let status = overlay.first_manager()?.admin().status(1)?;
    let leader = status.registry.leader.ok_or_else(|| anyhow::anyhow!("nobody leads the registry"))?;
    overlay.index_of(leader.manager)
}

/// Endpoints of these names that some manager does not have.
pub(super) fn lost(overlay: &Overlay<'_>, names: &[String]) -> anyhow::Result<u64> {
    let mut lost = BTreeSet::new();
    for manager in &overlay.managers {
        let endpoints = manager.endpoints()?;
        let there: BTreeSet<&str> = endpoints.iter().map(|row| &*row.name).collect();
        lost.extend(names.iter().filter(|name| !there.contains(&***name)).cloned());
    }
    Ok(lost.len() as u64)
}

/// Addresses that two endpoints have.
pub(super) fn twice(overlay: &Overlay<'_>) -> anyhow::Result<u64> {
    let endpoints = overlay.first_manager()?.endpoints()?;
    let all: Vec<IpAddr> = endpoints.iter().flat_map(|row| row.addresses.iter().copied()).collect();
    Ok((all.len() - all.iter().collect::<BTreeSet<_>>().len()) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_lasts_until_something_is_acknowledged_or_the_end() {
        let start = now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let change = |began, ended, refused: Option<&str>| Change {
            name: String::new(),
            began: at(began),
            ended: at(ended),
            refused: refused.map(str::to_owned),
        };
        let changes = [change(0, 10, None), change(10, 20, None), change(20, 520, Some("no")), change(520, 620, None)];
        assert!((longest_stall(&changes) - 0.6).abs() < 1e-9);
        assert!((longest_stall(&changes[..3]) - 0.5).abs() < 1e-9, "it had not ended");
        assert_eq!(acknowledged(&changes).len(), 3);
        assert!(longest_stall(&[]).is_nan());
    }
}
