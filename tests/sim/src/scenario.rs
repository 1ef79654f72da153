//! Worlds and faults made from a seed.

use std::fmt;
use std::time::Duration;

use festoon_proto::map::Timing;
use festoon_proto::{EndpointId, ManagerId};

use crate::cluster::{Cluster, Layout};
use crate::fault::{Fault, Ways};
use crate::random::Random;
use crate::run::{Run, Violation};
use crate::underlay::Conditions;
use crate::world::{NodeId, World};

/// How often each pair of endpoints sends a packet.
const EVERY: Duration = Duration::from_millis(100);
/// After the last fault: time to reconnect, and to see that it lasts.
const EPILOGUE: Duration = Duration::from_secs(20);

/// A cluster, an underlay, and what goes wrong when.
#[derive(Debug, Clone)]
pub struct Scenario {
    seed: u64,
    layout: Layout,
    conditions: Conditions,
    faults: Vec<(Duration, Fault)>,
    lasts: Duration,
}

/// A scenario in which an invariant was violated.
#[derive(Debug)]
pub struct Failure {
    /// Which invariant, and how.
    pub violation: Violation,
    scenario: Scenario,
    history: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { violation, scenario: Scenario { seed, layout, conditions, .. }, history } = self;
        writeln!(f, "seed {seed}: {violation}\n{layout:?}\n{conditions:?}\n{history}")?;
        write!(f, "again with: FESTOON_SEED={seed} cargo test --release -p festoon-sim --test seeds")
    }
}

impl Scenario {
    /// The scenario of `seed`.
    pub fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let layout = layout(&mut random);
        let cluster = Cluster::new(&layout);
        let lasts = random.duration(Duration::from_secs(60)..Duration::from_secs(120));
        let conditions = conditions(&mut random);
        let episodes = random.in_range(3..10);
        let faults = (0..episodes).flat_map(|_| episode(&mut random, &cluster, lasts)).collect();
        Self { seed, layout, conditions, faults, lasts }
    }

    /// Runs it to its end. Gives a number that is another if anything went differently.
    pub fn run(&self) -> Result<u64, Box<Failure>> {
        let mut run = Run::new(self.world());
        let outcome = run.run_for(self.lasts).and_then(|()| {
            run.world().heal();
            run.run_for(EPILOGUE)
        });
        let digest = run.world().digest();
        outcome
            .map(|()| digest)
            .map_err(|violation| Box::new(Failure { violation, scenario: self.clone(), history: run.history() }))
    }

    fn world(&self) -> World {
        let mut world = World::new(self.seed, Cluster::new(&self.layout), self.conditions.clone());
        for (from, to) in world.cluster().pairs() {
            world.start_flow(from, to, EVERY, u64::MAX);
        }
        for (from, to) in strangers(world.cluster()) {
            world.start_flow(from, to, EVERY * 3, u64::MAX);
        }
        for &(at, fault) in &self.faults {
            world.schedule_fault(at, fault);
        }
        world
    }
}

/// Ordered pairs that do not share a network: what one sends to the other's address must not arrive there.
fn strangers(cluster: &Cluster) -> Vec<(EndpointId, EndpointId)> {
    let agents = cluster.agents();
    let pairs = agents.iter().flat_map(|from| agents.iter().map(move |to| (from, to)));
    pairs.filter(|(from, to)| from.network != to.network).map(|(from, to)| (from.id, to.id)).collect()
}

fn layout(random: &mut Random) -> Layout {
    let managers = random.in_range(1..5);
    let priorities: Vec<u8> = (0..managers).filter_map(|_| random.pick(&[100, 100, 50]).copied()).collect();
    let hold_down_ms = random.pick(&[2_000, 10_000, 30_000]).copied().unwrap_or_default();
    let agents = random.in_range(2..4) as u8;
    Layout { timing: Timing { hold_down_ms, ..Timing::default() }, ..Layout::new(&priorities, agents) }
}

fn conditions(random: &mut Random) -> Conditions {
    let millis = Duration::from_millis;
    let latency = random.pick(&[1, 5, 5, 60]).map_or(Duration::ZERO, |&max| millis(max));
    Conditions {
        latency: Duration::from_micros(200)..latency,
        jitter: random.pick(&[0, 1, 5]).map_or(Duration::ZERO, |&jitter| millis(jitter)),
        loss: random.pick(&[0, 0, 10, 50]).copied().unwrap_or_default(),
        duplicates: random.pick(&[0, 0, 20]).copied().unwrap_or_default(),
    }
}

