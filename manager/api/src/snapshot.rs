//! Snapshots.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Time;

/// A snapshot of the registry that the manager which answers keeps, encrypted to the recovery key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// The name of its file.
    #[schema(example = "festoon-20261121T062238Z-m1.age")]
    pub name: String,
    /// When it was taken, to the second.
    pub created: Time,
    /// Its length in bytes.
    pub bytes: u64,
}
