//! Clusters, clients and faults made from a seed.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use super::admin::Admin;
use super::check::{Verdict, judge};
use super::clients::{Client, Memory};
use super::faults::{self, Fault, Weather};
use super::forger::forge;
use super::net::{Conditions, Net};
use super::world::World;
use crate::random::Random;

/// How many notes a failure shows.
const SHOWN: usize = 60;
/// How many calls clients make together.
const CALLS: usize = 300;
/// When a world must have come to its end.
const LIMIT: Duration = Duration::from_secs(600);

/// A cluster and its clients, and what goes wrong.
#[derive(Debug, Clone)]
pub struct Scenario {
    seed: u64,
    /// How many managers there are, one size after the other.
    sizes: Vec<usize>,
    clients: u64,
    lasts: Duration,
    /// After how many entries of the log there is a snapshot, and how many stay nevertheless.
    snapshots: (u64, u64),
    /// One fault at a time for each of these.
    weathers: Vec<Weather>,
    do_disks_lie: bool,
}

/// What happened, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// How often the power of a machine went.
    pub power_cuts: u64,
    /// Changes that were acknowledged.
    pub acknowledged: u64,
    /// Changes whose clients never knew.
    pub unknown: u64,
    /// Different states that managers published.
    pub states: usize,
}

/// What came of a scenario.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Whether clients were told the truth.
    pub verdict: Verdict,
    /// What else must not be: a manager stopped by itself, or the cluster does not recover.
    pub wrong: Vec<String>,
    /// What happened, in numbers.
    pub figures: Figures,
    /// Another number if anything went differently.
    pub digest: u64,
    scenario: Scenario,
    notes: Vec<String>,
}

impl Outcome {
    /// What it was made from.
    pub const fn seed(&self) -> u64 {
        self.scenario.seed
    }

    /// Whether nothing was found.
    pub fn is_good(&self) -> bool {
        self.verdict.is_good() && self.wrong.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, wrong, figures, scenario, notes, .. } = self;
        let Scenario { seed, .. } = scenario;
        let verbose = std::env::var_os("FESTOON_SEED").is_some();
        let from = if verbose { 0 } else { notes.len().saturating_sub(SHOWN) };
        writeln!(f, "seed {seed}: {verdict:#?}")?;
        wrong.iter().try_for_each(|wrong| writeln!(f, "wrong: {wrong}"))?;
        notes[from..].iter().try_for_each(|note| writeln!(f, "{note}"))?;
        writeln!(f, "{figures:?}\n{scenario:?}")?;
        writeln!(f, "again with, once or a few times if tokio draws by itself:")?;
        write!(
            f,
            "RUSTFLAGS='--cfg tokio_unstable' FESTOON_SEED={seed} cargo test --release -p festoon-sim --test registry"
        )
    }
}

const fn millis(range: Range<u64>) -> Range<Duration> {
    Duration::from_millis(range.start)..Duration::from_millis(range.end)
}

