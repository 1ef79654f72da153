//! The requests of clients: how many, how they ended, how long they took. Counted around all routes of a listener.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use festoon_metrics::{Histogram, Page};

/// Seconds that requests take. A change waits for disks, and a question between managers for up to five seconds by design.
const DURATIONS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// What is no route. Everybody may invent paths: they must not become series.
const NO_ROUTE: &str = "none";

/// The way that a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The HTTPS listener.
    Https,
    /// The admin socket.
    Socket,
}

impl Way {
    const fn word(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Socket => "socket",
        }
    }
}

/// The requests that were counted. A clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Requests(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    in_flight: BTreeMap<Way, u64>,
    routes: BTreeMap<Route, Taken>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    way: Way,
    template: String,
    method: &'static str,
}

#[derive(Debug)]
struct Taken {
    statuses: BTreeMap<u16, u64>,
    durations: Histogram,
}

impl Requests {
    /// Counts all requests for these routes.
    pub fn observe(&self, routes: Router, way: Way) -> Router {
        self.lock().in_flight.insert(way, 0);
        routes.layer(from_fn_with_state((self.clone(), way), count))
    }

    /// Writes the counts.
    pub(super) fn write(&self, page: &mut Page) {
        let Table { in_flight, routes } = &*self.lock();
        let mut now = page.gauge("festoon_http_requests_in_flight", "Requests that are being answered.");
        for (way, count) in in_flight {
            now.add(&[("listener", &way.word())], *count);
        }
        let mut requests = page.counter("festoon_http_requests_total", "Requests, by route, method and status.");
        for (Route { way, template, method }, taken) in routes {
            for (status, count) in &taken.statuses {
                let (listener, route) = (("listener", &way.word() as _), ("route", template as _));
                requests.add(&[listener, route, ("method", method), ("status", status)], *count);
            }
        }
        let mut durations =
            page.histogram("festoon_http_request_duration_seconds", "How long a request took until its answer began.");
        for (Route { way, template, method }, taken) in routes {
            let labels: [(&str, &dyn std::fmt::Display); 3] =
                [("listener", &way.word()), ("route", template), ("method", method)];
            durations.add_histogram(&labels, &taken.durations);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, way: Way) -> InFlight {
        *self.lock().in_flight.entry(way).or_default() += 1;
        InFlight { requests: self.clone(), way }
    }
}

/// A request that is being answered, until this is dropped: the client may go before there is an answer.
struct InFlight {
    requests: Requests,
    way: Way,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(count) = self.requests.lock().in_flight.get_mut(&self.way) {
            *count = count.saturating_sub(1);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a request takes is a matter of the shell")]
async fn count(State((requests, way)): State<(Requests, Way)>, request: Request, next: Next) -> Response {
    let (outer, method) = (request.extensions().get::<MatchedPath>().cloned(), method(request.method()));
    let in_flight = requests.begin(way);
    let began = Instant::now();
    let response = next.run(request).await;
    drop(in_flight);
    let route = Route { way, template: template(outer.as_ref().or_else(|| response.extensions().get())), method };
    let mut table = requests.lock();
    let new = || Taken { statuses: BTreeMap::new(), durations: Histogram::new(DURATIONS) };
    let taken = table.routes.entry(route).or_insert_with(new);
    taken.durations.observe(began.elapsed());
    *taken.statuses.entry(response.status().as_u16()).or_default() += 1;
    drop(table);
    response
}

/// As it was registered, with the names of its parameters in the place of their values.
fn template(matched: Option<&MatchedPath>) -> String {
    let matched = matched.map(MatchedPath::as_str);
    // The routers that are inside of others have names of their own for what is no route.
    matched.filter(|path| !path.contains("__private")).unwrap_or(NO_ROUTE).to_owned()
}

/// Clients may invent methods too.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
