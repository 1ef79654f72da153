//! The way to an identity provider: it follows no redirect, takes its time from nobody, and reads no more than it has to.

use std::time::Duration;

use openidconnect::{HttpRequest, HttpResponse};

use crate::trust;

/// A login waits for it.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(8);
/// Of an answer: metadata and keys have some kilobytes.
const MOST: usize = 256 * 1024;

/// A provider is not asked, or does not answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// This machine trusts no CA.
    #[error("this machine has no CA certificates: install ca-certificates")]
    NoAuthority,
    /// TLS can't be set up.
    #[error("TLS can't be set up")]
    Tls(#[from] rustls::Error),
    /// It does not answer.
    #[error("it does not answer")]
    Call(#[from] reqwest::Error),
    /// It says too much.
    #[error("its answer is too long")]
    TooLong,
    /// What it says is no HTTP.
    #[error("its answer makes no sense")]
    Nonsense(#[from] axum::http::Error),
}

/// A client that believes the CAs of this machine, which are read from its disk.
pub(super) async fn client() -> Result<reqwest::Client, HttpError> {
    // It is lost only with the program.
    let authorities = tokio::task::spawn_blocking(trust::authorities).await.map_err(|_| HttpError::NoAuthority)?;
    if authorities.is_empty() {
        return Err(HttpError::NoAuthority);
    }
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(trust::client_config(authorities)?)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .timeout(LIMIT);
    Ok(client.build()?)
}

/// Asks.
pub(super) async fn ask(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let (head, body) = request.into_parts();
    let url = head.uri.to_string();
    let mut response = client.request(head.method, url).headers(head.headers).body(body).send().await?;
    let mut answer = axum::http::Response::builder().status(response.status());
    if let Some(headers) = answer.headers_mut() {
        headers.clone_from(response.headers());
    }
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > MOST {
            return Err(HttpError::TooLong);
        }
        body.extend_from_slice(&part);
    }
    Ok(answer.body(body)?)
}
