//! What a manager knows of an endpoint never goes down in generation while it runs, and in steady state is what the
//! endpoint says itself.

use std::collections::BTreeMap;
use std::time::Duration;

use festoon_proto::{EndpointId, Generation, ManagerId};

use super::Invariant;
use super::single_carrier::is_steady;
use crate::fault::Fault;
use crate::observation::Observation;
use crate::world::World;

#[derive(Debug, Default)]
pub(super) struct HighestGeneration {
    known: BTreeMap<(ManagerId, EndpointId), Generation>,
}

impl Invariant for HighestGeneration {
    fn name(&self) -> &'static str {
        "highest generation"
    }

    fn observe(&mut self, _: Duration, observation: &Observation, _: &World) -> Result<(), String> {
        if let Observation::Fault(Fault::Kill { manager: dead, .. }) = observation {
            self.known.retain(|(manager, _), _| manager != dead);
        }
        Ok(())
    }

    fn check(&mut self, world: &World) -> Result<(), String> {
        for manager in world.running_managers() {
            for agent in world.cluster().agents() {
                let known = world.attachment(manager, agent.id).map(|attachment| attachment.generation);
                let before = self.known.get(&(manager, agent.id)).copied();
                if known < before {
                    return Err(format!("{manager} knew {before:?} of {}, and now {known:?}", agent.id));
                }
                let (_, own) = world.active(agent.id);
                if is_steady(world) && known != Some(own) {
                    return Err(format!("{} says {own}, but {manager} knows {known:?}", agent.id));
                }
                self.known.extend(known.map(|known| ((manager, agent.id), known)));
            }
        }
        Ok(())
    }
}
