//! The way to other managers, which the shell brings along.

use std::future::Future;
use std::time::Duration;

use festoon_proto::ManagerId;

/// What a request is about. Requests of one lane may wait for each other, those of different lanes must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Entries of the log, heartbeats and votes: if they come late, another manager wants to lead.
    Log,
    /// Changes on their way to the leader, and questions. There may be very many.
    Changes,
    /// Parts of snapshots, which are large.
    Snapshots,
}

/// Carries requests to other managers. A clone is the same way.
pub trait Transport: Clone + Send + Sync + 'static {
    /// Brings `request` to [`Cluster::answer`](crate::Cluster::answer) of the manager `to`, and its answer back. Both ends
    /// know for certain whom they talk to. Gives up after `limit`.
    fn call(
        &self,
        to: ManagerId,
        lane: Lane,
        request: Vec<u8>,
        limit: Duration,
    ) -> impl Future<Output = Result<Vec<u8>, CallError>> + Send;
}

/// A request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It never got there.
    #[error("not reached: {0}")]
    NotSent(String),
    /// It may have got there, and may have been carried out.
    #[error("no answer: {0}")]
    NoAnswer(String),
}
