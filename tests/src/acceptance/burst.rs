//! A thousand at once, as when a group of servers is started: changes of the registry, and agents that join with one token. On an
//! idle machine, and on one that is busy with something else.
//!
//! The thousand stand for machines of their own, so here they have a lower priority than managers and agents.

use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use super::floods::percentile;
use super::report::{Limit, Report};
use crate::clock::now;
use crate::lab::{Echo, Hogs, Host, Lab, tool};
use crate::overlay::{Overlay, Spec, in_file};

const AT_ONCE: usize = 1_000;
const RUNS: usize = 10;
const PING_INTERVAL: Duration = Duration::from_millis(5);
/// See sched(7).
const PRIORITY: i32 = 5;
const PATIENCE: Duration = Duration::from_secs(10);
/// What a manager says when it finds another leader.
const ELECTION: &str = "the registry has a leader";

/// What happened in all runs of a kind.
#[derive(Debug, Default)]
struct Outcome {
    worst_s: f64,
    refused: u64,
    elections: u64,
    pings: u64,
    pings_lost: u64,
    worst_p99_ms: f64,
}

/// On an idle machine.
pub(super) fn idle(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    measure(lab, "burst_idle", 0, report)
}

/// While each core has something else to do.
pub(super) fn busy(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    measure(lab, "burst_busy", thread::available_parallelism()?.get(), report)
}

fn measure(lab: &Lab, name: &str, hogs: usize, report: &mut Report) -> anyhow::Result<()> {
    let overlay = Overlay::start(lab, &Spec { priorities: &[200, 150, 100], ..Spec::default() })?;
    let crowd = Crowd::new(lab, &overlay)?;
    let _hogs = Hogs::start(hogs)?;
    let (mut creates, mut joins) = (Outcome::default(), Outcome::default());
    for run in 0..RUNS {
        creates.add(&overlay, || create(&overlay, run))?;
        joins.add(&overlay, || crowd.join(run))?;
    }
    creates.report(report, &format!("{name}_creates"));
    joins.report(report, &format!("{name}_joins"));
    Ok(())
}

impl Outcome {
    /// Has a thousand do something at once, which gives those that were refused, while two agents ping each other.
    fn add(&mut self, overlay: &Overlay<'_>, run: impl FnOnce() -> anyhow::Result<u64>) -> anyhow::Result<()> {
        let (from, to) = (&overlay.agents[0], &overlay.agents[1]);
        let mut ping = Echo::ping(&from.host, to.v4()?, PING_INTERVAL)?;
        ping.wait_first(PATIENCE)?;
        let (before, start) = (elections(overlay), now());
        self.refused += run()?;
        self.worst_s = self.worst_s.max(start.elapsed().as_secs_f64());
        self.elections += elections(overlay) - before;
        let pings = ping.finish()?;
        self.pings += pings.sent;
        self.pings_lost += pings.lost;
        self.worst_p99_ms = self.worst_p99_ms.max(percentile(&pings, 0.99));
        Ok(())
    }

    fn report(&self, report: &mut Report, name: &str) {
        report.add(&format!("{name}_worst"), self.worst_s, "s", Limit::AtMost(30.0));
        report.count(&format!("{name}_refused"), self.refused, "of 10000", Limit::Exactly(0.0));
        report.count(&format!("{name}_elections"), self.elections, "elections", Limit::Exactly(0.0));
        report.count(&format!("{name}_pings_sent"), self.pings, "pings", Limit::AtLeast(1.0));
        report.count(&format!("{name}_pings_lost"), self.pings_lost, "pings", Limit::Exactly(0.0));
        report.add(&format!("{name}_rtt_p99"), self.worst_p99_ms, "ms", Limit::AtMost(20.0));
    }
}

/// Clients are added, a third of them through each manager.
fn create(overlay: &Overlay<'_>, run: usize) -> anyhow::Result<u64> {
    at_once(|number| {
        let mut admin = overlay.managers[number % overlay.managers.len()].admin();
        move || admin.create_client(&format!("client-{run}-{number}")).map(drop)
    })
}

/// Hosts that join with one token.
struct Crowd {
    token: String,
    program: String,
    state: PathBuf,
    hosts: Vec<Host>,
}

impl Crowd {
    fn new(lab: &Lab, overlay: &Overlay<'_>) -> anyhow::Result<Self> {
        let token = overlay.first_manager()?.run(&["tokens", "add", "--reusable"])?;
        let clouds = overlay.clouds.iter().enumerate();
        let hosts = clouds.map(|(number, cloud)| cloud.host(&format!("group{number}")));
        Ok(Self {
            token: in_file(lab.dir(), token.trim())?,
            program: tool("festoon")?.display().to_string(),
            state: lab.dir().to_owned(),
            hosts: hosts.collect::<anyhow::Result<_>>()?,
        })
    }

    /// They go round the clouds, and ask the managers in the order of the token.
    fn join(&self, run: usize) -> anyhow::Result<u64> {
        at_once(|number| {
            let dir = format!("--state-dir={}", self.state.join(format!("server-{run}-{number}")).display());
            let args = [dir, "join".to_owned(), self.token.clone(), format!("--name=server-{run}-{number}")];
            let host = &self.hosts[number % self.hosts.len()];
            move || host.run(&self.program, &args).map(drop)
        })
    }
}

/// How many of a thousand, begun at once, failed. The first of them says why.
fn at_once<F>(make: impl Fn(usize) -> F) -> anyhow::Result<u64>
where
    F: FnOnce() -> anyhow::Result<()> + Send,
{
    let (start, tasks) = (Barrier::new(AT_ONCE), (0..AT_ONCE).map(make).collect::<Vec<_>>());
    let failed: Vec<String> = thread::scope(|scope| {
        let begin = |task: F| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                // On Linux this is about the calling thread alone, and the programs that it starts.
                rustix::process::setpriority_process(None, PRIORITY)?;
                task()
            })
        };
        let all: Vec<_> = tasks.into_iter().map(begin).collect();
        let ended = all.into_iter().map(|one| one.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a panic"))));
        ended.filter_map(Result::err).map(|error| format!("{error:#}")).collect()
    });
    if let Some(first) = failed.first() {
        eprintln!("  burst: {} of {AT_ONCE} failed, the first: {first}", failed.len());
    }
    Ok(failed.len() as u64)
}

fn elections(overlay: &Overlay<'_>) -> u64 {
    overlay.managers.iter().map(|manager| manager.log().matches(ELECTION).count() as u64).sum()
}
