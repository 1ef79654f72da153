//! What this manager tells: what its node saw. What one endpoint causes too much of is told as a count.

use std::time::Instant;

use festoon_events::damping::Damper;
use festoon_events::{Details, Event, Kind};
use festoon_proto::ManagerId;
use tokio::sync::mpsc;

use super::writer::Arrival;
use crate::cluster::unix_now;
use crate::node::{Seen, Sighting, Step, Suspicion, word_of_move};

/// Tells what the node of manager `me` sees. Ends with the node.
pub(super) async fn tell(me: ManagerId, mut sightings: mpsc::Receiver<Sighting>, arrivals: mpsc::Sender<Arrival>) {
    let mut damper = Damper::default();
    loop {
        let next = match damper.poll_timeout().map(tokio::time::Instant::from_std) {
            Some(due) => tokio::time::timeout_at(due, sightings.recv()).await,
            None => Ok(sightings.recv().await),
        };
        let has_ended = matches!(next, Ok(None));
        let next = next.ok().flatten();
        let mut told = Vec::from_iter(next.and_then(|seen| {
            let event = event(me, unix_ms(seen.at), seen.what);
            damper.handle(clock(), event)
        }));
        told.extend(std::iter::from_fn(|| if has_ended { damper.poll_last() } else { damper.poll(clock()) }));
        for event in told {
            if arrivals.send(Arrival::Own(event)).await.is_err() {
                return;
            }
        }
        if has_ended {
            return;
        }
    }
}

/// Tells what the rest of this manager has to tell. Ends with those who do.
pub(super) async fn pass_on(mut events: mpsc::Receiver<Event>, arrivals: mpsc::Sender<Arrival>) {
    while let Some(event) = events.recv().await {
        if arrivals.send(Arrival::Own(event)).await.is_err() {
            return;
        }
    }
}

/// The time of an instant that has passed.
fn unix_ms(at: Instant) -> u64 {
    let ago = clock().saturating_duration_since(at);
    unix_now().0.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::disallowed_methods, reason = "the node has another clock than people")]
fn clock() -> Instant {
    Instant::now()
}

fn event(me: ManagerId, at: u64, seen: Seen) -> Event {
    let about = |kind, manager| Event { manager: Some(manager), ..Event::new(at, kind) };
    match seen {
        Seen::Endpoint { endpoint, network, generation, what } => {
            let event =
                Event { endpoint: Some(endpoint), network, generation: Some(generation), ..about(kind(&what), me) };
            with_step(event, me, what)
        }
        Seen::Suspicious { endpoint, network, why } => {
            let event = Event { endpoint: Some(endpoint), network, ..about(Kind::EndpointSuspicious, me) };
            let event = with(event, "why", why.word().to_owned());
            match why {
                Suspicion::Generation(generation) => with(event, "generation", generation.to_string()),
                Suspicion::Changes => event,
            }
        }
        Seen::ManagerLost(manager) => said_by(me, about(Kind::ManagerLost, manager)),
        Seen::ManagerReturned(manager) => said_by(me, about(Kind::ManagerReturned, manager)),
        Seen::LinkUp(to, rtt) => {
            let mut event = with(about(Kind::LinkUp, me), "to", to.to_string());
            event.details.insert("rtt_us".to_owned(), u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX).into());
            event
        }
        Seen::LinkDown(to) => with(about(Kind::LinkDown, me), "to", to.to_string()),
        Seen::Missed(count) => {
            tracing::warn!(count, "more happened than could be recorded");
            let mut event = about(Kind::EventsLost, me);
            event.details = Details::from_iter([("count".to_owned(), count.into())]);
            event
        }
    }
}

const fn kind(step: &Step) -> Kind {
    match step {
        Step::Up => Kind::EndpointUp,
        Step::Moved { .. } => Kind::EndpointMoved,
        Step::Down(_) => Kind::EndpointDown,
    }
}

fn with_step(event: Event, me: ManagerId, step: Step) -> Event {
    match step {
        Step::Up => event,
        Step::Moved { from: (from, generation), why, gap } => {
            let event = Event { follows: Some(generation), ..event };
            let event = with(with(event, "from", from.to_string()), "to", me.to_string());
            let mut event = with(event, "why", word_of_move(why).to_owned());
            if let Some(gap) = gap {
                event.details.insert("gap_ms".to_owned(), u64::try_from(gap.as_millis()).unwrap_or(u64::MAX).into());
            }
            event
        }
        Step::Down(ending) => with(event, "why", ending.word().to_owned()),
    }
}

fn said_by(me: ManagerId, event: Event) -> Event {
    with(event, "seen_by", me.to_string())
}

fn with(mut event: Event, member: &str, value: String) -> Event {
    event.details.insert(member.to_owned(), value.into());
    event
}
