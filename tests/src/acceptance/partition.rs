//! One of three managers cannot reach the other two, and agents reach all of them: under changes through each manager,
//! reads of the one alone, and pings. In every other run the one alone is the leader of the registry.

use std::time::{Duration, Instant};

use super::load::{Change, Load, Reads, acknowledged, all_agree, leader, lost, twice};
use super::report::{Limit, Report};
use crate::clock::now;
use crate::lab::{Echo, Fault, Lab};
use crate::overlay::{Neighbour, Overlay, Spec, let_pass, wait_until_slowly};
use crate::tools::outcome::EchoReport;

const RUNS: usize = 10;
const CALM: Duration = Duration::from_millis(500);
/// Longer than anything that could still meet its bar.
const APART: Duration = Duration::from_secs(5);
const PING_INTERVAL: Duration = Duration::from_millis(5);
const SETTLE: Duration = Duration::from_secs(20);
/// What the manager alone says when it refuses a change; of one that the others made just before the cut; and when it
/// is certain that none was made.
const REFUSALS: [&str; 2] = ["the registry can't be changed now", "was added, but this manager was cut off"];
const CERTAIN: &str = "nothing was changed: try again";

/// The sum of all runs.
#[derive(Debug, Default)]
struct Sum {
    leader_alone: u64,
    first_writes: Vec<f64>,
    refusals: Vec<f64>,
    /// Refusals that do not say why.
    unclear: Vec<String>,
    /// Changes that the manager alone acknowledged.
    accepted_alone: u64,
    acknowledged: Vec<String>,
    /// Changes of which a manager said for certain that they were not made.
    not_made: Vec<String>,
    reads: Reads,
    pings_sent: u64,
    pings_lost: u64,
    heals: Vec<f64>,
}

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let spec = Spec { priorities: &[200, 150, 100], agents: &["a", "b", "c", "d"], ..Spec::default() };
    let overlay = Overlay::start(lab, &spec)?;
    let _kept_away = spread(&overlay)?;
    let mut sum = Sum::default();
    for number in 0..RUNS {
        run(&overlay, number, &mut sum)?;
    }
    sum.report(&overlay, report)
}

/// Sends the third agent to the second manager and the fourth to the third, for as long as what it returns lives. The
/// other two stay with the first manager.
fn spread(overlay: &Overlay<'_>) -> anyhow::Result<Vec<Fault>> {
    let cuts = [(2, 0), (3, 0), (3, 1)];
    let cuts = cuts.map(|(agent, manager)| {
        let (agent, manager) = (&overlay.agents[agent], &overlay.managers[manager]);
        overlay.net.cut(&agent.host, &manager.host)
    });
    let cuts = cuts.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    for (agent, manager) in [(0, 0), (1, 0), (2, 1), (3, 2)] {
        overlay.wait_carried(agent, manager)?;
    }
    Ok(cuts)
}

/// Who is cut off: in every other run whoever leads, and in the others the first manager, which carries traffic, if it
/// can be.
fn choose(overlay: &Overlay<'_>, number: usize) -> anyhow::Result<(usize, usize)> {
    let leader = leader(overlay)?;
    let alone = if number.is_multiple_of(2) { leader } else { usize::from(leader == 0) };
    Ok((alone, leader))
}

fn run(overlay: &Overlay<'_>, number: usize, sum: &mut Sum) -> anyhow::Result<()> {
    wait_until_slowly(SETTLE, "a registry that all take part in", || all_agree(overlay))?;
    wait_until_slowly(SETTLE, "direct paths between all managers", || are_direct(overlay))?;
    let (alone, leader) = choose(overlay, number)?;
    sum.leader_alone += u64::from(alone == leader);
    let pings = ping_all(overlay, alone)?;
    let load = |index: usize| Load::start(&overlay.managers[index], &overlay.agents[0], &format!("p{number}-{index}"));
    let mut loads = (0..overlay.managers.len()).map(load).collect::<anyhow::Result<Vec<_>>>()?;
    let_pass(CALM);
    let before = now();
    let others = (0..overlay.managers.len()).filter(|&index| index != alone);
    let cut = |other: usize| overlay.net.cut(&overlay.managers[alone].host, &overlay.managers[other].host);
    let cuts = others.map(cut).collect::<anyhow::Result<Vec<_>>>()?;
    let apart = now();
    let_pass(APART);
    let (own, reads) = loads.remove(alone).finish();
    let healed = now();
    cuts.into_iter().try_for_each(Fault::heal)?;
    wait_until_slowly(SETTLE, "agreement after the cut", || agree_under_load(overlay))?;
    sum.heals.push(healed.elapsed().as_secs_f64());
    let theirs: Vec<Change> = loads.into_iter().flat_map(|load| load.finish().0).collect();
    sum.add_writes(before, apart, &own, &theirs);
    sum.reads += reads;
    for ping in pings {
        sum.add_pings(&ping.finish()?);
    }
    Ok(())
}

