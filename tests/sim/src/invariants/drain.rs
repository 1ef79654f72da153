//! Where the underlay loses nothing and nothing is broken, no packet is lost, also while endpoints leave a draining
//! manager or return to a better one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Invariant;
use crate::observation::{Observation, Sent};
use crate::world::World;

/// Time after which all that was broken works again.
const AFTER_DAMAGE: Duration = Duration::from_secs(10);
/// No packet takes so long.
const LOST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Drain {
    waiting: BTreeMap<u64, Sent>,
}

impl Invariant for Drain {
    fn name(&self) -> &'static str {
        "drain"
    }

    fn observe(&mut self, _: Duration, observation: &Observation, world: &World) -> Result<(), String> {
        match observation {
            Observation::Sent(sent) if sent.to.is_some() && world.whole_for() > AFTER_DAMAGE => {
                self.waiting.insert(sent.id, *sent);
            }
            Observation::Delivered(delivered) => {
                self.waiting.remove(&delivered.sent.id);
            }
            Observation::Fault(fault) if fault.is_damage() => self.waiting.clear(),
            _ => {}
        }
        Ok(())
    }

    fn check(&mut self, world: &World) -> Result<(), String> {
        if world.conditions().loss > 0 {
            self.waiting.clear();
        }
        match self.waiting.first_key_value() {
            Some((_, sent)) if world.now() > sent.at + LOST => Err(format!("{sent:?} was lost")),
            _ => Ok(()),
        }
    }
}
