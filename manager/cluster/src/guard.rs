//! What consensus takes from other members. openraft trusts its peers: it stores whatever vote comes, counts on from whatever
//! term, and writes a part of a snapshot wherever it is said to belong. So one message could stop every manager for good. What
//! no member that keeps to the protocol can have sent is refused before openraft sees it.

use std::sync::{Arc, Mutex, PoisonError};

use openraft::Vote;
use openraft::raft::InstallSnapshotRequest;

use crate::message::Rejection;
use crate::types::{MemberId, TypeConfig};

/// By how much a term may be ahead of the one that is known. At an election a second that takes 136 years.
const TERM_LEAP: u64 = 1 << 32;
/// No term is higher: counting on from there must not overflow.
const LAST_TERM: u64 = 1 << 62;
/// No snapshot is larger, in bytes. One of 100,000 endpoints has some 50 MB.
const MAX_SNAPSHOT: u64 = 4 << 30;

/// Whether a member can have come to the term of this vote, when ours is `term`.
pub(crate) fn is_possible(vote: &Vote<MemberId>, term: u64) -> bool {
    vote.leader_id.term <= term.saturating_add(TERM_LEAP).min(LAST_TERM)
}

/// That whoever speaks as a leader or a candidate speaks for itself, in a term that it can have come to.
pub(crate) fn check(vote: &Vote<MemberId>, from: MemberId, term: u64) -> Result<(), Rejection> {
    if vote.leader_id.node_id == from && is_possible(vote, term) { Ok(()) } else { Err(Rejection::NotUnderstood) }
}

/// The snapshot that comes in parts. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts(Arc<Mutex<Part>>);

#[derive(Debug, Default)]
struct Part {
    snapshot: String,
    received: u64,
}

impl Parts {
    /// That a part leaves no hole behind what came before it, and ends where snapshots may. A part of a snapshot whose beginning
    /// did not come is left to openraft, which asks for that.
    pub(crate) fn check(&self, rpc: &InstallSnapshotRequest<TypeConfig>) -> Result<(), Rejection> {
        let end = rpc.offset.saturating_add(rpc.data.len() as u64);
        if end > MAX_SNAPSHOT {
            return Err(Rejection::NotUnderstood);
        }
        // Nothing panics while holding it.
        let mut part = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rpc.offset == 0 {
            *part = Part { snapshot: rpc.meta.snapshot_id.clone(), received: end };
        } else if part.snapshot == rpc.meta.snapshot_id {
            if rpc.offset > part.received {
                return Err(Rejection::NotUnderstood);
            }
            part.received = part.received.max(end);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use festoon_proto::ManagerId;
    use openraft::SnapshotMeta;

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

    #[test]
    fn a_snapshot_comes_without_holes_and_ends_somewhere() {
        let part = |id: &str, offset: u64, length: usize| InstallSnapshotRequest::<TypeConfig> {
            vote: Vote::new_committed(1, member(1)),
            meta: SnapshotMeta { snapshot_id: id.to_owned(), ..SnapshotMeta::default() },
            offset,
            data: vec![0; length],
            done: false,
        };
        let parts = Parts::default();
        for (id, offset, length, is_good) in [
            // Its beginning did not come, and openraft asks for it.
            ("a", 100, 10, true),
            ("a", 0, 10, true),
            ("a", 10, 10, true),
            // Sent twice.
            ("a", 10, 10, true),
            ("a", 21, 1, false),
            ("a", 1 << 60, 1, false),
            ("a", u64::MAX, 1, false),
            ("b", MAX_SNAPSHOT, 1, false),
            ("a", 20, 5, true),
            ("b", 0, 3, true),
            ("b", 4, 1, false),
        ] {
            assert_eq!(parts.check(&part(id, offset, length)).is_ok(), is_good, "{length} bytes at {offset} of {id}");
        }
    }
}
