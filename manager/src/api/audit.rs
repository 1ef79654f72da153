//! The audit log.

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;

use super::Api;
use super::query::ApiQuery;
use crate::https::Refused;

/// Which entries.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    /// Those with higher numbers.
    #[serde(default)]
    after: u64,
    /// How many, 1000 if it is not said.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u16>,
}

/// Entries of the audit log, by number, as lines of JSON. Each has the hash of the one before, so
/// that one which was removed or altered shows.
#[utoipa::path(get, path = "/audit", tag = "audit", params(Range),
    responses((status = 200, content((String = "application/jsonl")))))]
pub(super) async fn list(
    Shared(api): Shared<Api>,
    ApiQuery(range): ApiQuery<Range>,
) -> Result<impl IntoResponse, Refused> {
    let limit = range.limit.unwrap_or(1000);
    if !(1..=10_000).contains(&limit) {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "bad-request", "limit is 1 to 10000"));
    }
    let entries = api.cluster.audit(range.after, usize::from(limit)).await.map_err(|error| {
        tracing::error!(%error, "the audit log can't be read");
        Refused::internal()
    })?;
    let mut lines = String::new();
    for entry in entries {
        lines.push_str(&entry.line);
        lines.push('\n');
    }
    Ok(([(header::CONTENT_TYPE, "application/jsonl")], Body::from(lines)))
}
