//! The audit log of this manager, made whole: entries that it never made itself, or lost, come from the other managers.
//!
//! The registry holds the end of the chain, and each entry the hash of the one before. So from the end backwards every
//! entry is known for what it is before it is taken, whoever sent it.
//!
//! ```text
//! registry (end of the chain) --> trail (walks back, asks the others) --> whole --> events, API
//! ```

mod ask;
mod heads;
mod read;
mod trail;

use axum::Router;

use crate::cluster::Cluster;

pub use heads::{Differing, Heads};
pub use read::{Part, ReadError, Reader};
pub use trail::Trail;

/// The routes under `/cluster/v1/`.
pub fn router(cluster: Cluster) -> Router {
    ask::router(cluster.clone()).merge(heads::router(cluster))
}
