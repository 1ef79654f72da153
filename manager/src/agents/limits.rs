//! How often one endpoint may ask over HTTPS.
//!
//! Counted at the door of each manager, before anything is done for the request: a map that is made takes time, and a change
//! of the registry costs every manager an entry in its log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use festoon_dataplane::bucket::{Buckets, Rate};
use festoon_proto::EndpointId;

use crate::https::Refused;

/// Requests of any kind. An agent asks for its map after each change that it can see, and a few may come at once.
const REQUESTS: Rate = Rate { burst: 100, every: Duration::from_millis(50) };
/// Changes of the registry: other routes, another key. Nobody needs many of them.
const CHANGES: Rate = Rate { burst: 20, every: Duration::from_secs(5) };

/// What an endpoint asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Anything.
    Request,
    /// A change of the registry.
    Change,
}

/// What each endpoint has used of its rates. A clone counts with the others.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits(Arc<Mutex<Used>>);

#[derive(Debug, Default)]
struct Used {
    requests: Buckets<EndpointId>,
    changes: Buckets<EndpointId>,
}

impl Limits {
    /// Counts what an endpoint asks for, unless that is too much.
    pub(super) fn take(&self, endpoint: EndpointId, what: Use) -> Result<(), Refused> {
        self.take_at(endpoint, what, clock()).map_err(too_many)
    }

    fn take_at(&self, endpoint: EndpointId, what: Use, now: Instant) -> Result<(), Duration> {
        // Nothing panics while holding it.
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match what {
            Use::Request => used.requests.take(endpoint, REQUESTS, now),
            Use::Change => used.changes.take(endpoint, CHANGES, now),
        }
    }
}

fn too_many(wait: Duration) -> Refused {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    let text = format!("this endpoint asks too often: try again in {seconds} s");
    let refused = Refused::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", &text);
    refused.retry_after(u64::try_from(seconds).unwrap_or(u64::MAX))
}

#[expect(clippy::disallowed_methods, reason = "the shell tells the time")]
fn clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_often_holds_up_itself_alone() {
        let (limits, now) = (Limits::default(), clock());
        let taken =
            |endpoint, what, now| (0..1000).filter(|_| limits.take_at(EndpointId(endpoint), what, now).is_ok()).count();
        assert_eq!((taken(1, Use::Request, now), taken(1, Use::Change, now)), (100, 20));
        assert_eq!((taken(2, Use::Request, now), taken(2, Use::Change, now)), (100, 20));
        let later = now + Duration::from_secs(5);
        assert_eq!((taken(1, Use::Request, later), taken(1, Use::Change, later)), (100, 1));
    }
}
