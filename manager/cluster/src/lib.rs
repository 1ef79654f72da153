//! The registry of a cluster, replicated by Raft (<https://raft.github.io/raft.pdf>, by openraft) among its managers.
//!
//! The shell brings two things along: a disk ([`storage`], a redb database on a file or on anything else that redb takes)
//! and a way to other managers ([`Transport`]). So the simulation runs the same code on a virtual network and a disk that
//! fails.

mod answer;
mod clock;
mod cluster;
mod compare;
mod door;
mod fence;
mod guard;
mod hand_over;
mod handled;
mod health;
mod members;
mod message;
mod network;
mod own_log;
mod propose;
mod reach;
mod read_index;
mod recent;
mod settings;
mod signer;
mod silence;
pub mod storage;
mod tally;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transfer;
mod transport;
mod types;

pub use clock::OwnClock;
pub use cluster::{Cluster, Identity, StartError};
pub use health::{Health, MemberHealth, Role};
pub use message::{Rejection, Removal, SignedRemoval};
pub use own_log::{Logged, Tail};
pub use propose::ProposeError;
pub use recent::Recent;
pub use settings::Settings;
pub use signer::Signer;
pub use tally::Counts;
pub use transport::{CallError, Lane, Transport};
pub use types::{Applied, MemberId, Proposal, ProposalId, TypeConfig};
