//! The table of the API: every operation of the OpenAPI document, what one needs for it, and a body that makes sense.
//!
//! Whoever may use a route is refused for another reason or does no harm with these bodies, as long as it sends an `If-Match` that
//! is wrong.

use super::routes::{Listener, Right, Row};

/// Of the pages beside the document.
const OTHERS: [(&str, &str, Right); 2] = [("GET", "/api/v1/openapi.json", Nothing), ("GET", "/api/docs/", Viewer)];

use Right::{More, Nothing, Viewer, ViewerOfFirst};

#[rustfmt::skip]
const OPERATIONS: &[(&str, &str, Right, &str)] = &[
    ("GET", "/healthz", Nothing, ""),
    ("GET", "/readyz", Nothing, ""),
    ("POST", "/setup", Nothing, r#"{"secret": "x", "name": "x", "password": "correct horse battery"}"#),
    ("POST", "/session", Nothing, r#"{"name": "nobody", "password": "correct horse battery"}"#),
    ("GET", "/session/ways", Nothing, ""),
    ("GET", "/session/oidc", Nothing, ""),
    ("GET", "/session/oidc/callback", Nothing, ""),
    ("POST", "/setup/secret", More, ""),
    ("GET", "/session", Viewer, ""),
    ("POST", "/session/confirm", Viewer, r#"{"password": "not this one, a viewer"}"#),
    ("GET", "/cluster", Viewer, ""),
    ("GET", "/networks", Viewer, ""),
    ("POST", "/networks", More, r#"{"name": "second", "prefixes": ["10.9.0.0/24"]}"#),
    ("GET", "/networks/{network}", ViewerOfFirst, ""),
    ("PATCH", "/networks/{network}", More, r#"{"name": "taken-over"}"#),
    ("DELETE", "/networks/{network}", More, ""),
    ("GET", "/endpoints", Viewer, ""),
    ("POST", "/endpoints", More, r#"{"name": "a", "network": "n1"}"#),
    ("POST", "/endpoints/batch", More, r#"{"endpoints": [{"name": "a", "network": "n1"}]}"#),
    ("GET", "/endpoints/{endpoint}", ViewerOfFirst, ""),
    ("PATCH", "/endpoints/{endpoint}", More, r#"{"enabled": false}"#),
    ("PATCH", "/endpoints/{endpoint}", More, r#"{"approved_routes": []}"#),
    ("DELETE", "/endpoints/{endpoint}", More, ""),
    ("POST", "/endpoints/{endpoint}/rotate-key", More, ""),
    ("POST", "/endpoints/{endpoint}/disconnect", More, ""),
    ("GET", "/endpoints/{endpoint}/config", ViewerOfFirst, ""),
    ("GET", "/routes", Viewer, ""),
    ("GET", "/join-tokens", Viewer, ""),
    ("POST", "/join-tokens", More, r#"{"network": "n1", "tags": ["no tag"]}"#),
    ("GET", "/join-tokens/{join_token}", ViewerOfFirst, ""),
    ("DELETE", "/join-tokens/{join_token}", More, ""),
    ("GET", "/managers", Viewer, ""),
    ("GET", "/managers/{manager}", Viewer, ""),
    ("PATCH", "/managers/{manager}", More, r#"{"priority": 1}"#),
    ("DELETE", "/managers/{manager}", More, ""),
    ("POST", "/managers/{manager}/drain", More, ""),
    ("POST", "/managers/{manager}/undrain", More, ""),
    ("GET", "/events", Viewer, ""),
    ("GET", "/audit", More, ""),
    ("GET", "/snapshots", More, ""),
    ("POST", "/snapshots", More, ""),
    ("GET", "/snapshots/{snapshot}", More, ""),
    ("GET", "/snapshot", More, ""),
    ("GET", "/settings", More, ""),
    ("PATCH", "/settings", More, r#"{}"#),
    ("GET", "/users", Viewer, ""),
    ("POST", "/users", More, r#"{"name": "bystander", "role": "owner", "password": "correct horse battery"}"#),
    ("GET", "/users/{user}", More, ""),
    ("PATCH", "/users/{user}", More, r#"{"role": "owner"}"#),
    ("DELETE", "/users/{user}", More, ""),
    ("PUT", "/users/{user}/password", More, r#"{"current": "x", "new": "correct horse battery"}"#),
    ("POST", "/users/{user}/totp", More, ""),
    ("PUT", "/users/{user}/totp", More, r#"{"secret": "x", "code": "x"}"#),
    ("POST", "/users/{user}/totp/remove", More, r#"{}"#),
    ("POST", "/users/{user}/recovery-codes", More, r#"{}"#),
    ("GET", "/users/{user}/sessions", More, ""),
    ("DELETE", "/users/{user}/sessions", More, ""),
    ("DELETE", "/users/{user}/sessions/{session}", More, ""),
    ("GET", "/api-tokens", Viewer, ""),
    ("POST", "/api-tokens", More, r#"{"name": "no name", "role": "viewer", "user": "{user}"}"#),
    ("GET", "/api-tokens/{api_token}", More, ""),
    ("DELETE", "/api-tokens/{api_token}", More, ""),
    ("GET", "/event-destinations", More, ""),
    ("POST", "/event-destinations", More, r#"{"name": "x", "kind": "webhook", "url": "ftp://x"}"#),
    ("GET", "/event-destinations/{event_destination}", More, ""),
    ("PATCH", "/event-destinations/{event_destination}", More, r#"{}"#),
    ("DELETE", "/event-destinations/{event_destination}", More, ""),
    ("POST", "/event-destinations/{event_destination}/rotate-secret", More, r#"{"overlap_s": 0}"#),
    ("POST", "/event-destinations/{event_destination}/test", More, ""),
    ("GET", "/event-destinations/{event_destination}/dead-letters", More, ""),
    ("POST", "/event-destinations/{event_destination}/dead-letters/redeliver", More, r#"{}"#),
    // The last one: it ends a session.
    ("DELETE", "/session", Viewer, ""),
];

/// The rows of the API.
pub(super) fn rows() -> Vec<Row> {
    let row = |(method, path, right, body): (&'static str, String, Right, &str)| Row {
        listener: Listener::Everybody,
        method,
        path,
        right,
        body: body.to_owned(),
    };
    let others = OTHERS.map(|(method, path, right)| row((method, path.to_owned(), right, "")));
    let operations =
        OPERATIONS.iter().map(|&(method, path, right, body)| row((method, format!("/api/v1{path}"), right, body)));
    others.into_iter().chain(operations).collect()
}

/// Whether the OpenAPI document has it.
pub(super) fn is_documented(path: &str) -> bool {
    path.starts_with("/api/v1/") && OTHERS.iter().all(|(_, other, _)| *other != path)
}
