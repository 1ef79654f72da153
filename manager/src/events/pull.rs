//! Copies of what the other managers tell, so that every manager has all, and what one told outlives it.
//!
//! Each manager asks every other for what that one tells itself; that question waits at the other end until there is something.
//! Of those that do not answer, and of those that are gone, it takes what most of the others have copies of. What a manager tells
//! is checked: it is believed of what it can have seen, and no more.
//!
//! Task: [`run`]. It may be cancelled at any point: what was not stored is asked for again.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State as Of;
use axum::{Extension, Json, Router};
use festoon_events::standing::{Teller, Unbelieved, check};
use festoon_events::{Copies, Cursor, Event, Place, Position, Source};
use festoon_proto::ManagerId;
use festoon_proto::http::ManagerRole;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Events;
use super::store::{Store, StoreError};
use super::writer::Arrival;
use crate::cluster::{Cluster, Https, member, unix_now};
use crate::https::route::{self, Serve as _};
use crate::https::{Peer, Refused};

/// Events in one answer.
const PART: usize = 1_000;
/// How long a question waits for something to tell.
const WAIT: Duration = Duration::from_secs(5);
/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(15);
/// How soon one that does not answer is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// How often a manager is asked for copies of what others told.
const COPIES_EVERY: Duration = Duration::from_secs(1);
/// Managers of which copies are asked for at once.
const SOURCES: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    after: String,
    /// What this manager told: the one that is asked, or another of which it may have a copy.
    of: ManagerId,
    /// Whether the answer may wait until there is something.
    waits: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    events: Vec<(Position, Event)>,
    /// How far it has what each source tells.
    told: String,
}

/// What all that ask know together.
#[derive(Debug, Default)]
struct Shared {
    /// The managers that answer for themselves.
    direct: BTreeSet<ManagerId>,
    copies: Copies,
}

type Known = Arc<Mutex<Shared>>;

/// The route under `/cluster/v1/`.
pub fn router(events: Events) -> Router {
    Router::new().serve(route::EVENTS, answer).with_state(events)
}

async fn answer(
    Of(events): Of<Events>,
    Extension(peer): Extension<Peer>,
    question: Bytes,
) -> Result<Json<Answer>, Refused> {
    member(&peer, &events.cluster)?;
    let Question { after, of, waits } = serde_json::from_slice(&question).map_err(|_| Refused::not_understood())?;
    let mut after: Cursor = after.parse().map_err(|_| Refused::not_understood())?;
    let mut news = events.store.watch();
    let end = Instant::now() + WAIT;
    loop {
        news.borrow_and_update();
        let part = part(&events.store, after, of).await?;
        let is_waiting = waits
            && part.events.is_empty()
            && !matches!(tokio::time::timeout_at(end, news.changed()).await, Err(_) | Ok(Err(_)));
        if !is_waiting {
            // It may have been removed while it waited.
            member(&peer, &events.cluster)?;
            return Ok(Json(Answer { events: part.events, told: part.told.to_string() }));
        }
        after = part.passed;
    }
}

/// Some of what a source tells.
#[derive(Default)]
struct Part {
    events: Vec<(Position, Event)>,
    /// A cursor behind all that the others tell.
    passed: Cursor,
    /// How far each source was told.
    told: Cursor,
}

/// What `of` told behind `after`.
async fn part(store: &Arc<Store>, mut after: Cursor, of: ManagerId) -> Result<Part, StoreError> {
    let store = Arc::clone(store);
    let read = move || {
        let told = store.told()?;
        let is_of = |position: &Position| position.source == Source::Manager(of);
        for others in told.positions().filter(|position| !is_of(position)) {
            after.pass(others);
        }
        let rows = store.read(&after, PART)?.into_iter().filter(|row| is_of(&row.position));
        let events = rows.filter_map(|row| Some((row.position, row.event?))).collect();
        Ok(Part { events, passed: after, told })
    };
    // It does not panic, and is not cancelled.
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Ok(Part::default()))
}

