//! Keeps one endpoint that comes and goes all the time from filling the history of everybody.
//!
//! Each endpoint has an allowance of events, which grows again with time. What it causes beyond that is counted, and becomes
//! one event that says how much was left out and what was the last of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use festoon_proto::EndpointId;

use crate::{Details, Event, Kind};

/// Events of one endpoint that are told at once.
pub const BURST: u32 = 32;
/// How soon an endpoint may cause one event more.
pub const REFILL: Duration = Duration::from_secs(30);
/// How long events are counted before the event that tells the count.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Endpoints that are remembered before those that are calm again are looked for.
const CALM: usize = 1_024;

#[derive(Debug)]
struct Account {
    allowance: u32,
    refilled: Instant,
    left_out: Option<LeftOut>,
}

/// Events of one endpoint that were not told.
#[derive(Debug)]
struct LeftOut {
    kinds: BTreeMap<Kind, u64>,
    first_at: u64,
    last: Event,
}

impl Account {
    fn refill(&mut self, now: Instant) {
        let grown = now.saturating_duration_since(self.refilled).as_secs() / REFILL.as_secs();
        let grown = u32::try_from(grown).unwrap_or(BURST).min(BURST);
        if grown > 0 {
            self.allowance = (self.allowance + grown).min(BURST);
            self.refilled += REFILL * grown;
        }
        if self.allowance == BURST {
            self.refilled = now;
        }
    }

    const fn is_calm(&self) -> bool {
        self.allowance == BURST && self.left_out.is_none()
    }
}

/// Counts what one endpoint causes too much of. `handle` and `poll` give what is to be told.
#[derive(Debug, Default)]
pub struct Damper {
    accounts: HashMap<EndpointId, Account>,
    /// When what was counted of which endpoint is to be told.
    due: BTreeSet<(Instant, EndpointId)>,
    look_at: usize,
}

impl Damper {
    /// Takes in an event; gives it back if it is to be told now.
    pub fn handle(&mut self, now: Instant, event: Event) -> Option<Event> {
        let Some(endpoint) = event.endpoint else { return Some(event) };
        self.forget_calm(now);
        let new = || Account { allowance: BURST, refilled: now, left_out: None };
        let account = self.accounts.entry(endpoint).or_insert_with(new);
        account.refill(now);
        // While events are counted none is told, or the last that is told would not be the last that happened.
        if account.left_out.is_none() && account.allowance > 0 {
            account.allowance -= 1;
            return Some(event);
        }
        let kind = event.kind;
        match &mut account.left_out {
            Some(left_out) => left_out.last = event,
            None => {
                let first_at = event.at;
                account.left_out = Some(LeftOut { kinds: BTreeMap::new(), first_at, last: event });
                self.due.insert((now + WINDOW, endpoint));
            }
        }
        if let Some(left_out) = &mut account.left_out {
            *left_out.kinds.entry(kind).or_default() += 1;
        }
        None
    }

    /// The next event that tells a count.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        let &(at, endpoint) = self.due.first()?;
        if now < at {
            return None;
        }
        self.take(at, endpoint)
    }

    /// As [`Damper::poll`], without waiting for the end of the window: nothing more comes.
    pub fn poll_last(&mut self) -> Option<Event> {
        let &(at, endpoint) = self.due.first()?;
        self.take(at, endpoint)
    }

    /// When to poll again, if nothing comes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    fn take(&mut self, at: Instant, endpoint: EndpointId) -> Option<Event> {
        self.due.remove(&(at, endpoint));
        self.accounts.get_mut(&endpoint)?.left_out.take().map(summary)
    }

    fn forget_calm(&mut self, now: Instant) {
        if self.accounts.len() < self.look_at.max(CALM) {
            return;
        }
        self.accounts.retain(|_, account| {
            account.refill(now);
            !account.is_calm()
        });
        self.look_at = self.accounts.len() * 2;
    }
}

/// The event that stands for those that were left out.
fn summary(left_out: LeftOut) -> Event {
    let LeftOut { kinds, first_at, last } = left_out;
    let count: u64 = kinds.values().sum();
    let kinds: Details = kinds.into_iter().map(|(kind, count)| (kind.word().to_owned(), count.into())).collect();
    let mut details = Details::from_iter([
        ("count".to_owned(), count.into()),
        ("kinds".to_owned(), kinds.into()),
        ("last".to_owned(), last.kind.word().into()),
        ("since_unix_ms".to_owned(), first_at.into()),
    ]);
    if let Some(why) = last.details.get("why") {
        details.insert("why".to_owned(), why.clone());
    }
    Event { kind: Kind::EventsSuppressed, follows: None, details, ..last }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
mod tests {
    use festoon_proto::Generation;

    use super::*;

    fn event(endpoint: u64, number: u64, kind: Kind) -> Event {
        Event { endpoint: Some(EndpointId(endpoint)), generation: Some(Generation(number)), ..Event::new(number, kind) }
    }

    #[test]
    fn a_flood_of_one_endpoint_becomes_one_event_with_a_count_and_others_are_told() {
        let (mut damper, now) = (Damper::default(), Instant::now());
        let mut told = 0;
        for number in 0..60_000 {
            let kind = if number % 2 == 0 { Kind::EndpointUp } else { Kind::EndpointDown };
            told += u32::from(damper.handle(now, event(1, number, kind)).is_some());
        }
        assert_eq!(told, BURST);
        let other = event(2, 7, Kind::EndpointUp);
        assert_eq!(damper.handle(now, other.clone()), Some(other));
        assert_eq!((damper.poll(now), damper.poll_timeout()), (None, Some(now + WINDOW)));
        let summary = damper.poll(now + WINDOW).unwrap();
        assert_eq!((summary.kind, summary.endpoint), (Kind::EventsSuppressed, Some(EndpointId(1))));
        assert_eq!(summary.generation, Some(Generation(59_999)));
        assert_eq!((&summary.details["count"], &summary.details["last"]), (&59_968.into(), &"endpoint.down".into()));
        assert_eq!(summary.details["kinds"]["endpoint.up"], 29_984);
        assert_eq!((damper.poll(now + WINDOW), damper.poll_timeout()), (None, None));
    }

    #[test]
    fn the_allowance_grows_again() {
        let (mut damper, now) = (Damper::default(), Instant::now());
        let mut told = |at| damper.handle(at, event(1, 0, Kind::EndpointUp)).is_some();
        assert!((0..BURST).all(|_| told(now)));
        assert!(told(now + REFILL) && !told(now + REFILL));
        assert!(!told(now + REFILL * 2), "what follows an event that was left out is left out until that is told");
    }

    #[test]
    fn an_endpoint_that_is_calm_is_forgotten_and_what_was_counted_is_not() {
        let (mut damper, now) = (Damper::default(), Instant::now());
        for _ in 0..=BURST {
            damper.handle(now, event(0, 0, Kind::EndpointUp));
        }
        for endpoint in 1..=5_000 {
            damper
                .handle(now + REFILL * BURST * u32::try_from(endpoint).unwrap(), event(endpoint, 0, Kind::EndpointUp));
        }
        assert!(damper.accounts.len() <= CALM, "{}", damper.accounts.len());
        assert_eq!(damper.poll_last().unwrap().details["count"], 1);
        assert_eq!(damper.poll_last(), None);
    }
}
