//! Which proposals were answered lately, and how.
//!
//! Whoever gets no answer sends a proposal again, perhaps through another leader, and it may stand in the log twice. The
//! second time it must change nothing and be answered as the first time. This is part of the replicated state (Raft
//! section 8), so every manager remembers the same.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::types::{Applied, ProposalId};

/// Proposals that are remembered. A proposal is given up after two seconds, so even at thousands a second none is
/// forgotten while somebody may still send it again.
pub(crate) const REMEMBERED: usize = 8192;

/// The answers to the last proposals, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recent {
    order: VecDeque<ProposalId>,
    answers: imbl::OrdMap<ProposalId, Applied>,
}

impl Recent {
    /// The answer that this proposal got, if it stands in the log already.
    pub fn answer(&self, id: ProposalId) -> Option<&Applied> {
        self.answers.get(&id)
    }

    /// Remembers the answer to a proposal that stands in the log for the first time.
    pub fn remember(&mut self, id: ProposalId, answer: Applied) {
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.order.push_back(id);
        self.answers.insert(id, answer);
    }
}

#[cfg(test)]
mod tests {
    use festoon_control::registry::Outcome;

    use super::*;

    #[test]
    fn the_oldest_answer_is_forgotten_first() {
        let mut recent = Recent::default();
        let answer = |index| Applied { index, result: Some(Ok(Outcome::Done)) };
        for number in 0..=REMEMBERED {
            recent.remember(ProposalId(number as u128), answer(number as u64));
        }
        assert_eq!(recent.answer(ProposalId(0)), None);
        assert_eq!(recent.answer(ProposalId(1)), Some(&answer(1)));
        assert_eq!(recent.answers.len(), REMEMBERED);
    }
}
