//! Events over HTTP: pages of what happened, and what happens, as server-sent events (the HTML standard, section 9.2).
//!
//! Who may ask is the API's matter: a [`Reader`] says what it may see, and for how long.

use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use festoon_events::{BadCursor, Cursor, Details, Event, Filter, Kind, Position};
use festoon_proto::{EndpointId, ManagerId, NetworkId};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::Events;
use super::stream::wanted;
use crate::https::Refused;

const MOST: usize = 1_000;
const USUAL: usize = 100;
/// Events that wait for one client. One that takes none for so long is cut off, and goes on where it was.
const BUFFER: usize = 256;
const PATIENCE: Duration = Duration::from_secs(30);
/// So that proxies and clients see that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Who reads events.
pub trait Reader: Send + Sync + 'static {
    /// Whether it may see this one now.
    fn may_see(&self, event: &Event) -> bool;
    /// Waits until it may see nothing any more: it logged out, say. May be cancelled at any time.
    fn ended(&self) -> impl Future<Output = ()> + Send;
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// Behind this cursor.
    pub after: Option<String>,
    /// At most so many: 1 to 1,000; 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// Of these kinds, with commas between.
    pub kind: Option<String>,
    /// About this endpoint.
    pub endpoint: Option<String>,
    /// About this manager.
    pub manager: Option<String>,
    /// In this network.
    pub network: Option<String>,
    /// Not before this time (RFC 3339).
    pub since: Option<String>,
}

/// An event, as programs read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Event)]
pub struct EventView {
    /// Tells it from every other.
    pub id: String,
    /// When: RFC 3339, to the millisecond.
    #[schema(format = DateTime)]
    pub at: String,
    /// What.
    #[schema(value_type = String, example = "endpoint.moved")]
    pub kind: Kind,
    /// To which endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// At or to which manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// In which network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Of the attachment that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// More.
    #[schema(value_type = Object)]
    pub details: Details,
}

/// Some events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct EventPage {
    /// In order.
    pub items: Vec<EventView>,
    /// Where to go on, at any manager.
    pub next: String,
    /// Whether there is more already.
    pub more: bool,
}

impl EventView {
    /// The event at this position.
    pub fn new(position: Position, event: Event) -> Self {
        let Event { at, kind, endpoint, manager, network, generation, details, .. } = event;
        Self {
            id: position.to_string(),
            at: festoon_api::Time(at).to_string(),
            kind,
            endpoint: endpoint.as_ref().map(EndpointId::to_string),
            manager: manager.as_ref().map(ManagerId::to_string),
            network: network.as_ref().map(NetworkId::to_string),
            generation: generation.map(|generation| generation.to_string()),
            details,
        }
    }
}

/// Answers `GET /api/v1/events`: a page, or all that happens from now on if the client takes `text/event-stream`.
pub async fn events(
    events: &Events,
    query: Query,
    headers: &HeaderMap,
    reader: impl Reader,
) -> Result<Response, Refused> {
    let filter = filter(&query)?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/event-stream")) {
        return follow(events, &query, headers, (filter, reader)).await;
    }
    let may_see = move |event: &Event| reader.may_see(event);
    list(events, &query, wanted(filter, may_see)).await
}

async fn list(events: &Events, query: &Query, wanted: impl Fn(&Event) -> bool) -> Result<Response, Refused> {
    let limit = query.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(bad(&format!("limit is {limit}: it must be 1 to {MOST}")));
    }
    let after = query.after.as_deref().map_or(Ok(Cursor::default()), str::parse)?;
    let page = events.page(after, limit, wanted).await?;
    let items = page.events.into_iter().map(|(position, event, _)| EventView::new(position, event)).collect();
    Ok(Json(EventPage { items, next: page.next.to_string(), more: !page.is_last }).into_response())
}

async fn follow(
    events: &Events,
    query: &Query,
    headers: &HeaderMap,
    (filter, reader): (Filter, impl Reader),
) -> Result<Response, Refused> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let after = match last.or(query.after.as_deref()) {
        Some(cursor) => cursor.parse()?,
        None => events.end().await?,
    };
    let (out, waiting) = mpsc::channel(BUFFER);
    // What still waits for a reader that may see nothing any more is not sent.
    let (following, ended) = oneshot::channel::<Infallible>();
    let events = events.clone();
    tokio::spawn(async move {
        let wanted = wanted(filter, |event: &Event| reader.may_see(event));
        tokio::select! {
            () = feed(events, after, wanted, out) => {}
            () = reader.ended() => {}
        }
        drop(following);
    });
    let stream =
        stream::unfold(waiting, async |mut waiting| Some((Ok::<_, Infallible>(waiting.recv().await?), waiting)));
    let stream = stream.take_until(ended);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(Box::pin(stream)).keep_alive(keep_alive).into_response())
}

/// Feeds one client. Ends with it, or when it takes nothing.
async fn feed(events: Events, mut after: Cursor, wanted: impl Fn(&Event) -> bool, out: mpsc::Sender<sse::Event>) {
    let mut news = events.watch();
    loop {
        news.borrow_and_update();
        let page = match events.page(after, BUFFER, &wanted).await {
            Ok(page) => page,
            Err(error) => return tracing::error!(%error, "a client of events is cut off"),
        };
        after = page.next;
        for (position, event, cursor) in page.events {
            let kind = event.kind;
            let Ok(view) = serde_json::to_string(&EventView::new(position, event)) else { continue };
            let event = sse::Event::default().id(cursor.to_string()).event(kind.word()).data(view);
            if out.send_timeout(event, PATIENCE).await.is_err() {
                return;
            }
        }
        if page.is_last {
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                () = out.closed() => return,
            }
        }
    }
}

fn filter(query: &Query) -> Result<Filter, Refused> {
    let kinds = query.kind.as_deref().unwrap_or_default().split(',').filter(|word| !word.is_empty());
    let kinds = kinds.map(str::parse).collect::<Result<_, _>>().map_err(|error| bad(&format!("kind: {error}")))?;
    let since = query.since.as_deref().map(str::parse::<Timestamp>).transpose();
    let since = since.map_err(|_| bad("since is no time as in RFC 3339, such as 2026-11-21T06:22:38Z"))?;
    Ok(Filter {
        kinds,
        endpoint: id(query.endpoint.as_deref())?,
        manager: id(query.manager.as_deref())?,
        network: id(query.network.as_deref())?,
        since: since.map_or(0, |since| u64::try_from(since.as_millisecond()).unwrap_or_default()),
    })
}

fn id<T: FromStr<Err: Display>>(text: Option<&str>) -> Result<Option<T>, Refused> {
    text.map(str::parse).transpose().map_err(|error: T::Err| bad(&error.to_string()))
}

fn bad(text: &str) -> Refused {
    Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-query", text)
}

impl From<BadCursor> for Refused {
    fn from(error: BadCursor) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-cursor", &error.to_string())
    }
}
