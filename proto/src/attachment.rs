//! Which manager carries an endpoint now.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{EndpointId, ManagerId};

/// A number that only grows with every move of an endpoint; the highest wins everywhere.
///
/// The upper 32 bits count the starts of the agent and are written to its disk before the first is used; the lower 32
/// bits count the moves since. So it grows across restarts without a write to disk in the middle of a failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// Starts of an agent that are plausible without knowing any before: one each minute for 32 years.
const FIRST_BOOTS: u32 = 1 << 24;
/// No agent is started so often. The room above it is never reached, so there is always a generation after this one.
const MAX_BOOTS: u32 = 1 << 31;
/// Starts that an agent may have had without a manager hearing of them. If it had more, it goes on from what the manager
/// knows.
const MAX_LEAP: u32 = 16;

impl Generation {
    /// The first generation of an agent's start number `boot`.
    pub const fn first_of_boot(boot: u32) -> Self {
        Self((boot as u64) << 32)
    }

    /// The start number of the agent this generation belongs to.
    pub const fn boot(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether any endpoint can have got here. What can't is an attempt to have the last word for ever.
    pub const fn is_possible(self) -> bool {
        self.boot() < MAX_BOOTS
    }

    /// Whether an endpoint of which no generation is known may have this one.
    pub const fn may_be_first(self) -> bool {
        self.boot() < FIRST_BOOTS
    }

    /// Whether an endpoint whose highest known generation is `known` may have this one. It may be a lower one. Each leap is
    /// bounded, so that nobody gets near the end of the numbers, not even in years.
    pub const fn may_follow(self, known: Self) -> bool {
        self.is_possible() && self.boot().saturating_sub(known.boot()) <= MAX_LEAP
    }

    /// The generation after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.boot(), self.0 as u32)
    }
}

/// That `manager` carries `endpoint`, since `generation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attachment {
    /// The endpoint that is carried.
    pub endpoint: EndpointId,
    /// The manager that carries it.
    pub manager: ManagerId,
    /// When, in the endpoint's own count.
    pub generation: Generation,
}

impl Attachment {
    /// Whether this attachment wins over `other` of the same endpoint.
    ///
    /// The higher generation wins; of two managers that claim the same one, the higher id, so that all agree.
    pub fn supersedes(&self, other: &Self) -> bool {
        (self.generation, self.manager) > (other.generation, other.manager)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_start_beats_any_number_of_moves() {
        let before = Generation(Generation::first_of_boot(3).0 + u64::from(u32::MAX));
        assert!(Generation::first_of_boot(4) > before);
        assert_eq!(Generation::first_of_boot(4).next().to_string(), "4.1");
    }

    #[test]
    fn no_generation_is_so_high_that_none_follows() {
        let boots = Generation::first_of_boot;
        for (generation, known, may) in [
            (Generation(u64::MAX), None, false),
            (Generation(u64::MAX), Some(boots(MAX_BOOTS - 1)), false),
            (boots(MAX_BOOTS - 1), Some(boots(MAX_BOOTS - 2)), true),
            (boots(FIRST_BOOTS), None, false),
            (boots(FIRST_BOOTS - 1), None, true),
            (boots(FIRST_BOOTS), Some(boots(FIRST_BOOTS - 1)), true),
            (boots(3 + MAX_LEAP), Some(boots(3)), true),
            (boots(4 + MAX_LEAP), Some(boots(3)), false),
            (boots(3), Some(boots(900)), true),
        ] {
            let found = known.map_or_else(|| generation.may_be_first(), |known| generation.may_follow(known));
            assert_eq!(found, may, "{generation} after {known:?}");
            if may {
                assert!(generation.next() > generation && generation.next().is_possible());
                assert!(generation.next().may_follow(generation));
            }
        }
    }

    #[test]
    fn the_highest_generation_wins_and_ties_go_to_the_higher_manager() {
        let at = |manager, generation| Attachment {
            endpoint: EndpointId(1),
            manager: ManagerId(manager),
            generation: Generation(generation),
        };
        assert!(at(1, 2).supersedes(&at(9, 1)));
        assert!(at(2, 2).supersedes(&at(1, 2)));
        assert!(!at(1, 2).supersedes(&at(1, 2)));
    }
}
