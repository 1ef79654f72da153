//! The audit log.

use axum::Json;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use festoon_api::{AuditEntry, Page};
use serde::Deserialize;

use super::Api;
use super::query::ApiQuery;
use crate::audit::{Part, ReadError};
use crate::https::Refused;

const LINES: &str = "application/jsonl";
const USUAL: u16 = 1_000;
const MOST: u16 = 10_000;

/// How entries are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// As a page.
    Json,
    /// As lines, to the letter.
    Jsonl,
}

/// Which entries.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    /// Those with higher numbers: `next` of the page before, or the number of the last line. From the oldest that this manager
    /// has, if it is not said; if it is, and the next is missing here, the answer is 503.
    after: Option<u64>,
    /// How many, 1000 if it is not said.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u16>,
    /// The newest so many instead, in the same order, as far as this manager has them. There is no page behind them.
    #[param(minimum = 1, maximum = 10000)]
    last: Option<u16>,
    /// As a page, or as lines of JSON; as `Accept` says, if it is not said.
    #[param(inline)]
    format: Option<Format>,
}

impl Range {
    /// How many entries, at most.
    fn most(&self) -> Result<usize, Refused> {
        let bad = |text| Refused::new(StatusCode::BAD_REQUEST, "bad-request", text);
        if self.limit.is_some() && self.last.is_some() {
            return Err(bad("limit counts from the oldest entry on and last from the newest back: give one of them"));
        }
        let most = self.last.or(self.limit).unwrap_or(USUAL);
        if (1..=MOST).contains(&most) { Ok(most.into()) } else { Err(bad("limit and last are 1 to 10000")) }
    }
}

/// Entries of the audit log, by number. As lines of JSON each has the hash of the one before, so that one which was removed or
/// altered shows.
#[utoipa::path(get, path = "/audit", tag = "audit", params(Range),
    responses((status = 200, content((Page<AuditEntry> = "application/json"), (String = "application/jsonl")))))]
pub(super) async fn list(
    Shared(api): Shared<Api>,
    headers: HeaderMap,
    ApiQuery(range): ApiQuery<Range>,
) -> Result<Response, Refused> {
    let most = range.most()?;
    let Part { entries, goes_on } = match range.last {
        Some(_) => api.audit.last(range.after.unwrap_or_default(), most).await?,
        None => api.audit.read(range.after, most).await?,
    };
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let as_said = if accepts.is_some_and(|accept| accept.contains(LINES)) { Format::Jsonl } else { Format::Json };
    if range.format.unwrap_or(as_said) == Format::Jsonl {
        let lines: String = entries.iter().flat_map(|entry| [entry.line.as_str(), "\n"]).collect();
        return Ok(([(header::CONTENT_TYPE, LINES)], Body::from(lines)).into_response());
    }
    let next = entries.last().filter(|_| goes_on).map(|last| last.number.to_string());
    let items = entries.iter().map(|entry| serde_json::from_str::<AuditEntry>(&entry.line));
    let items = items.collect::<Result<_, _>>().map_err(|error| {
        tracing::error!(%error, "an entry of the audit log can't be read");
        Refused::internal()
    })?;
    Ok(Json(Page { items, next }).into_response())
}

impl From<ReadError> for Refused {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Behind { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "audit-behind", &error.to_string()).retry_after(5)
            }
            ReadError::Storage(error) => {
                tracing::error!(%error, "the audit log can't be read");
                Self::internal()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_counted_from_one_end() {
        let most = |limit, last| Range { limit, last, ..Range::default() }.most().ok();
        assert_eq!(
            (most(None, None), most(Some(10_000), None), most(None, Some(3))),
            (Some(1_000), Some(10_000), Some(3))
        );
        for (limit, last) in
            [(Some(0), None), (None, Some(0)), (Some(10_001), None), (None, Some(10_001)), (Some(3), Some(3))]
        {
            assert_eq!(most(limit, last), None, "{limit:?} {last:?}");
        }
    }
}
