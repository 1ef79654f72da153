//! Destinations of events as the API shows them.

use festoon_api as api;
use festoon_control::registry::{DeadLetter, EventDestination, Progress, Target};
use festoon_events::Cursor;
use festoon_proto::ManagerId;
use festoon_proto::access::Scope;

use crate::api::view::time;
use crate::deliver::Standing;

pub(in crate::api) fn event_destination(destination: &EventDestination) -> api::EventDestination {
    let (kind, url, exchange, routing_key_prefix) = match destination.target.clone() {
        Target::Webhook { url } => (api::EventDestinationKind::Webhook, url, None, None),
        Target::Amqp { uri, exchange, routing_key_prefix } => {
            (api::EventDestinationKind::Amqp, uri, Some(exchange), Some(routing_key_prefix))
        }
    };
    api::EventDestination {
        id: destination.id.into(),
        name: destination.name.clone(),
        kind,
        url,
        exchange,
        routing_key_prefix,
        events: destination.kinds.iter().cloned().collect(),
        networks: match &destination.networks {
            Scope::All => Vec::new(),
            Scope::Networks(networks) => networks.iter().copied().map(Into::into).collect(),
        },
        enabled: destination.is_enabled,
        allow_private_addresses: destination.allows_private,
        former_secret_until: destination.former_secret_until.map(time),
        created: time(destination.created),
        delivery: None,
        version: destination.changed.0,
    }
}

/// As the manager that delivers says, if it does; as the registry knows otherwise. `end` is that of the stream.
pub(in crate::api) fn delivery(
    progress: &Progress,
    standing: Option<(ManagerId, Standing)>,
    end: &Cursor,
) -> api::DeliveryState {
    let dead_letters = progress.letter_count() as u64;
    let dead_letters_dropped = progress.dropped;
    let Some((manager, standing)) = standing else {
        let reached: Cursor = progress.cursor.parse().unwrap_or_default();
        return api::DeliveryState {
            manager: None,
            last_success: None,
            failures: 0,
            failing_since: progress.failing_since.map(time),
            last_error: None,
            next_try: None,
            waiting: 0,
            lag: reached.behind(end),
            missed: progress.missed,
            dead_letters,
            dead_letters_dropped,
        };
    };
    api::DeliveryState {
        manager: Some(manager.into()),
        last_success: standing.last_success.map(api::Time),
        failures: standing.failures,
        failing_since: standing.failing_since.map(api::Time),
        lag: standing.lag(end),
        last_error: standing.last_error,
        next_try: standing.next_try.map(api::Time),
        waiting: standing.waiting,
        missed: standing.missed.max(progress.missed),
        dead_letters,
        dead_letters_dropped,
    }
}

pub(in crate::api) fn dead_letter(letter: &DeadLetter) -> api::DeadLetter {
    api::DeadLetter {
        number: letter.number,
        event: letter.given_up.event.clone(),
        kind: letter.given_up.kind.clone(),
        attempts: letter.given_up.attempts,
        error: letter.given_up.error.clone(),
        given_up: time(letter.given_up.at),
        redelivering: letter.wanted.is_some(),
        message: serde_json::from_str(&letter.given_up.body).ok(),
    }
}