impl Scenario {
    /// Anything that can go wrong.
    pub fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let sizes: &[usize] =
            random.pick(&[&[3][..], &[3, 5, 3], &[1, 3], &[2, 3], &[5], &[3, 2, 1]]).copied().unwrap_or(&[3]);
        let weathers = (0..random.in_range(1..4)).map(|_| any_weather(&mut random)).collect();
        Self {
            seed,
            sizes: sizes.to_vec(),
            clients: random.in_range(2..6),
            lasts: random.duration(millis(8_000..20_000)),
            snapshots: (random.in_range(10..200), random.in_range(0..60)),
            weathers,
            do_disks_lie: false,
        }
    }

    /// Machines lose their power again and again, and nothing else happens.
    pub fn power_cuts(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let weather = Weather {
            pause: millis(0..600),
            lasts: millis(5..1200),
            faults: vec![Fault::PowerCut, Fault::PowerCut, Fault::Blackout],
        };
        Self {
            seed,
            sizes: vec![*random.pick(&[3, 3, 5]).unwrap_or(&3)],
            clients: 4,
            lasts: Duration::from_secs(20),
            snapshots: (random.in_range(10..200), random.in_range(0..60)),
            weathers: vec![weather.clone(), weather],
            do_disks_lie: false,
        }
    }

    /// The same on disks that acknowledge a sync and do nothing: whatever is promised then will be broken.
    pub fn lying_disks(seed: u64) -> Self {
        let blackouts = Weather { pause: millis(500..2000), lasts: millis(5..1200), faults: vec![Fault::Blackout] };
        Self { do_disks_lie: true, weathers: vec![blackouts], ..Self::power_cuts(seed) }
    }

    /// Runs it to its end.
    pub fn run(&self) -> Outcome {
        match seeded(Builder::new_current_thread(), self.seed).build() {
            Ok(runtime) => {
                let (mut outcome, net) = runtime.block_on(self.play());
                drop(runtime);
                if net.upgrade().is_some() {
                    outcome
                        .wrong
                        .push("the world is there after its end: thousands of them fill the memory".to_owned());
                }
                outcome
            }
            Err(error) => self.failed(format!("no runtime: {error}")),
        }
    }

    fn failed(&self, why: String) -> Outcome {
        let (verdict, figures) = (Verdict::default(), Figures::default());
        Outcome { verdict, wrong: vec![why], figures, digest: 0, scenario: self.clone(), notes: Vec::new() }
    }

    /// Gives its network as well, which must be gone when the runtime is.
    async fn play(&self) -> (Outcome, Weak<Net>) {
        let mut random = Random::new(self.seed);
        let world = Arc::new(World::new(random.fork(), Conditions::good(), self.snapshots));
        let mut admin = Admin::new(Arc::clone(&world), random.fork());
        admin.found().await;
        let (&first, later) = self.sizes.split_first().unwrap_or((&1, &[]));
        admin.resize(first).await;
        if self.do_disks_lie {
            world.machines().iter().for_each(|machine| machine.disk().lie());
        }
        let mut actors = self.actors(&world, &mut random);
        actors.push(tokio::spawn(resize(admin, later.to_vec(), self.lasts / (later.len() as u32 + 1))));
        sleep(self.lasts).await;
        world.end();
        let all_end = async {
            for actor in actors {
                if actor.await.is_err() {
                    world.wrong("a client, a fault or the admin panicked".to_owned());
                }
            }
        };
        if timeout(LIMIT, all_end).await.is_err() {
            world.wrong("clients, faults or the admin do not come to an end".to_owned());
        }
        let outcome = self.outcome(&world).await;
        world.net.end();
        (outcome, Arc::downgrade(&world.net))
    }

    fn actors(&self, world: &Arc<World>, random: &mut Random) -> Vec<tokio::task::JoinHandle<()>> {
        let memory = Arc::new(Memory::default());
        let mut actors = Vec::new();
        for number in 1..=self.clients {
            let (world, memory) = (Arc::clone(world), Arc::clone(&memory));
            actors.push(tokio::spawn(Client { number, world, random: random.fork(), memory, calls: CALLS }.run()));
        }
        actors.push(tokio::spawn(forge(Arc::clone(world), random.fork())));
        for weather in &self.weathers {
            actors.push(tokio::spawn(faults::make(Arc::clone(world), random.fork(), weather.clone())));
        }
        actors
    }

    async fn outcome(&self, world: &World) -> Outcome {
        let last = world.settle().await.unwrap_or_default();
        let calls = world.history.all();
        let figures = Figures {
            power_cuts: world.power_cuts(),
            acknowledged: calls.iter().filter(|call| call.is_acknowledged()).count() as u64,
            unknown: calls.iter().filter(|call| call.is_unknown()).count() as u64,
            states: world.sightings.count(),
        };
        let (verdict, wrong) = (judge(&world.history, &world.log, &world.sightings, &last), world.all_wrong());
        // Of a good one nobody wants to know more, and there may be thousands.
        let notes = if verdict.is_good() && wrong.is_empty() { Vec::new() } else { world.notes() };
        Outcome { verdict, wrong, figures, digest: world.digest(), scenario: self.clone(), notes }
    }
}

/// A runtime in which no real time passes. Tokio draws from the seed too, if it is built so that it can.
fn seeded(mut builder: Builder, seed: u64) -> Builder {
    builder.enable_time().start_paused(true);
    seed_tokio(&mut builder, seed);
    builder
}

#[cfg(tokio_unstable)]
fn seed_tokio(builder: &mut Builder, seed: u64) {
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
}

#[cfg(not(tokio_unstable))]
const fn seed_tokio(_: &mut Builder, _: u64) {}

/// Goes from size to size.
async fn resize(mut admin: Admin, sizes: Vec<usize>, pause: Duration) {
    for size in sizes {
        sleep(pause).await;
        admin.resize(size).await;
    }
}

fn any_weather(random: &mut Random) -> Weather {
    let pause = *random.pick(&[500, 1500, 4000]).unwrap_or(&1500);
    let lasts = *random.pick(&[300, 2000, 5000]).unwrap_or(&2000);
    Weather { pause: millis(0..pause), lasts: millis(5..lasts), faults: faults::ALL.to_vec() }
}
