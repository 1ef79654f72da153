//! No node asks for its timer again and again while the clock stands still.

use super::Invariant;
use crate::world::World;

#[derive(Debug)]
pub(super) struct Progress;

impl Invariant for Progress {
    fn name(&self) -> &'static str {
        "progress"
    }

    fn check(&mut self, world: &World) -> Result<(), String> {
        world.stuck().map_or(Ok(()), |node| Err(format!("{node} runs without end")))
    }
}
