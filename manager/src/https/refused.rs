//! The one place where errors become HTTP.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use festoon_proto::http::Problem;

use crate::cluster::ProposeError;

/// The content type of a [`Problem`] (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// When whoever was refused because of too many changes should try again, in seconds.
const BUSY_RETRY_S: u64 = 1;

/// A request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    problem: Problem,
    /// When to try again, in seconds.
    retry_after_s: Option<u64>,
}

impl Refused {
    /// Refused with this status, for this reason: a stable word and a line of text.
    pub fn new(status: StatusCode, kind: &str, text: &str) -> Self {
        let title = text.lines().collect::<Vec<_>>().join(" ");
        let problem = Problem { kind: kind.to_owned(), title, status: status.as_u16() };
        Self { problem, retry_after_s: None }
    }

    /// For now: it may be tried again after so many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// Something is wrong with this manager.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something is wrong with this manager: see its log")
    }

    /// Another manager asks something that this one can't read.
    pub fn not_understood() -> Self {
        let text = "this manager can't read the request: run the same version of Festoon on both managers";
        Self::new(StatusCode::BAD_REQUEST, "bad-request", text)
    }

    /// The request took too long.
    pub fn timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long: send it again")
    }
}

impl From<ProposeError> for Refused {
    fn from(error: ProposeError) -> Self {
        let (status, kind) = match &error {
            ProposeError::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            ProposeError::Refused(refusal) => (status_of(refusal.kind()), refusal.kind()),
            ProposeError::NoQuorum { .. } => (StatusCode::SERVICE_UNAVAILABLE, "no-quorum"),
            ProposeError::StillNeeded { .. } => (StatusCode::CONFLICT, "manager-needed"),
            ProposeError::Fenced { .. } => (StatusCode::SERVICE_UNAVAILABLE, "fenced"),
            ProposeError::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "stopped"),
        };
        let refused = Self::new(status, kind, &error.to_string());
        if matches!(error, ProposeError::Busy { .. }) { refused.retry_after(BUSY_RETRY_S) } else { refused }
    }
}

/// By the word of the refusal, which operations share.
fn status_of(kind: &str) -> StatusCode {
    match kind {
        "token-unknown" | "token-expired" | "token-used" | "token-wrong-kind" => StatusCode::FORBIDDEN,
        "network-unknown" | "endpoint-unknown" | "manager-unknown" | "join-token-unknown" => StatusCode::NOT_FOUND,
        "event-destination-unknown" | "dead-letter-unknown" => StatusCode::NOT_FOUND,
        "user-unknown" | "api-token-unknown" | "session-unknown" => StatusCode::NOT_FOUND,
        "set-up-secret" | "endpoint-disabled" | "endpoint-not-its-own" => StatusCode::FORBIDDEN,
        "changed-meanwhile" => StatusCode::PRECONDITION_FAILED,
        // Another manager may have a clock that is right.
        "clock-differs" | "time-unknown" => StatusCode::SERVICE_UNAVAILABLE,
        "idempotency-key-reused" => StatusCode::UNPROCESSABLE_ENTITY,
        kind if kind.starts_with("bad-") => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::CONFLICT,
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after_s.map(|seconds| [(header::RETRY_AFTER, seconds.to_string())]);
        (
            status,
            AppendHeaders(retry_after.into_iter().flatten()),
            [(header::CONTENT_TYPE, PROBLEM_JSON)],
            Json(self.problem),
        )
            .into_response()
    }
}

#[cfg(test)]
mod tests {
    use festoon_control::registry::{EndpointError, Refusal, TokenError};

    use super::*;

    #[test]
    fn refusals_of_tokens_are_forbidden_and_a_lost_quorum_is_worth_another_try() {
        let expired = ProposeError::Refused(Refusal::Endpoint(EndpointError::Token(TokenError::Expired)));
        let Refused { problem, .. } = expired.into();
        assert_eq!((problem.status, problem.kind.as_str()), (403, "token-expired"));
        let Refused { problem, .. } = ProposeError::NoQuorum { needed: 2, voters: 3, is_uncertain: false }.into();
        assert_eq!((problem.status, problem.kind.as_str()), (503, "no-quorum"));
    }
}
