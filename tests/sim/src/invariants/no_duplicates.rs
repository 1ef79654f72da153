//! A packet comes out at most once, also when the underlay doubles datagrams.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Invariant;
use crate::observation::Observation;
use crate::world::World;

#[derive(Debug, Default)]
pub(super) struct NoDuplicates {
    delivered: BTreeSet<u64>,
}

impl Invariant for NoDuplicates {
    fn name(&self) -> &'static str {
        "no duplicates"
    }

    fn observe(&mut self, at: Duration, observation: &Observation, _: &World) -> Result<(), String> {
        match observation {
            Observation::Delivered(delivered) if !self.delivered.insert(delivered.sent.id) => {
                Err(format!("{delivered:?} came out again at {at:?}"))
            }
            _ => Ok(()),
        }
    }
}
