//! Delivers the stream to one destination.
//!
//! Task: [`Courier::run`]. It may be cancelled at any point: what was sent and is not written down yet is sent again.
//! It feeds the queue from the stream, sends what that says, writes down on disk how far it got several times a second and
//! into the registry every few seconds. What is sent and what is proposed to the registry goes on beside it, so that neither a
//! slow receiver nor a registry without a quorum holds it up.

mod note;
mod read;
mod tell;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use festoon_control::registry::{
    Change, Command, EventDestination, NoteDelivery, Subject, Unchanged, UnixMs, UpdateEventDestination,
};
use festoon_events::delivery::{Backoff, Health, Outcome, Queue, Settings, Start, Ticket};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Deliveries;
use super::message::Message;
use super::sender::{Sender, Sent};
use super::standing::Standing;
use super::store::Row;
use note::Noted;

/// Events that a queue keeps.
const ROOM: usize = 4_096;
/// Events that are read at once.
const PART: usize = 500;
const BACKOFF: Backoff = Backoff { first_ms: 1_000, most_ms: 600_000 };
/// How often it is written on disk how far it got, in milliseconds.
const SAVE_MS: u64 = 250;
/// How often the registry is told.
const NOTE_MS: u64 = 5_000;
/// When the disk can't be read, or the registry not be told, it is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Courier {
    deliveries: Deliveries,
    destination: EventDestination,
    sender: Arc<Sender>,
    queue: Queue<Message>,
    sending: JoinSet<(Ticket, Sent)>,
    /// At most one.
    noting: JoinSet<Noted>,
    /// Dead letters that were delivered, which the registry does not know yet.
    delivered: BTreeSet<u64>,
    /// Whether all dead letters that are wanted again are in the queue.
    has_letters: bool,
    /// Whether all that there is was read.
    is_up_to_date: bool,
    /// Some of it can't be had now, which was said then.
    waiting_said_at: Option<u64>,
    /// Whether the disk knows how far it got.
    is_saved: bool,
    saved: Row,
    saved_at: u64,
    noted: Option<NoteDelivery>,
    noted_at: u64,
    /// The registry could not be told; not before this again.
    note_again_at: Option<Instant>,
    /// The disk could not be read; not before this again.
    read_again_at: Option<Instant>,
    missed_told: u64,
    is_gone: bool,
}

impl Courier {
    /// Goes on where the registry and this manager's own disk say, whichever got further.
    pub(super) fn new(deliveries: Deliveries, destination: EventDestination, sender: Sender, own: Option<Row>) -> Self {
        let (state, now) = (deliveries.0.cluster.snapshot(), deliveries.0.cluster.now());
        let progress = state.progress(destination.id).cloned().unwrap_or_default();
        let Row { mut cursor, done, missed } = own.unwrap_or_default();
        let noted: festoon_events::Cursor = progress.cursor.parse().unwrap_or_default();
        for position in noted.positions() {
            cursor.pass(position);
        }
        let missed = missed.max(progress.missed);
        let failing_since = progress.failing_since.map(|since| since.0);
        let saved = Row { cursor: cursor.clone(), done: done.clone(), missed };
        let settings = Settings {
            in_flight: sender.in_flight(),
            room: ROOM,
            part: PART,
            give_up_ms: u64::try_from(deliveries.0.give_up.as_millis()).unwrap_or(u64::MAX),
            backoff: BACKOFF,
        };
        Self {
            queue: Queue::new(settings, rand::random(), Start { cursor, done, missed, failing_since }),
            sender: Arc::new(sender),
            sending: JoinSet::new(),
            noting: JoinSet::new(),
            delivered: BTreeSet::new(),
            has_letters: false,
            is_up_to_date: false,
            waiting_said_at: None,
            is_saved: true,
            saved,
            saved_at: 0,
            noted: None,
            noted_at: now.0,
            note_again_at: None,
            read_again_at: None,
            missed_told: progress.missed,
            is_gone: false,
            deliveries,
            destination,
        }
    }

    pub(super) async fn run(mut self) -> Infallible {
        let mut news = self.deliveries.0.events.watch();
        let mut states = self.deliveries.0.cluster.watch();
        let mut whole = self.deliveries.0.events.watch_whole();
        loop {
            // An error says that the program ends.
            if news.has_changed().unwrap_or_default() {
                news.borrow_and_update();
                self.is_up_to_date = false;
            }
            if states.has_changed().unwrap_or_default() || !self.has_letters {
                states.borrow_and_update();
                self.take_letters();
            }
            self.read().await;
            self.send();
            self.tell().await;
            self.save().await;
            self.note();
            self.stand();
            let wake = self.wake();
            tokio::select! {
                Some(Ok((ticket, sent))) = self.sending.join_next() => self.sent(ticket, sent).await,
                Some(Ok(noted)) = self.noting.join_next() => self.has_noted(noted),
                Ok(()) = news.changed() => self.is_up_to_date = false,
                Ok(()) = whole.changed(), if self.waiting_said_at.is_some() => self.is_up_to_date = false,
                // Dead letters may be wanted again.
                Ok(()) = states.changed() => self.has_letters = false,
                () = tokio::time::sleep(wake) => self.is_up_to_date &= self.waiting_said_at.is_none(),
            }
            while let Some(Ok((ticket, sent))) = self.sending.try_join_next() {
                self.sent(ticket, sent).await;
            }
        }
    }

