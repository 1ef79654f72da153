//! How far it got, written down.

use std::sync::Arc;

use festoon_control::registry::{Command, GivenUp, NoteDelivery, UnixMs};
use festoon_events::delivery::{self, Outcome, Ticket};
use tokio::time::Instant;

use super::{AGAIN, Courier, NOTE_MS, SAVE_MS, is_resting};
use crate::cluster::ProposeError;
use crate::deliver::message::Message;
use crate::deliver::store::Row;

/// Events that are given up in one change.
const GIVE_UP: usize = 100;

/// What the registry is being told.
pub(super) struct Noting {
    command: NoteDelivery,
    /// What is done once it knows.
    tickets: Vec<Ticket>,
}

/// How that ended.
pub(super) type Noted = Result<Noting, (Noting, ProposeError)>;

impl Courier {
    /// Writes it on disk, if it is time.
    pub(super) async fn save(&mut self) {
        let now = self.now().0;
        if self.is_saved || now.abs_diff(self.saved_at) < SAVE_MS {
            return;
        }
        self.is_saved = true;
        let row =
            Row { cursor: self.queue.cursor().clone(), done: self.queue.done().collect(), missed: self.queue.missed() };
        if row == self.saved {
            return;
        }
        let (store, id, new) = (Arc::clone(&self.deliveries.0.store), self.destination.id, row.clone());
        match tokio::task::spawn_blocking(move || store.put(id, &new)).await {
            Ok(Ok(())) => self.saved = row,
            Ok(Err(error)) => {
                self.is_saved = false;
                tracing::error!(%error, "events may be delivered again after a restart");
            }
            // The program ends.
            Err(_) => {}
        }
        self.saved_at = now;
    }

    /// Tells the registry, if there is something to tell and it is time.
    pub(super) fn note(&mut self) {
        let now = self.now();
        if !self.noting.is_empty() || is_resting(self.note_again_at) {
            return;
        }
        let is_time = now.0.abs_diff(self.noted_at) >= NOTE_MS;
        let mut tickets = Vec::new();
        let mut command = self.note_of_now();
        let given_up: Vec<_> = std::iter::from_fn(|| self.queue.poll_given_up(now.0)).take(GIVE_UP).collect();
        for given_up in given_up {
            tickets.push(given_up.ticket);
            let record = record(&given_up, now);
            match given_up.ticket {
                Ticket::Event(_) => command.given_up.push(record),
                Ticket::Letter(number) => command.given_up_again.push((number, record)),
            }
        }
        let is_news = self.noted.as_ref().map_or_else(
            || self.has_moved(&command),
            |noted| *noted != NoteDelivery { delivered: noted.delivered.clone(), ..command.clone() },
        );
        if tickets.is_empty() && !(is_time && (is_news || !command.delivered.is_empty())) {
            return;
        }
        self.noted_at = now.0;
        let cluster = self.deliveries.0.cluster.clone();
        self.noting.spawn(async move {
            let proposed = cluster.propose(Command::NoteDelivery(command.clone())).await;
            let noting = Noting { command, tickets };
            match proposed {
                Ok(_) => Ok(noting),
                Err(error) => Err((noting, error)),
            }
        });
    }

    fn note_of_now(&self) -> NoteDelivery {
        NoteDelivery {
            destination: self.destination.id,
            cursor: self.queue.cursor().to_string(),
            missed: self.queue.missed(),
            failing_since: self.queue.health().told_failing_since().map(UnixMs),
            given_up: Vec::new(),
            delivered: self.delivered.iter().copied().collect(),
            given_up_again: Vec::new(),
        }
    }

    /// Whether the registry says something else.
    fn has_moved(&self, now: &NoteDelivery) -> bool {
        let state = self.deliveries.0.cluster.snapshot();
        state.progress(self.destination.id).is_some_and(|progress| {
            (&progress.cursor, progress.missed, progress.failing_since) != (&now.cursor, now.missed, now.failing_since)
        })
    }

    pub(super) fn has_noted(&mut self, noted: Noted) {
        let now = self.now().0;
        let (noting, outcome) = match noted {
            Ok(noting) => (noting, Outcome::Recorded),
            Err((noting, error)) => {
                tracing::debug!(destination = %self.destination.name, %error, "the registry does not know how far it got");
                self.note_again_at = Some(Instant::now() + AGAIN);
                (noting, Outcome::Unrecorded)
            }
        };
        for ticket in noting.tickets {
            self.queue.handle_outcome(now, ticket, outcome.clone());
        }
        if outcome == Outcome::Recorded {
            for number in &noting.command.delivered {
                self.delivered.remove(number);
            }
            self.noted = Some(NoteDelivery { given_up: Vec::new(), given_up_again: Vec::new(), ..noting.command });
        }
    }
}

fn record(given_up: &delivery::GivenUp<Message>, at: UnixMs) -> GivenUp {
    let Message { event, kind, body } = given_up.payload.clone();
    GivenUp { event, kind, body, attempts: given_up.attempts, error: given_up.why.clone(), at }
}
