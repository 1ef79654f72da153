//! Copies of what the other managers tell, so that every manager has all, and what one told outlives it.
//!
//! Each manager asks every other for what that one tells itself. Of those that do not answer, and of those that are gone, it
//! takes what the others have copies of. A question waits at the other end until there is something.
//!
//! Task: [`run`]. It may be cancelled at any point: what was not stored is asked for again.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Extension, Json, Router};
use festoon_events::{Cursor, Event, Position, Source};
use festoon_proto::ManagerId;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Events;
use super::store::{Store, StoreError};
use super::writer::Arrival;
use crate::cluster::{Cluster, Https, member};
use crate::https::{Peer, Refused};

/// `POST`, managers only: what this manager tells behind a cursor.
const ASK: &str = "/cluster/v1/events";
/// Events in one answer.
const PART: usize = 1_000;
/// How long a question waits for something to tell.
const WAIT: Duration = Duration::from_secs(5);
/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(15);
/// How soon one that does not answer is asked again.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    after: String,
    /// Not what these tell: they are asked themselves.
    except: BTreeSet<ManagerId>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    events: Vec<(Position, Event)>,
}

/// The managers that answer for themselves.
type Direct = Arc<Mutex<BTreeSet<ManagerId>>>;

/// The route under `/cluster/v1/`.
pub fn router(events: Events) -> Router {
    Router::new().route(ASK, post(answer)).with_state(events)
}

async fn answer(
    Shared(events): Shared<Events>,
    Extension(peer): Extension<Peer>,
    question: Bytes,
) -> Result<Json<Answer>, Refused> {
    member(&peer, &events.cluster)?;
    let refused = || Refused::new(StatusCode::BAD_REQUEST, "bad-request", "run the same version of Festoon on both");
    let Question { after, except } = serde_json::from_slice(&question).map_err(|_| refused())?;
    let mut after: Cursor = after.parse().map_err(|_| refused())?;
    let mut news = events.store.watch();
    let end = tokio::time::Instant::now() + WAIT;
    loop {
        news.borrow_and_update();
        let (found, passed) = part(&events.store, after, except.clone()).await?;
        let is_waiting =
            found.is_empty() && !matches!(tokio::time::timeout_at(end, news.changed()).await, Err(_) | Ok(Err(_)));
        if !is_waiting {
            return Ok(Json(Answer { events: found }));
        }
        after = passed;
    }
}

/// What is to be told behind `after`, and a cursor behind that.
async fn part(
    store: &Arc<Store>,
    mut after: Cursor,
    except: BTreeSet<ManagerId>,
) -> Result<(Vec<(Position, Event)>, Cursor), StoreError> {
    let store = Arc::clone(store);
    let read = move || {
        let is_left_out = |source| match source {
            Source::Audit => true,
            Source::Manager(id) => except.contains(&id),
        };
        for told in store.told()?.positions().filter(|told| is_left_out(told.source)) {
            after.pass(told);
        }
        let rows = store.read(&after, PART)?;
        let found = rows.into_iter().filter(|row| !is_left_out(row.position.source));
        Ok((found.filter_map(|row| Some((row.position, row.event?))).collect(), after))
    };
    // It does not panic, and is not cancelled.
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Ok((Vec::new(), Cursor::default())))
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
    let direct = Direct::default();
    let mut asking: BTreeMap<ManagerId, JoinSet<Infallible>> = BTreeMap::new();
    loop {
        let known: BTreeSet<ManagerId> = states.borrow_and_update().managers().map(|manager| manager.id).collect();
        // Whoever is dropped ends.
        asking.retain(|id, _| known.contains(id));
        lock(&direct).retain(|id| known.contains(id));
        for &of in known.iter().filter(|&&id| id != me) {
            asking.entry(of).or_insert_with(|| {
                let pull = Pull { me, of, managers: managers.clone(), direct: Arc::clone(&direct) };
                let mut task = JoinSet::new();
                task.spawn(pull.run(Arc::clone(&store), arrivals.clone()));
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
    managers: Https,
    direct: Direct,
}

impl Pull {
    async fn run(self, store: Arc<Store>, arrivals: mpsc::Sender<Arrival>) -> Infallible {
        // What was taken, also while it is not stored yet.
        let mut taken = Cursor::default();
        loop {
            match self.ask(&store, &mut taken).await {
                Ok(events) => {
                    lock(&self.direct).insert(self.of);
                    // It fails when the program ends, and then nobody is here any more.
                    drop(arrivals.send(Arrival::Numbered(events)).await);
                }
                Err(error) => {
                    lock(&self.direct).remove(&self.of);
                    tracing::debug!(manager = %self.of, %error, "a manager does not tell what it saw");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn ask(&self, store: &Arc<Store>, taken: &mut Cursor) -> anyhow::Result<Vec<(Position, Event)>> {
        let stored = Arc::clone(store);
        let told = tokio::task::spawn_blocking(move || stored.told()).await??;
        for position in told.positions() {
            taken.pass(position);
        }
        let mut except = lock(&self.direct).clone();
        except.remove(&self.of);
        except.insert(self.me);
        let question = serde_json::to_vec(&Question { after: taken.to_string(), except })?;
        let answer = self.managers.post(self.of, ASK, question.into(), LIMIT).await?;
        let Answer { events } = serde_json::from_slice(&answer)?;
        for (position, _) in &events {
            taken.pass(*position);
        }
        Ok(events)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "events can't be told");
        Self::internal()
    }
}

fn lock(direct: &Direct) -> std::sync::MutexGuard<'_, BTreeSet<ManagerId>> {
    // Nothing panics while holding it.
    direct.lock().unwrap_or_else(PoisonError::into_inner)
}
