//! What this manager has decided of proposals that need no place in the log, so that a request which comes twice gets one answer:
//! it is refused, or the log says what becomes of it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::recent::Recent;
use crate::types::{Applied, ProposalId};

/// The last decisions. A clone is the same record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decided(Arc<Mutex<Recent>>);

impl Decided {
    /// The refusal of this proposal, or none if the log decides: as it was decided first, which is now if it never was.
    pub(crate) fn refusal(&self, id: ProposalId, refuse: impl FnOnce() -> Option<Applied>) -> Option<Applied> {
        // Nothing panics while holding it, and nobody else decides meanwhile.
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(decided) = recent.answer(id) {
            return Some(decided.clone()).filter(|decided| decided.result.is_some());
        }
        let refusal = refuse();
        recent.remember(id, refusal.clone().unwrap_or(Applied { index: 0, result: None }));
        refusal
    }
}

#[cfg(test)]
mod tests {
    use festoon_control::registry::{EndpointError, TokenError};

    use super::*;

    #[test]
    fn whatever_was_decided_first_holds() {
        let decided = Decided::default();
        let refused = Applied { index: 7, result: Some(Err(EndpointError::Token(TokenError::Unknown).into())) };
        let (one, other) = (ProposalId(1), ProposalId(2));
        assert_eq!(decided.refusal(one, || Some(refused.clone())), Some(refused.clone()));
        assert_eq!(decided.refusal(one, || None), Some(refused.clone()));
        assert_eq!(decided.refusal(other, || None), None);
        assert_eq!(decided.refusal(other, || Some(refused)), None);
    }
}
