//! No endpoint thinks a manager dead that is not: neither loss nor jitter is death.

use std::time::Duration;

use festoon_endpoint::node::MoveReason;

use super::Invariant;
use crate::observation::Observation;
use crate::world::World;

/// Time for the last victims of a fault to notice it.
const AFTER_DAMAGE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct NoFalseSwitch;

impl Invariant for NoFalseSwitch {
    fn name(&self) -> &'static str {
        "no false switch"
    }

    fn observe(&mut self, at: Duration, observation: &Observation, world: &World) -> Result<(), String> {
        let is_false = match observation {
            Observation::Moved { why, .. } => *why == MoveReason::ManagerDead,
            Observation::NoManager(_) => true,
            _ => false,
        };
        if is_false && world.whole_for() > AFTER_DAMAGE {
            return Err(format!("{observation:?} at {at:?}, though nothing is wrong"));
        }
        Ok(())
    }
}

/// Stricter: from a time on, no endpoint moves for any reason.
#[derive(Debug)]
pub struct NoSwitch {
    /// From when.
    pub since: Duration,
}

impl Invariant for NoSwitch {
    fn name(&self) -> &'static str {
        "no switch"
    }

    fn observe(&mut self, at: Duration, observation: &Observation, _: &World) -> Result<(), String> {
        match observation {
            Observation::Moved { .. } | Observation::NoManager(_) if at >= self.since => {
                Err(format!("{observation:?} at {at:?}"))
            }
            _ => Ok(()),
        }
    }
}