/// Whether packets between any two managers take the link between them: the round-trip times of a busy machine may make
/// the way over the third look shorter for a while, and then a cut concerns these packets, too.
fn are_direct(overlay: &Overlay<'_>) -> anyhow::Result<bool> {
    for manager in &overlay.managers {
        let neighbours = manager.admin().status(1)?.managers;
        let is_direct = |to: &Neighbour| to.id == manager.id || (to.direct && to.next_hop == Some(to.id));
        if !neighbours.iter().all(is_direct) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The pings that the cut does not concern: between agents of one manager, and between those of two that still reach
/// each other.
fn ping_all(overlay: &Overlay<'_>, alone: usize) -> anyhow::Result<Vec<Echo>> {
    let across = (alone == 0).then_some((2, 3));
    let pairs = [(0, 1)].into_iter().chain(across);
    let mut pings = Vec::new();
    for (from, to) in pairs {
        let (from, to) = (&overlay.agents[from], &overlay.agents[to]);
        let mut ping = Echo::ping(&from.host, to.v4()?, PING_INTERVAL)?;
        ping.wait_first(SETTLE)?;
        pings.push(ping);
    }
    Ok(pings)
}

/// Whether all follow one leader again. Under load they never have the same version for long.
fn agree_under_load(overlay: &Overlay<'_>) -> anyhow::Result<bool> {
    let mut leaders = Vec::new();
    for manager in &overlay.managers {
        let registry = manager.admin().status(1)?.registry;
        leaders.push(registry.leader.map(|leader| leader.manager));
        if registry.members.iter().any(|member| !member.is_heard) {
            return Ok(false);
        }
    }
    Ok(leaders[0].is_some() && leaders.iter().all(|leader| *leader == leaders[0]))
}

impl Sum {
    /// The cut was made between `before` and `apart`.
    fn add_writes(&mut self, before: Instant, apart: Instant, own: &[Change], theirs: &[Change]) {
        let next = theirs.iter().filter(|change| change.began >= apart && change.refused.is_none());
        let next = next.map(|change| change.ended).min();
        self.first_writes.push(next.map_or(f64::INFINITY, |next| (next - before).as_secs_f64()));
        for change in own.iter().filter(|change| change.ended >= apart) {
            match &change.refused {
                Some(text) => {
                    self.refusals.push((change.ended - change.began).as_secs_f64());
                    if !REFUSALS.iter().any(|known| text.contains(known)) {
                        self.unclear.push(text.clone());
                    }
                }
                None => self.accepted_alone += u64::from(change.began >= apart),
            }
        }
        let all = || own.iter().chain(theirs);
        self.acknowledged.extend(acknowledged(all()));
        let certain = |change: &&Change| change.refused.as_ref().is_some_and(|text| text.contains(CERTAIN));
        self.not_made.extend(all().filter(certain).map(|change| change.name.clone()));
    }

    fn add_pings(&mut self, pings: &EchoReport) {
        self.pings_sent += pings.sent;
        self.pings_lost += pings.lost;
    }

    fn report(self, overlay: &Overlay<'_>, report: &mut Report) -> anyhow::Result<()> {
        wait_until_slowly(SETTLE, "a registry that all take part in", || all_agree(overlay))?;
        let worst = |figures: &[f64]| figures.iter().copied().fold(f64::NAN, f64::max);
        let not_made = self.not_made.len() as u64 - lost(overlay, &self.not_made)?;
        report.note(&format!("partition: the two wrote again after {:.2?} s", self.first_writes));
        report.note(&format!("partition: all had one leader again after {:.2?} s", self.heals));
        report.note(&format!("partition: the slowest read of the one alone took {:.2?}", self.reads.slowest));
        report.count("partition_leader_alone", self.leader_alone, "runs", Limit::AtLeast(1.0));
        report.add("partition_write_worst", worst(&self.first_writes), "s", Limit::AtMost(3.0));
        report.add("partition_refusal_worst", worst(&self.refusals), "s", Limit::AtMost(2.0));
        report.count("partition_refusals", self.refusals.len() as u64, "changes", Limit::AtLeast(RUNS as f64));
        for text in &self.unclear {
            report.note(&format!("partition: a refusal that does not say why: {text}"));
        }
        report.count("partition_refusals_unclear", self.unclear.len() as u64, "changes", Limit::Exactly(0.0));
        report.count("partition_accepted_alone", self.accepted_alone, "changes", Limit::Exactly(0.0));
        report.count("partition_refused_but_made", not_made, "changes", Limit::Exactly(0.0));
        report.count("partition_reads", self.reads.answered, "reads", Limit::AtLeast(1.0));
        report.count("partition_reads_failed", self.reads.failed, "reads", Limit::Exactly(0.0));
        report.count("partition_lost", lost(overlay, &self.acknowledged)?, "changes", Limit::Exactly(0.0));
        report.count("partition_twice", twice(overlay)?, "addresses", Limit::Exactly(0.0));
        report.count("partition_pings_sent", self.pings_sent, "pings", Limit::AtLeast(1.0));
        report.count("partition_pings_lost", self.pings_lost, "pings", Limit::Exactly(0.0));
        Ok(())
    }
}
