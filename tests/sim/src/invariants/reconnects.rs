//! Some seconds after the last fault is mended, every pair of endpoints that should reach each other does.

use std::collections::BTreeMap;
use std::time::Duration;

use festoon_proto::EndpointId;

use super::Invariant;
use crate::observation::Observation;
use crate::world::World;

/// Time to find each other again.
const AFTER_DAMAGE: Duration = Duration::from_secs(10);
/// If packets are sent for so long and none arrives, there is no connection. Loss alone does not make this long.
const SILENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Reconnects {
    /// When the first packet was sent that none arrived after.
    waiting: BTreeMap<(EndpointId, EndpointId), Duration>,
}

impl Invariant for Reconnects {
    fn name(&self) -> &'static str {
        "reconnects"
    }

    fn observe(&mut self, at: Duration, observation: &Observation, _: &World) -> Result<(), String> {
        match observation {
            Observation::Sent(sent) => {
                if let Some(to) = sent.to {
                    self.waiting.entry((sent.from, to)).or_insert(at);
                }
            }
            Observation::Delivered(delivered) => {
                self.waiting.remove(&(delivered.sent.from, delivered.to));
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&mut self, world: &World) -> Result<(), String> {
        if world.whole_for() < AFTER_DAMAGE {
            return Ok(());
        }
        let silent = self.waiting.iter().find(|(_, since)| world.now() > **since + SILENCE);
        silent.map_or(Ok(()), |((from, to), since)| Err(format!("nothing from {from} arrives at {to} since {since:?}")))
    }
}
