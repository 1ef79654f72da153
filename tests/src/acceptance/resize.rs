//! A cluster grows from one manager to three and to five and shrinks again, under changes and reads through every
//! manager and pings between two agents.

use std::time::Duration;

use super::load::{Change, Load, Reads, acknowledged, all_agree, leader, longest_stall, lost, twice};
use super::report::{Limit, Report};
use crate::clock::now;
use crate::lab::{Echo, Lab};
use crate::overlay::{Overlay, Spec, let_pass, wait_until_slowly};

/// Between two sizes.
const CALM: Duration = Duration::from_secs(3);
const PING_INTERVAL: Duration = Duration::from_millis(5);
const SETTLE: Duration = Duration::from_secs(30);
const SIZES: [usize; 4] = [3, 5, 3, 1];

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let overlay = Overlay::start(lab, &Spec { priorities: &[100], ..Spec::default() })?;
    let (from, to) = (&overlay.agents[0], &overlay.agents[1]);
    let mut ping = Echo::ping(&from.host, to.v4()?, PING_INTERVAL)?;
    ping.wait_first(SETTLE)?;
    let mut cluster = Cluster { overlay, loads: Vec::new(), ended: Ended::default() };
    cluster.put_load(0)?;
    for size in SIZES {
        let start = now();
        cluster.resize(size)?;
        report.note(&format!("resize: {size} managers after {:.1} s", start.elapsed().as_secs_f64()));
        let_pass(CALM);
    }
    let pings = ping.finish()?;
    let Cluster { overlay, loads, mut ended } = cluster;
    loads.into_iter().for_each(|load| ended.add(load));
    wait_until_slowly(SETTLE, "a registry that all take part in", || all_agree(&overlay))?;
    let names = acknowledged(&ended.changes);
    report.note(&format!("resize: {} changes acknowledged of {}", names.len(), ended.changes.len()));
    report.note(&format!("resize: the slowest read took {:.2?}", ended.reads.slowest));
    report.add("resize_stall_worst", ended.stall, "s", Limit::AtMost(2.0));
    report.count("resize_lost", lost(&overlay, &names)?, "changes", Limit::Exactly(0.0));
    report.count("resize_twice", twice(&overlay)?, "addresses", Limit::Exactly(0.0));
    report.count("resize_reads", ended.reads.answered, "reads", Limit::AtLeast(1.0));
    report.count("resize_reads_failed", ended.reads.failed, "reads", Limit::Exactly(0.0));
    report.count("resize_pings_sent", pings.sent, "pings", Limit::AtLeast(1.0));
    report.count("resize_pings_lost", pings.lost, "pings", Limit::Exactly(0.0));
    Ok(())
}

/// An overlay with a load on each of its managers, in their order.
struct Cluster<'a> {
    overlay: Overlay<'a>,
    loads: Vec<Load>,
    ended: Ended,
}

/// What came of loads that have ended.
#[derive(Default)]
struct Ended {
    changes: Vec<Change>,
    reads: Reads,
    /// The longest time in which one manager acknowledged nothing, in seconds.
    stall: f64,
}

impl Ended {
    fn add(&mut self, load: Load) {
        let (changes, reads) = load.finish();
        self.stall = self.stall.max(longest_stall(&changes));
        self.changes.extend(changes);
        self.reads += reads;
    }
}

impl Cluster<'_> {
    fn resize(&mut self, size: usize) -> anyhow::Result<()> {
        while self.overlay.managers.len() < size {
            self.overlay.add_manager(100)?;
            self.put_load(self.overlay.managers.len() - 1)?;
        }
        while self.overlay.managers.len() > size {
            self.take_away()?;
        }
        self.overlay.wait_until_ready()
    }

    fn put_load(&mut self, manager: usize) -> anyhow::Result<()> {
        let (manager, agent) = (&self.overlay.managers[manager], &self.overlay.agents[0]);
        self.loads.push(Load::start(manager, agent, manager.name())?);
        Ok(())
    }

    /// The leader goes, and when there is an even number of managers, whoever joined first of the others: no manager is
    /// special.
    fn take_away(&mut self) -> anyhow::Result<()> {
        let leader = leader(&self.overlay)?;
        let is_even = self.overlay.managers.len().is_multiple_of(2);
        let index = if is_even { usize::from(leader == 0) } else { leader };
        self.ended.add(self.loads.remove(index));
        self.overlay.remove_manager(index)
    }
}
