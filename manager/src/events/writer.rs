//! The one that writes: takes what all sources tell, puts it into one order and stores it.
//!
//! Task: [`Writer::run`]. It ends when nobody can tell anything any more. What it holds is stored after [`HOLD`]; what is
//! lost with it before that, others tell again, and of its own nobody has heard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use festoon_events::{Event, Merge, Place, Position, Source};
use festoon_proto::ManagerId;
use tokio::sync::mpsc;

use super::store::{Store, StoreError};

/// Arrivals that share a commit.
const BATCH: usize = 4096;
/// When the disk refuses, it is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// What a source tells.
#[derive(Debug)]
pub(super) enum Arrival {
    /// This manager, of what it saw.
    Own(Event),
    /// Others, or the audit log.
    Numbered(Vec<(Position, Event)>),
}

pub(super) struct Writer {
    store: Arc<Store>,
    merge: Merge,
    me: Source,
    /// The place of the last event of this manager.
    own: Place,
}

impl Writer {
    /// Reads all that is stored. `now_ms` is when this manager begins to count, if it did not yet.
    pub(super) fn new(store: Arc<Store>, me: ManagerId, now_ms: u64) -> Result<Self, StoreError> {
        let told = store.told()?;
        let me = Source::Manager(me);
        let own = told.get(me).unwrap_or(Place { life: now_ms, number: 0 });
        let mut merge = Merge::new(told);
        store.for_each(|event| merge.remember(event))?;
        Ok(Self { store, merge, me, own })
    }

    pub(super) async fn run(mut self, mut arrivals: mpsc::Receiver<Arrival>) {
        let mut batch = Vec::new();
        loop {
            let due = self.merge.poll_timeout().map(tokio::time::Instant::from_std);
            let received = arrivals.recv_many(&mut batch, BATCH);
            let ended = match due {
                Some(due) => tokio::time::timeout_at(due, received).await == Ok(0),
                None => received.await == 0,
            };
            batch.drain(..).for_each(|arrival| self.take(arrival));
            self.store_ready().await;
            if ended {
                return;
            }
        }
    }

    fn take(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Own(event) => {
                self.own.number += 1;
                self.merge.handle(clock(), Position { source: self.me, place: self.own }, event);
            }
            Arrival::Numbered(events) => {
                // What this manager told itself it does not take from others.
                for (position, event) in events.into_iter().filter(|(position, _)| position.source != self.me) {
                    self.merge.handle(clock(), position, event);
                }
            }
        }
    }

    /// Stores all that may be told. While the disk refuses, sources wait.
    async fn store_ready(&mut self) {
        let ready: Vec<_> = std::iter::from_fn(|| self.merge.poll(clock())).collect();
        if ready.is_empty() {
            return;
        }
        let ready = Arc::new(ready);
        loop {
            let (store, events) = (Arc::clone(&self.store), Arc::clone(&ready));
            match tokio::task::spawn_blocking(move || store.append(&events)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::error!(%error, events = ready.len(), "events wait for the disk"),
                // The program ends.
                Err(_) => return,
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long an event is held is a matter of the shell")]
fn clock() -> Instant {
    Instant::now()
}
