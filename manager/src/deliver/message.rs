//! An event on its way out.

use festoon_control::registry::GivenUp;
use festoon_events::{Event, Position};
use serde::Serialize;

use crate::events::http::EventView;

/// What is sent: the same to every kind of destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The id of the event.
    pub(super) event: String,
    /// Its kind.
    pub(super) kind: String,
    /// JSON, as Standard Webhooks recommends it: `type`, `timestamp`, `data`.
    pub(super) body: String,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: &'a str,
    data: &'a EventView,
}

impl Message {
    pub(super) fn new(position: Position, event: Event) -> Self {
        Self::of(&EventView::new(position, event))
    }

    /// Of an event that is in no stream.
    pub(super) fn of(view: &EventView) -> Self {
        let kind = view.kind.word();
        let body = serde_json::to_string(&Body { kind, timestamp: &view.at, data: view });
        // It fails only on maps whose keys are no strings, and an event has none.
        Self { event: view.id.clone(), kind: kind.to_owned(), body: body.unwrap_or_default() }
    }

    /// What was given up, if it was kept.
    pub(super) fn again(given_up: &GivenUp) -> Option<Self> {
        let GivenUp { event, kind, body, .. } = given_up.clone();
        (!body.is_empty()).then_some(Self { event, kind, body })
    }

    /// What receivers tell it from others by. It has no full stop, which separates the parts of what is signed.
    pub(super) fn id(&self) -> String {
        self.event.replace('.', "_")
    }
}

#[cfg(test)]
mod tests {
    use festoon_events::{Kind, Place, Source};
    use festoon_proto::{EndpointId, ManagerId};

    use super::*;

    #[test]
    fn a_message_says_what_happened_and_is_told_from_others() {
        let place = Place { life: 1_763_737_200_000, number: 17 };
        let position = Position { source: Source::Manager(ManagerId(3)), place };
        let event = Event { endpoint: Some(EndpointId(7)), ..Event::new(1_763_737_200_123, Kind::EndpointUp) };
        let message = Message::new(position, event);
        assert_eq!((message.id().as_str(), message.event.as_str()), ("m3_1763737200000_17", "m3.1763737200000.17"));
        let body: serde_json::Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!((&body["type"], &body["timestamp"]), (&"endpoint.up".into(), &"2025-11-21T15:00:00.123Z".into()));
        assert_eq!((&body["data"]["endpoint"], &body["data"]["id"]), (&"e7".into(), &message.event.as_str().into()));
    }
}
