//! Delivers what happens to places outside the cluster: webhooks, and exchanges of message brokers.
//!
//! ```text
//! registry: destinations, how far they got --+
//! stream of events --------------------------+--> courier (one a destination) --> sender --> webhook, broker
//! disk: how far they got --------------------+
//! ```
//!
//! One manager delivers: see [`role`]. Another that takes over goes on from what the registry says, and repeats what was sent
//! in the seconds before; receivers tell repetitions by their id.
//!
//! Task: [`Deliveries::run`]. It may be cancelled at any point.

mod amqp;
mod courier;
mod guard;
mod message;
mod role;
mod sender;
mod standing;
mod store;
mod try_out;
mod webhook;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use festoon_control::registry::{EventDestination, State};
use festoon_events::Event;
use festoon_proto::map::MapVersion;
use festoon_proto::{EventDestinationId, ManagerId};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::cluster::{Cluster, Https};
use crate::config::{ParseDurationError, parse_duration};
use crate::data_dir::DataDir;
use crate::events::Events;
use crate::vault::Vault;
use courier::Courier;
use guard::Guard;
use role::deliverer;
use sender::Sender;
use standing::Standings;
use store::{Row, Store};

pub use sender::{BadDestination, check_target};
pub use standing::{Standing, router};
pub use store::StoreError;
pub use try_out::Tried;

/// How often it is looked whether this manager delivers.
const LOOK: Duration = Duration::from_millis(500);

/// How soon it is tried again, if nothing can be sent to a destination: a secret may be unreadable for a moment.
const AGAIN: Duration = Duration::from_secs(10);

/// How events are delivered by this manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long an event is tried, as in `3d`; then it is a dead letter.
    pub give_up_after: String,
    /// Whether this manager sends events to no address that is not of the public internet, whatever admins of the cluster
    /// allow for a destination. Set it on every manager: any may have to deliver.
    pub forbid_private_addresses: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { give_up_after: "3d".to_owned(), forbid_private_addresses: false }
    }
}

/// The deliveries can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A length of time is none.
    #[error("[delivery] give_up_after: {0}")]
    GiveUpAfter(#[from] ParseDurationError),
    /// The file can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The deliveries. A clone is the same.
#[derive(Clone)]
pub struct Deliveries(Arc<Shared>);

/// What they work with.
pub struct Parts {
    /// This manager.
    pub me: ManagerId,
    /// The registry.
    pub cluster: Cluster,
    /// The way to other managers.
    pub managers: Https,
    /// Secrets.
    pub vault: Vault,
    /// The stream.
    pub events: Events,
    /// Takes what is to be told of destinations.
    pub own_events: mpsc::Sender<Event>,
}

struct Shared {
    me: ManagerId,
    cluster: Cluster,
    managers: Https,
    vault: Vault,
    events: Events,
    own_events: mpsc::Sender<Event>,
    store: Arc<Store>,
    give_up: Duration,
    forbids_private: bool,
    standings: Mutex<Standings>,
}

impl std::fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Deliveries").field(&self.0.me).finish()
    }
}

/// Opens what this manager knows of deliveries.
pub fn build(config: &Config, data: &DataDir, parts: Parts) -> Result<Deliveries, BuildError> {
    let give_up = parse_duration(&config.give_up_after)?;
    let store = Arc::new(Store::open(&data.deliveries())?);
    let Parts { me, cluster, managers, vault, events, own_events } = parts;
    let standings = Mutex::default();
    let forbids_private = config.forbid_private_addresses;
    let shared =
        Shared { me, cluster, managers, vault, events, own_events, store, give_up, forbids_private, standings };
    Ok(Deliveries(Arc::new(shared)))
}

/// The task of a destination, and of which version of it.
type Couriers = BTreeMap<EventDestinationId, (MapVersion, JoinSet<Infallible>)>;

impl Deliveries {
    /// Delivers while that is this manager's to do.
    pub async fn run(self) -> Infallible {
        let mut couriers = Couriers::new();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut states = self.0.cluster.watch();
        let mut delivers = false;
        loop {
            tokio::select! {
                _ = looks.tick() => delivers = deliverer(&self.0.cluster).await == Some(self.0.me),
                Ok(()) = states.changed() => {}
            }
            self.send_couriers(&mut couriers, delivers).await;
        }
    }

    /// Has each destination that is to get events served as it is now, and no other.
    async fn send_couriers(&self, couriers: &mut Couriers, delivers: bool) {
        let state = self.0.cluster.snapshot();
        let served = state.event_destinations().filter(|destination| delivers && destination.is_enabled);
        let served: BTreeMap<_, _> = served.map(|destination| (destination.id, destination)).collect();
        let is_as_now = |id: &EventDestinationId, version| served.get(id).is_some_and(|now| now.changed == version);
        let past: Vec<_> =
            couriers.iter().filter(|(id, (version, _))| !is_as_now(id, *version)).map(|(id, _)| *id).collect();
        for id in past {
            if let Some((_, mut courier)) = couriers.remove(&id) {
                courier.shutdown().await;
            }
            self.standings().remove(&id);
        }
        for (id, destination) in served {
            if let Entry::Vacant(vacant) = couriers.entry(id) {
                let mut task = JoinSet::new();
                task.spawn(self.clone().serve(destination.clone()));
                vacant.insert((destination.changed, task));
            }
        }
    }

    /// Serves one destination as it is.
    async fn serve(self, destination: EventDestination) -> Infallible {
        let since = self.0.cluster.now().0;
        let sender = loop {
            let state = self.0.cluster.snapshot();
            match self.sender(&destination, &state) {
                Ok(sender) => break sender,
                Err(error) => {
                    tracing::warn!(destination = %destination.name, %error, "events can't be delivered");
                    let read =
                        state.progress(destination.id).map(|progress| progress.cursor.clone()).unwrap_or_default();
                    let (failing_since, last_error) = (Some(since), Some(error.to_string()));
                    let standing = Standing { failing_since, last_error, read, ..Standing::default() };
                    self.stand(destination.id, standing);
                }
            }
            tokio::time::sleep(AGAIN).await;
        };
        let own = self.own_row(destination.id).await;
        tracing::info!(destination = %destination.name, "this manager delivers events");
        Courier::new(self, destination, sender, own).run().await
    }

    /// The way to a destination, within what this machine forbids.
    fn sender(&self, destination: &EventDestination, state: &State) -> Result<Sender, BadDestination> {
        let guard = Guard { allows_private: destination.allows_private && !self.0.forbids_private };
        Sender::new(destination, &self.0.vault, state, guard)
    }

    async fn own_row(&self, id: EventDestinationId) -> Option<Row> {
        let (store, state) = (Arc::clone(&self.0.store), self.0.cluster.snapshot());
        let read = move || {
            store.retain(|id| state.event_destination(id).is_some())?;
            store.get(id)
        };
        let read = tokio::task::spawn_blocking(read).await.ok()?;
        read.inspect_err(|error| tracing::error!(%error, "some events may be delivered again")).ok()?
    }

    fn stand(&self, id: EventDestinationId, standing: Standing) {
        self.standings().insert(id, standing);
    }

    /// How it goes to the destinations that this manager delivers to; none if another does.
    pub fn own_standings(&self) -> BTreeMap<EventDestinationId, Standing> {
        self.standings().clone()
    }

    fn standings(&self) -> MutexGuard<'_, Standings> {
        // Nothing panics while holding it.
        self.0.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
