//! An endpoint that left a manager because it was dead does not choose it again before the hold-down ends.

use std::collections::BTreeMap;
use std::time::Duration;

use festoon_endpoint::node::MoveReason;
use festoon_proto::{EndpointId, ManagerId};

use super::Invariant;
use crate::observation::Observation;
use crate::world::World;

#[derive(Debug, Default)]
pub(super) struct HoldDown {
    left: BTreeMap<(EndpointId, ManagerId), Duration>,
}

impl Invariant for HoldDown {
    fn name(&self) -> &'static str {
        "hold-down"
    }

    fn observe(&mut self, at: Duration, observation: &Observation, world: &World) -> Result<(), String> {
        let Observation::Moved { endpoint, from, to, why } = observation else { return Ok(()) };
        let hold_down = Duration::from_millis(world.cluster().timing().hold_down_ms.into());
        // Dead and draining managers are left for any other, also for one that is held.
        let by_choice = matches!(why, MoveReason::Priority | MoveReason::Nearer);
        let left = self.left.get(&(*endpoint, *to)).copied();
        if by_choice && left.is_some_and(|left| at < left + hold_down) {
            return Err(format!("{endpoint} returned to {to} at {at:?}, which it left for dead at {left:?}"));
        }
        if let (Some(from), MoveReason::ManagerDead) = (from, why) {
            self.left.insert((*endpoint, *from), at);
        }
        Ok(())
    }
}
