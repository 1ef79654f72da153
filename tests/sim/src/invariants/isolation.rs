//! A packet comes out only where it is addressed to, and never in another network.

use std::time::Duration;

use super::Invariant;
use crate::observation::Observation;
use crate::world::World;

#[derive(Debug)]
pub(super) struct Isolation;

impl Invariant for Isolation {
    fn name(&self) -> &'static str {
        "isolation"
    }

    fn observe(&mut self, at: Duration, observation: &Observation, world: &World) -> Result<(), String> {
        let Observation::Delivered(delivered) = observation else { return Ok(()) };
        let network = world.cluster().agent(delivered.to).map(|agent| agent.network);
        if network == Some(delivered.sent.network) && delivered.sent.to == Some(delivered.to) {
            return Ok(());
        }
        Err(format!("{delivered:?} of network {network:?} at {at:?}"))
    }
}
