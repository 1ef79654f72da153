//! Endpoints that somebody else holds the keys of, for admins to hear of.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use festoon_control::registry::State;
use festoon_events::{Event, Kind};
use festoon_proto::{EndpointId, ManagerId};
use tokio::sync::mpsc;

use crate::cluster::unix_now;

/// A copy asks again and again. An admin is told of it once in this time.
const QUIET: Duration = Duration::from_secs(600);

/// Tells of endpoints whose former credential is shown. A clone is the same.
///
/// Only who held an endpoint's credential can be noted here, so there are at most as many entries as endpoints.
#[derive(Debug, Clone)]
pub struct Copies {
    me: ManagerId,
    events: mpsc::Sender<Event>,
    told: Arc<Mutex<HashMap<EndpointId, Instant>>>,
}

impl Copies {
    /// Those that come to manager `me`, told in `events`.
    pub fn new(me: ManagerId, events: mpsc::Sender<Event>) -> Self {
        Self { me, events, told: Arc::default() }
    }

    /// Somebody at `from` showed a credential that `endpoint` had before the one of now.
    pub fn note(&self, state: &State, endpoint: EndpointId, from: IpAddr) {
        if !self.is_news(endpoint) {
            return;
        }
        tracing::warn!(%endpoint, %from, "a request showed a credential of this endpoint that was replaced: there may be a copy of its keys");
        let network = state.endpoint(endpoint).map(|endpoint| endpoint.network);
        let mut event = Event { endpoint: Some(endpoint), manager: Some(self.me), network, ..event() };
        event.details.insert("from".to_owned(), from.to_string().into());
        // While the record is slow it is told when the copy asks again after the quiet time.
        drop(self.events.try_send(event));
    }

    fn is_news(&self, endpoint: EndpointId) -> bool {
        let now = clock();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.saturating_duration_since(*at) < QUIET);
        let is_news = !told.contains_key(&endpoint);
        if is_news {
            told.insert(endpoint, now);
        }
        is_news
    }
}

fn event() -> Event {
    Event::new(unix_now().0, Kind::EndpointCopied)
}

#[expect(clippy::disallowed_methods, reason = "how often admins are told is a matter of the shell")]
fn clock() -> Instant {
    Instant::now()
}
