//! No stream of packets is interrupted for longer than a bar allows.

use std::collections::BTreeMap;
use std::time::Duration;

use festoon_proto::EndpointId;

use super::Invariant;
use crate::observation::Observation;
use crate::world::World;

/// Watches the time between arrivals. For worlds in which every pair sends all the time.
#[derive(Debug)]
pub struct FailoverTime {
    bar: Duration,
    since: Duration,
    last: BTreeMap<(EndpointId, EndpointId), Duration>,
}

impl FailoverTime {
    /// From `since` on, no stream is interrupted for longer than `bar`.
    pub fn new(since: Duration, bar: Duration) -> Self {
        Self { bar, since, last: BTreeMap::new() }
    }
}

impl Invariant for FailoverTime {
    fn name(&self) -> &'static str {
        "failover time"
    }

    fn observe(&mut self, at: Duration, observation: &Observation, _: &World) -> Result<(), String> {
        let Observation::Delivered(delivered) = observation else { return Ok(()) };
        let (from, to) = (delivered.sent.from, delivered.to);
        let before = self.last.insert((from, to), at).map_or(at, |before| before.max(self.since));
        let gap = at.saturating_sub(before);
        if gap > self.bar {
            return Err(format!("nothing from {from} arrived at {to} for {gap:?} until {at:?}"));
        }
        Ok(())
    }

    fn check(&mut self, world: &World) -> Result<(), String> {
        // Much later than an arrival would tell, so that the report is of the whole gap where there is an end to it.
        let silent = self.last.iter().find(|(_, last)| world.now() > **last.max(&&self.since) + self.bar * 5);
        silent.map_or(Ok(()), |((from, to), last)| Err(format!("nothing from {from} arrives at {to} since {last:?}")))
    }
}
