//! The registry of a cluster, replicated by Raft (<https://raft.github.io/raft.pdf>, by openraft) among its managers.

mod recent;
pub mod storage;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod types;

pub use recent::Recent;
pub use types::{Applied, MemberId, Proposal, ProposalId, TypeConfig};