/// Keeps asking all managers that the registry knows.
pub(super) async fn run(
    me: ManagerId,
    cluster: Cluster,
    managers: Https,
    store: Arc<Store>,
    arrivals: mpsc::Sender<Arrival>,
) {
    let mut states = cluster.watch();
    let shared = Known::default();
    let mut asking: BTreeMap<ManagerId, JoinSet<Infallible>> = BTreeMap::new();
    loop {
        let known: BTreeSet<ManagerId> = states.borrow_and_update().managers().map(|manager| manager.id).collect();
        // Whoever is dropped ends.
        asking.retain(|id, _| known.contains(id));
        lock(&shared).direct.retain(|id| known.contains(id));
        for &of in known.iter().filter(|&&id| id != me) {
            asking.entry(of).or_insert_with(|| {
                let pull = Pull {
                    me,
                    of,
                    cluster: cluster.clone(),
                    managers: managers.clone(),
                    store: Arc::clone(&store),
                    shared: Arc::clone(&shared),
                    taken: Cursor::default(),
                    complaints: BTreeSet::new(),
                };
                let mut task = JoinSet::new();
                task.spawn(pull.run(arrivals.clone()));
                task
            });
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

struct Pull {
    me: ManagerId,
    of: ManagerId,
    cluster: Cluster,
    managers: Https,
    store: Arc<Store>,
    shared: Known,
    /// What was taken of what it tells itself, also while it is not stored yet.
    taken: Cursor,
    /// Why events of it were not believed: each is said once.
    complaints: BTreeSet<Unbelieved>,
}

impl Pull {
    async fn run(mut self, arrivals: mpsc::Sender<Arrival>) -> Infallible {
        let mut copies_at = Instant::now();
        loop {
            let asked_at = Instant::now();
            match self.step(&mut copies_at).await {
                // One that answers at once, and with nothing, is not asked all the time.
                Ok(events) if events.is_empty() => tokio::time::sleep_until(asked_at + AGAIN).await,
                // It fails when the program ends, and then nobody is here any more.
                Ok(events) => drop(arrivals.send(Arrival::Numbered(events)).await),
                Err(error) => {
                    lock(&self.shared).direct.remove(&self.of);
                    tracing::debug!(manager = %self.of, %error, "a manager does not tell what it saw");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// What it tells itself and, now and then, what it and others have copies of.
    async fn step(&mut self, copies_at: &mut Instant) -> anyhow::Result<Vec<(Position, Event)>> {
        self.taken.extend(&self.told().await?);
        let (events, told) = self.ask(self.taken.clone(), self.of, true).await?;
        for (position, _) in &events {
            if position.source == Source::Manager(self.of) {
                self.taken.pass(*position);
            }
        }
        {
            let mut shared = lock(&self.shared);
            shared.direct.insert(self.of);
            shared.copies.forget(self.of);
        }
        let mut believed = self.believed(self.of, events);
        if Instant::now() >= *copies_at {
            *copies_at = Instant::now() + COPIES_EVERY;
            believed.extend(self.copies(told).await?);
        }
        Ok(believed)
    }

    /// What this one and others have of those that do not answer, as far as they agree.
    async fn copies(&self, theirs: Cursor) -> anyhow::Result<Vec<(Position, Event)>> {
        let voters = self.voters();
        if !voters.contains(&self.of) {
            return Ok(Vec::new());
        }
        let ours = self.told().await?;
        let is_asked_itself = |id| id == self.me || id == self.of || lock(&self.shared).direct.contains(&id);
        let sources = theirs.positions().filter(|there| !ours.covers(*there)).filter_map(|there| match there.source {
            Source::Manager(id) if !is_asked_itself(id) => Some(id),
            _ => None,
        });
        let mut all = Vec::new();
        let sources: Vec<ManagerId> = sources.take(SOURCES).collect();
        for source in sources {
            let after = self.after(&ours, source, &voters);
            let (events, _) = self.ask(after, source, false).await?;
            let claim = self.believed_of(source, events);
            let agreed = {
                let mut shared = lock(&self.shared);
                shared.copies.claim(source, self.of, claim);
                shared.copies.agreed(source, &voters)
            };
            let at = |place| Position { source: Source::Manager(source), place };
            all.extend(agreed.into_iter().map(|(place, event)| (at(place), event)));
        }
        Ok(all)
    }

    /// Where to ask on for what a source told: behind what is stored, and where enough of the others have something.
    fn after(&self, ours: &Cursor, source: ManagerId, voters: &BTreeSet<ManagerId>) -> Cursor {
        let mut after = ours.clone();
        let shared = lock(&self.shared);
        let is_stored = |place| ours.covers(Position { source: Source::Manager(source), place });
        if shared.copies.agreed(source, voters).into_iter().all(|(place, _)| is_stored(place))
            && let Some(place) = shared.copies.skip(source, voters)
        {
            after.pass(Position { source: Source::Manager(source), place });
        }
        after
    }

    /// The full managers besides this one: those whose copies count.
    fn voters(&self) -> BTreeSet<ManagerId> {
        let state = self.cluster.snapshot();
        let full = state.managers().filter(|manager| manager.role == ManagerRole::Full && manager.id != self.me);
        full.map(|manager| manager.id).collect()
    }

    /// Those that their source can have seen. The others are left out.
    fn believed(&mut self, source: ManagerId, events: Vec<(Position, Event)>) -> Vec<(Position, Event)> {
        let teller = self.teller(source);
        let mut believed = Vec::with_capacity(events.len());
        for (position, event) in events {
            match check(teller, unix_now().0, position, &event) {
                Ok(()) => believed.push((position, event)),
                Err(reason) => {
                    if self.complaints.insert(reason) {
                        tracing::warn!(manager = %self.of, %position, %reason, "dropped an event that another manager sent");
                    }
                }
            }
        }
        believed
    }

    fn believed_of(&self, source: ManagerId, events: Vec<(Position, Event)>) -> BTreeMap<Place, Event> {
        let (teller, now) = (self.teller(source), unix_now().0);
        let is_believed = |(position, event): &(Position, Event)| check(teller, now, *position, event).is_ok();
        events.into_iter().filter(is_believed).map(|(position, event)| (position.place, event)).collect()
    }

    /// What a source is. One that was removed may have been either.
    fn teller(&self, id: ManagerId) -> Teller {
        let state = self.cluster.snapshot();
        Teller { id, is_witness: state.manager(id).is_some_and(|manager| manager.role == ManagerRole::Witness) }
    }

    async fn told(&self) -> anyhow::Result<Cursor> {
        let store = Arc::clone(&self.store);
        Ok(tokio::task::spawn_blocking(move || store.told()).await??)
    }

    /// Asks for what `source` told. An answer with more than was asked for is refused.
    async fn ask(
        &self,
        after: Cursor,
        source: ManagerId,
        waits: bool,
    ) -> anyhow::Result<(Vec<(Position, Event)>, Cursor)> {
        let question = serde_json::to_vec(&Question { after: after.to_string(), of: source, waits })?;
        let answer = self.managers.post(self.of, route::EVENTS.path(), question.into(), LIMIT).await?;
        let Answer { events, told } = serde_json::from_slice(&answer)?;
        anyhow::ensure!(events.len() <= PART, "manager {} answered with more events than it may", self.of);
        Ok((events, told.parse()?))
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "events can't be told");
        Self::internal()
    }
}

fn lock(shared: &Known) -> std::sync::MutexGuard<'_, Shared> {
    // Nothing panics while holding it.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
