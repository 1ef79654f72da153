//! What the cluster as a whole has to set.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The settings of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// What snapshots are encrypted to: the public half of the recovery key, an age recipient. None if the manager that
    /// answers can't read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_recipient: Option<String>,
    /// Their version, which is also their `ETag`. It also changes with other secrets of the cluster.
    pub version: u64,
}

/// What is to be changed. What is left out stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct SettingsUpdate {
    /// What snapshots are encrypted to from now on: an age recipient. The other half stays where it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub recovery_recipient: Option<String>,
}
