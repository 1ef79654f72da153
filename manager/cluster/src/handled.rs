//! Which proposals of other managers this program has handled, so that a request which comes twice is handled once. Otherwise the
//! second might write what the answer to the first denies. It need not outlive the program: no connection does.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::recent::REMEMBERED;
use crate::types::ProposalId;

/// The last of them. A clone is the same record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handled(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    order: VecDeque<(ProposalId, u32)>,
    all: HashSet<(ProposalId, u32)>,
}

impl Handled {
    /// Whether this is the first time that it comes: a proposal, and which attempt to have it written.
    pub(crate) fn is_first(&self, proposal: ProposalId, attempt: u32) -> bool {
        // Nothing panics while holding it.
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !table.all.insert((proposal, attempt)) {
            return false;
        }
        table.order.push_back((proposal, attempt));
        if table.order.len() > REMEMBERED
            && let Some(oldest) = table.order.pop_front()
        {
            table.all.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_comes_first_once() {
        let handled = Handled::default();
        let one = ProposalId(1);
        assert!(handled.is_first(one, 0) && handled.is_first(one, 1) && handled.is_first(ProposalId(2), 0));
        assert!(!handled.is_first(one, 0) && !handled.is_first(one, 1));
        for number in 0..REMEMBERED {
            assert!(handled.is_first(ProposalId(10 + number as u128), 0));
        }
        assert!(handled.is_first(one, 0), "that is long ago");
        assert_eq!(handled.0.lock().unwrap().all.len(), REMEMBERED);
    }
}
