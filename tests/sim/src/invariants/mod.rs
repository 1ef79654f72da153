//! What must hold, one a file.

mod drain;
mod failover_time;
mod highest_generation;
mod hold_down;
mod isolation;
mod no_duplicates;
mod no_false_switch;
mod progress;
mod reconnects;
mod single_carrier;

use std::fmt::Debug;
use std::time::Duration;

use crate::observation::Observation;
use crate::world::World;

pub use failover_time::FailoverTime;
pub use no_false_switch::NoSwitch;

/// Something that must hold. An error says what was seen instead.
pub trait Invariant: Debug {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// Something was seen at `at`. The world may be a few milliseconds further.
    fn observe(&mut self, _at: Duration, _observation: &Observation, _world: &World) -> Result<(), String> {
        Ok(())
    }

    /// Time has passed.
    fn check(&mut self, _world: &World) -> Result<(), String> {
        Ok(())
    }
}

/// Those that hold whatever happens.
pub fn of_every_world() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(progress::Progress),
        Box::new(isolation::Isolation),
        Box::<no_duplicates::NoDuplicates>::default(),
        Box::new(single_carrier::SingleCarrier),
        Box::<highest_generation::HighestGeneration>::default(),
        Box::new(no_false_switch::NoFalseSwitch),
        Box::<reconnects::Reconnects>::default(),
        Box::<hold_down::HoldDown>::default(),
        Box::<drain::Drain>::default(),
    ]
}