    fn now(&self) -> UnixMs {
        self.deliveries.0.cluster.now()
    }

    fn take_letters(&mut self) {
        let state = self.deliveries.0.cluster.snapshot();
        self.has_letters = true;
        let Some(progress) = state.progress(self.destination.id) else { return };
        for letter in progress.letters() {
            if let Some(wanted) = letter.wanted
                && !self.delivered.contains(&letter.number)
                && let Some(message) = Message::again(&letter.given_up)
            {
                self.queue.handle_letter(letter.number, wanted.0, message);
            }
        }
    }

    fn send(&mut self) {
        let now = self.now().0;
        while let Some((ticket, message)) = self.queue.poll_send(now) {
            let sender = Arc::clone(&self.sender);
            self.sending.spawn(async move { (ticket, sender.send(&message).await) });
        }
    }

    async fn sent(&mut self, ticket: Ticket, sent: Sent) {
        let outcome = match sent {
            Sent::Taken { .. } => Outcome::Taken,
            Sent::Failed { why, retry_after_ms } => Outcome::Failed { why, retry_after_ms },
            Sent::Gone { why } => {
                self.disable(&why).await;
                Outcome::Failed { why, retry_after_ms: None }
            }
        };
        match (&outcome, ticket) {
            (Outcome::Taken, Ticket::Letter(number)) => self.delivered.extend([number]),
            (Outcome::Failed { why, .. }, _) => {
                tracing::debug!(destination = %self.destination.name, why, "an event was not delivered");
            }
            _ => {}
        }
        self.queue.handle_outcome(self.now().0, ticket, outcome);
        self.is_saved = false;
    }

    /// The receiver wants nothing any more, and says so in the way that is meant for that.
    async fn disable(&mut self, why: &str) {
        if std::mem::replace(&mut self.is_gone, true) {
            return;
        }
        tracing::warn!(destination = %self.destination.name, why, "an event destination is disabled");
        let proposed = self.deliveries.0.cluster.propose(disabled(&self.destination)).await;
        self.is_gone = proposed.is_ok();
    }

    fn stand(&self) {
        let Health { failures, failing_since, last_success, last_error, .. } = self.queue.health().clone();
        let standing = Standing {
            last_success,
            failures,
            failing_since,
            last_error,
            next_try: self.queue.next_try().filter(|next| *next > self.now().0),
            waiting: self.queue.waiting() as u64,
            missed: self.queue.missed(),
            read: self.queue.read().to_string(),
        };
        self.deliveries.stand(self.destination.id, standing);
    }

    /// How long until there is something to do if nothing happens.
    fn wake(&self) -> Duration {
        let now = self.now().0;
        let save = (!self.is_saved).then_some(self.saved_at.saturating_add(SAVE_MS));
        let note = Some(self.noted_at.saturating_add(NOTE_MS)).filter(|at| *at > now);
        let next = [save, note, self.queue.poll_timeout()].into_iter().flatten().min();
        let wait = next.map_or(NOTE_MS, |next| next.saturating_sub(now)).min(NOTE_MS);
        let again = [self.read_again_at, self.note_again_at]
            .into_iter()
            .flatten()
            .map(|at| at.saturating_duration_since(Instant::now()));
        again.filter(|wait| !wait.is_zero()).fold(Duration::from_millis(wait), Duration::min)
    }
}

fn is_resting(until: Option<Instant>) -> bool {
    until.is_some_and(|until| until > Instant::now())
}

/// Disables a destination as it is here: who has changed it since may have made it another.
fn disabled(destination: &EventDestination) -> Change {
    let id = destination.id;
    let update = UpdateEventDestination { is_enabled: Some(false), ..UpdateEventDestination::none(id) };
    let only_if = Some(Unchanged { subject: Subject::EventDestination(id), since: destination.changed });
    Change { only_if, ..Command::UpdateEventDestination(update.into()).into() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use festoon_control::registry::{SecretName, Target, UnixMs};
    use festoon_proto::access::Scope;
    use festoon_proto::map::MapVersion;

    use super::*;

    #[test]
    fn what_was_changed_meanwhile_is_not_disabled() {
        let destination = EventDestination {
            id: festoon_proto::EventDestinationId(3),
            name: "hook".to_owned(),
            target: Target::Webhook { url: "https://example.com".to_owned() },
            kinds: BTreeSet::new(),
            networks: Scope::All,
            is_enabled: true,
            allows_private: false,
            secret: SecretName("secret".to_owned()),
            secret_changed: MapVersion(5),
            former_secret_until: None,
            created: UnixMs(1),
            changed: MapVersion(7),
        };
        let change = disabled(&destination);
        let expected = Unchanged { subject: Subject::EventDestination(destination.id), since: MapVersion(7) };
        assert_eq!(change.only_if, Some(expected));
        let Command::UpdateEventDestination(update) = change.command else { panic!("{change:?}") };
        assert_eq!((update.destination, update.is_enabled), (destination.id, Some(false)));
    }
}
