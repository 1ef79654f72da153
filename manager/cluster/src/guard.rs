//! Which votes consensus takes from other members. openraft trusts its peers: it stores whatever vote comes, and counts on from
//! whatever term. So one message could stop every manager for good. What no member that keeps to the protocol can have sent is
//! refused before openraft sees it.

use openraft::Vote;

use crate::message::Rejection;
use crate::types::MemberId;

/// By how much a term may be ahead of the one that is known. At an election a second that takes 136 years.
const TERM_LEAP: u64 = 1 << 32;
/// No term is higher: counting on from there must not overflow.
const LAST_TERM: u64 = 1 << 62;

/// Whether a member can have come to the term of this vote, when ours is `term`.
pub(crate) fn is_possible(vote: &Vote<MemberId>, term: u64) -> bool {
    vote.leader_id.term <= term.saturating_add(TERM_LEAP).min(LAST_TERM)
}

/// That whoever speaks as a leader or a candidate speaks for itself, in a term that it can have come to.
pub(crate) fn check(vote: &Vote<MemberId>, from: MemberId, term: u64) -> Result<(), Rejection> {
    if vote.leader_id.node_id == from && is_possible(vote, term) { Ok(()) } else { Err(Rejection::NotUnderstood) }
}

#[cfg(test)]
mod tests {
    use festoon_proto::ManagerId;

    use super::*;

    fn member(number: u16) -> MemberId {
        MemberId { manager: ManagerId(number), incarnation: 0 }
    }

    #[test]
    fn a_member_speaks_for_itself_in_a_term_that_it_can_have_come_to() {
        for (term, voter, ours, is_good) in [
            (5, 1, 4, true),
            (5, 1, 9, true),
            (TERM_LEAP, 1, 0, true),
            (TERM_LEAP + 1, 1, 0, false),
            (u64::MAX, 1, 4, false),
            (u64::MAX, 1, u64::MAX, false),
            (LAST_TERM, 1, LAST_TERM, true),
            (LAST_TERM + 1, 1, LAST_TERM, false),
            (5, 2, 4, false),
        ] {
            for vote in [Vote::new(term, member(voter)), Vote::new_committed(term, member(voter))] {
                assert_eq!(check(&vote, member(1), ours).is_ok(), is_good, "{vote} when ours is {ours}");
            }
        }
    }
}
