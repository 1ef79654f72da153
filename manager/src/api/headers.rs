//! What a request says in its header: conditions and idempotency keys.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use festoon_control::registry::{IdempotencyKey, State, Subject, Unchanged};
use festoon_proto::map::MapVersion;
use festoon_proto::token::SecretHash;

use crate::accounts::Caller;
use crate::https::Refused;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_KEY: usize = 255;

/// The version of a record, as its `ETag` (RFC 9110 section 8.8.3).
#[derive(Debug, Clone, Copy)]
pub(super) struct ETag(pub(super) MapVersion);

impl IntoResponseParts for ETag {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Self::Error> {
        if let Ok(value) = HeaderValue::from_str(&format!("\"{}\"", self.0.0)) {
            response.headers_mut().insert(header::ETAG, value);
        }
        Ok(response)
    }
}

impl IntoResponse for ETag {
    fn into_response(self) -> Response {
        (self, ()).into_response()
    }
}

/// `If-Match` (RFC 9110 section 13.1.1), if it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfMatch {
    /// It is not.
    Missing,
    /// Whatever is there.
    Any,
    /// This version.
    Version(MapVersion),
}

impl IfMatch {
    fn parse(headers: &HeaderMap) -> Result<Self, Refused> {
        let Some(value) = headers.get(header::IF_MATCH) else { return Ok(Self::Missing) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
        version.map(|version| Self::Version(MapVersion(version))).ok_or_else(|| {
            let text = "If-Match must be the ETag of what is to be changed, or *";
            Refused::new(StatusCode::BAD_REQUEST, "bad-request", text)
        })
    }

    /// The condition for a change. It must be said, or two admins could overwrite each other unknowingly.
    pub(super) fn required(self, subject: Subject) -> Result<Option<Unchanged>, Refused> {
        match self {
            Self::Missing => {
                let text =
                    "send the ETag of what you have seen as If-Match, so that nobody's change is overwritten; or *";
                Err(Refused::new(StatusCode::PRECONDITION_REQUIRED, "if-match-required", text))
            }
            given => Ok(given.optional(subject)),
        }
    }

    /// The condition, if one was said.
    pub(super) const fn optional(self, subject: Subject) -> Option<Unchanged> {
        match self {
            Self::Version(since) => Some(Unchanged { subject, since }),
            Self::Any | Self::Missing => None,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        Self::parse(&parts.headers)
    }
}

/// `Idempotency-Key`, if it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(Option<String>);

impl Key {
    /// The key of this caller for this request. What is not the same from try to try, such as the time, is no part of it.
    pub(super) fn of(&self, caller: &Caller, state: &State, request: &impl serde::Serialize) -> Option<IdempotencyKey> {
        let key = self.0.as_ref()?;
        let cluster = state.cluster().map(|cluster| cluster.to_string());
        let request = serde_json::to_vec(request).unwrap_or_default();
        Some(IdempotencyKey {
            key: hash(format!("{cluster:?} {:?} {key}", caller.author.who).as_bytes()),
            request: hash(&request),
        })
    }
}

fn hash(bytes: &[u8]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&SecretHash::of(bytes).0[..16]);
    half
}

impl<S: Sync> FromRequestParts<S> for Key {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self(None)) };
        let key = value.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len()));
        let refuse = || {
            let text = "Idempotency-Key must have 1 to 255 printable characters: a UUID will do";
            Refused::new(StatusCode::BAD_REQUEST, "bad-request", text)
        };
        Ok(Self(Some(key.ok_or_else(refuse)?.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Option<IfMatch> {
        IfMatch::parse(&HeaderMap::from_iter([(header::IF_MATCH, value.parse().unwrap())])).ok()
    }

    #[test]
    fn a_change_says_what_it_has_seen() {
        assert_eq!(parse("\"7\""), Some(IfMatch::Version(MapVersion(7))));
        assert_eq!(parse("*"), Some(IfMatch::Any));
        for bad in ["7", "\"x\"", "W/\"7\"", ""] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(IfMatch::parse(&HeaderMap::new()), Ok(IfMatch::Missing));
        assert!(IfMatch::Missing.required(Subject::Cluster).is_err());
        assert_eq!(IfMatch::Any.required(Subject::Cluster), Ok(None));
    }
}