/// Something that goes wrong for some time, anywhere and at any time.
fn episode(random: &mut Random, cluster: &Cluster, lasts: Duration) -> Vec<(Duration, Fault)> {
    let longest = if random.chance(500) { Duration::from_secs(1) } else { Duration::from_secs(20) };
    let begin = random.duration(Duration::ZERO..lasts);
    let end = (begin + random.duration(Duration::from_millis(20)..longest)).min(lasts);
    let pairs = match random.in_range(0..10) {
        0 | 1 => kills(random, cluster),
        2 => anywhere(random, cluster, |m| (Fault::Freeze(m), Fault::Thaw(m))),
        3 => anywhere(random, cluster, |m| (Fault::Drain(m), Fault::Undrain(m))),
        4 | 5 => cut(random, cluster),
        6 => partition(random, cluster),
        7 => isolated(random, cluster),
        8 => return new_key(random, cluster, begin),
        _ => return roam(random, cluster).map(|fault| (begin, fault)).into_iter().collect(),
    };
    pairs.into_iter().flat_map(|(fault, remedy)| [(begin, fault), (end, remedy)]).collect()
}

/// A node changes its key. The one before is good for long enough that all can have heard.
fn new_key(random: &mut Random, cluster: &Cluster, begin: Duration) -> Vec<(Duration, Fault)> {
    let endpoints = cluster.agents().iter().map(|agent| NodeId::Endpoint(agent.id));
    let nodes: Vec<_> = managers(cluster).into_iter().map(NodeId::Manager).chain(endpoints).collect();
    let Some(&node) = random.pick(&nodes) else { return Vec::new() };
    let overlap = random.duration(Duration::from_secs(10)..Duration::from_secs(30));
    vec![(begin, Fault::NewKey(node)), (begin + overlap, Fault::ForgetKey(node))]
}

fn managers(cluster: &Cluster) -> Vec<ManagerId> {
    cluster.managers().collect()
}

fn anywhere(
    random: &mut Random,
    cluster: &Cluster,
    fault: impl FnOnce(ManagerId) -> (Fault, Fault),
) -> Vec<(Fault, Fault)> {
    random.pick(&managers(cluster)).copied().map(fault).into_iter().collect()
}

/// One manager dies, or now and then all at once.
fn kills(random: &mut Random, cluster: &Cluster) -> Vec<(Fault, Fault)> {
    let icmp = random.chance(500);
    let mut victims = managers(cluster);
    if random.chance(800) {
        victims = random.pick(&victims).copied().into_iter().collect();
    }
    victims.into_iter().map(|manager| (Fault::Kill { manager, icmp }, Fault::Restart(manager))).collect()
}

fn severed(a: NodeId, b: NodeId, ways: Ways) -> (Fault, Fault) {
    (Fault::Cut(a, b, ways), Fault::Mend(a, b, ways))
}

/// The path between a manager and any other node, both ways or one.
fn cut(random: &mut Random, cluster: &Cluster) -> Vec<(Fault, Fault)> {
    let managers: Vec<_> = managers(cluster).into_iter().map(NodeId::Manager).collect();
    let endpoints = cluster.agents().iter().map(|agent| NodeId::Endpoint(agent.id));
    let Some(&manager) = random.pick(&managers) else { return Vec::new() };
    let others: Vec<_> = managers.iter().copied().filter(|&other| other != manager).chain(endpoints).collect();
    let Some(&other) = random.pick(&others) else { return Vec::new() };
    vec![match random.in_range(0..4) {
        0 => severed(manager, other, Ways::Forth),
        1 => severed(other, manager, Ways::Forth),
        _ => severed(manager, other, Ways::Both),
    }]
}

/// Managers fall into two groups that do not reach each other; endpoints reach all of them.
fn partition(random: &mut Random, cluster: &Cluster) -> Vec<(Fault, Fault)> {
    let sides: Vec<_> = managers(cluster).into_iter().map(|manager| (manager, random.chance(500))).collect();
    let pairs = sides.iter().flat_map(|left| sides.iter().map(move |right| (left, right)));
    let across = pairs.filter(|((_, left), (_, right))| *left && !*right);
    across.map(|((a, _), (b, _))| severed(NodeId::Manager(*a), NodeId::Manager(*b), Ways::Both)).collect()
}

/// A node loses all of its paths.
fn isolated(random: &mut Random, cluster: &Cluster) -> Vec<(Fault, Fault)> {
    let managers = managers(cluster).into_iter().map(NodeId::Manager);
    let nodes: Vec<_> = managers.chain(cluster.agents().iter().map(|agent| NodeId::Endpoint(agent.id))).collect();
    let Some(&lonely) = random.pick(&nodes) else { return Vec::new() };
    nodes.into_iter().filter(|&other| other != lonely).map(|other| severed(lonely, other, Ways::Both)).collect()
}

fn roam(random: &mut Random, cluster: &Cluster) -> Option<Fault> {
    let told = random.chance(500);
    random.pick(cluster.agents()).map(|agent| Fault::Roam { endpoint: agent.id, told })
}
