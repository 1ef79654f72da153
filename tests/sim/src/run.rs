//! A world that is watched while it goes on.

use std::fmt;
use std::time::Duration;

use crate::invariants::{self, Invariant};
use crate::observation::Observation;
use crate::world::World;

/// How often invariants look at the state of the world. What they observe is timed exactly.
const SLICE: Duration = Duration::from_millis(20);

/// An invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// When it was noticed, from the beginning of the world.
    pub at: Duration,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} violated at {:?}: {}", self.invariant, self.at, self.text)
    }
}

/// A world and the invariants that must hold in it.
#[derive(Debug)]
pub struct Run {
    world: World,
    invariants: Vec<Box<dyn Invariant>>,
    seen: usize,
}

impl Run {
    /// `world`, watched by all invariants that hold in every world.
    pub fn new(world: World) -> Self {
        Self { world, invariants: invariants::of_every_world(), seen: 0 }
    }

    /// Watches for one more.
    pub fn and(mut self, invariant: impl Invariant + 'static) -> Self {
        self.invariants.push(Box::new(invariant));
        self
    }

    /// The world.
    pub fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// Lets `time` pass, or less if an invariant is violated.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Violation> {
        let until = self.world.now() + time;
        while self.world.now() < until {
            self.world.run_for(SLICE.min(until - self.world.now()));
            self.watch()?;
        }
        Ok(())
    }

    fn watch(&mut self) -> Result<(), Violation> {
        let (world, at) = (&self.world, self.world.now());
        let fresh = &world.observations()[self.seen..];
        for invariant in &mut self.invariants {
            let observed = fresh.iter().try_for_each(|(at, seen)| invariant.observe(*at, seen, world));
            observed.and_then(|()| invariant.check(world)).map_err(|text| Violation {
                invariant: invariant.name(),
                at,
                text,
            })?;
        }
        self.seen = world.observations().len();
        Ok(())
    }

    /// Faults, moves and lost managers so far, a line each, and what was dropped, for a person who looks for the cause.
    pub fn history(&mut self) -> String {
        let lines = self.world.observations().iter().filter_map(|(at, observation)| {
            let line = match observation {
                Observation::Sent(_) | Observation::Delivered(_) => return None,
                Observation::Fault(fault) => fault.to_string(),
                Observation::Moved { endpoint, from: Some(from), to, why } => {
                    format!("  {endpoint} moved from {from} to {to}: {why}")
                }
                Observation::Moved { endpoint, from: None, to, why } => format!("  {endpoint} moved to {to}: {why}"),
                Observation::NoManager(endpoint) => format!("  {endpoint} has no manager"),
                Observation::Drained(manager) => format!("  {manager} is drained"),
            };
            Some(format!("{:>12.6} {line}\n", at.as_secs_f64()))
        });
        let mut history: String = lines.collect();
        for node in self.world.nodes() {
            history += &format!("{node} dropped {:?}\n", self.world.drops(node));
        }
        history
    }
}
