//! Bodies of requests.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::Refused;

/// A body in JSON; one that is none is refused as everything else is, with a problem.
#[derive(Debug)]
pub struct ApiJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ApiJson<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let refuse = |rejection: JsonRejection| Refused::new(rejection.status(), "bad-request", &rejection.body_text());
        Json::from_request(request, state).await.map(|Json(value)| Self(value)).map_err(refuse)
    }
}
