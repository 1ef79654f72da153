//! In steady state all managers agree who carries an endpoint, and only that one delivers for it.

use std::time::Duration;

use super::Invariant;
use crate::observation::Observation;
use crate::world::World;

/// Time for a restarted manager to be found and told.
const AFTER_FAULTS: Duration = Duration::from_secs(5);
/// The same if handshakes are lost: the next comes 2 seconds later.
const AFTER_FAULTS_AND_LOSS: Duration = Duration::from_secs(15);
/// Time for a move to be told to all, also if some of the news is lost on the way.
const AFTER_MOVES: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct SingleCarrier;

pub(super) fn is_steady(world: &World) -> bool {
    let after_faults = if world.conditions().loss == 0 { AFTER_FAULTS } else { AFTER_FAULTS_AND_LOSS };
    world.quiet_for() > after_faults && world.settled_for() > AFTER_MOVES
}

impl Invariant for SingleCarrier {
    fn name(&self) -> &'static str {
        "single carrier"
    }

    fn observe(&mut self, at: Duration, observation: &Observation, world: &World) -> Result<(), String> {
        let Observation::Delivered(delivered) = observation else { return Ok(()) };
        let (active, _) = world.active(delivered.to);
        if !is_steady(world) || delivered.by == active {
            return Ok(());
        }
        Err(format!("{delivered:?} at {at:?}, though the endpoint uses {active:?}"))
    }

    fn check(&mut self, world: &World) -> Result<(), String> {
        if !is_steady(world) {
            return Ok(());
        }
        for agent in world.cluster().agents() {
            let (active, _) = world.active(agent.id);
            for manager in world.cluster().managers() {
                let known = world.attachment(manager, agent.id);
                if known.map(|attachment| attachment.manager) != active {
                    return Err(format!("{} uses {active:?}, but {manager} knows {known:?}", agent.id));
                }
            }
        }
        Ok(())
    }
}
