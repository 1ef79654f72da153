//! The audit log.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::Time;

/// An entry of the audit log. As a line of JSON it has a hash that is made over that line without it; only the export as lines
/// has them to the letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at: Time,
    /// Where the change stands in the log of the registry.
    pub index: u64,
    /// Who, with which credential, from where.
    #[schema(value_type = Object)]
    pub by: Value,
    /// What was done.
    #[schema(example = "endpoint.update")]
    pub action: String,
    /// To what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub subject: Option<Value>,
    /// What that was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// What it is since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
    /// The hash of the entry before.
    pub previous: String,
    /// Its own hash.
    pub hash: String,
}
