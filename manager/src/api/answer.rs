//! What a browser, and a client that pins the CA, is told with every answer.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::cluster::Cluster;
use crate::pki::KnownAuthorities;

/// The pages have all they need with them, and nobody else's page shows them in a frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
);

/// Answers have secrets in them that are shown once: nobody keeps them, and nobody takes them for something else.
pub(super) async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Says which CAs are trusted now. Whoever reads it came over a connection that one of them vouches for, and so follows when they
/// are replaced.
pub(super) async fn name_authorities(State(cluster): State<Cluster>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&KnownAuthorities::of(&cluster.snapshot()).to_string()) {
        response.headers_mut().insert(KnownAuthorities::HEADER, value);
    }
    response
}
