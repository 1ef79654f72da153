//! What every manager runs, whatever it carries: the registry, and the listener that the registry comes through.

use std::pin::Pin;

use anyhow::{Context as _, anyhow};
use axum::Router;
use festoon_control::registry::State;
use festoon_proto::ManagerId;
use tokio::sync::mpsc;

use crate::agents::Copies;
use crate::audit::{self, Trail};
use crate::certificate::{self, Keeper, Told};
use crate::cluster::{self, Cluster, Https, Parts, unix_now};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::deliver::{self, Deliveries};
use crate::events::{self, Events};
use crate::https::Later;
use crate::metrics::{Metrics, Sources, Way};
use crate::node::Sighting;
use crate::pki::Credentials;
use crate::snapshot::Snapshots;
use crate::{agents, expiry, https, vault};

/// The registry, running.
pub(super) struct Base {
    pub(super) me: ManagerId,
    pub(super) cluster: Cluster,
    pub(super) snapshots: Snapshots,
    pub(super) keeper: Keeper,
    pub(super) events: Events,
    pub(super) audit: audit::Reader,
    pub(super) metrics: Metrics,
    pub(super) deliveries: Deliveries,
    /// Takes what the node sees.
    pub(super) sightings: mpsc::Sender<Sighting>,
    /// The way to the other managers.
    pub(super) managers: Https,
    /// What the listener serves besides, once it is there.
    pub(super) later: Later,
    /// To be polled beside everything else. Gives the reason why it can't go on.
    pub(super) work: Pin<Box<dyn Future<Output = anyhow::Error> + Send>>,
}

/// Opens the registry and binds the listener.
pub(super) async fn start(data: &DataDir, config: &Config) -> anyhow::Result<Base> {
    let identity = data.identity()?;
    let me = identity.manager;
    certificate::make_lost_again(data, me, unix_now()).await?;
    let credentials = Credentials::load(data)?;
    let parts = cluster::build(data, &identity, &credentials).await?;
    // The registry is open: no other manager is on this directory.
    data.remove_unfinished();
    let cluster = parts.cluster.clone();
    let port = https_port(&cluster.snapshot(), me).unwrap_or(identity.https_port);
    let https = https::build(&config.https, port, &credentials).await;
    let https = https.with_context(|| format!("can't listen on TCP port {port}"))?;
    tracing::info!(manager = %me, https = %https.local_addr()?, "listening");
    let (vault, managers) = (parts.vault.clone(), parts.managers.clone());
    let snapshots = Snapshots::new(&config.snapshots, data, me, cluster.clone(), vault.clone());
    let schedule = snapshots.clone().run();
    let keeper = Keeper {
        me,
        vault: vault.clone(),
        credentials: credentials.clone(),
        managers: managers.clone(),
        told: Told::default(),
    };
    let trail = Trail::new(me, cluster.clone(), parts.managers.clone());
    let record = events::open(data, me, cluster.clone(), parts.managers.clone(), trail.watch())?;
    let (events, sightings) = (record.events.clone(), record.sightings.clone());
    let copies = Copies::new(me, record.own.clone());
    let (registry, told) = (cluster.clone(), events.clone());
    let way = deliver::Parts { me, cluster: registry, managers, vault, events: told, own_events: record.own.clone() };
    let deliveries = deliver::build(&config.delivery, data, way)?;
    let (registry, data) = (cluster.clone(), data.clone());
    let (kept, told, sent) = (snapshots.clone(), events.clone(), deliveries.clone());
    let sources = Sources { me, cluster: registry, snapshots: kept, credentials, events: told, deliveries: sent, data };
    let metrics = Metrics::new(config.metrics.clone(), sources);
    let told = metrics.clone().serve();
    let (later, managers) = (Later::default(), parts.managers.clone());
    let served = routes(&parts, &keeper, &events, &deliveries, copies).merge(later.router());
    let https = https.run(metrics.requests().observe(served, Way::Https));
    let delivering = deliveries.clone().run();
    let audit = trail.reader();
    let (record, trail) = (record.run(), trail.run());
    let Parts { supervisor, .. } = parts;
    let keys = keep_keys(keeper.clone(), cluster.clone());
    let program = cluster::announce_program(cluster.clone(), me);
    let work = async move {
        tokio::select! {
            () = https => anyhow!("the HTTPS listener ended"),
            () = keys => anyhow!("the registry ended"),
            () = program => anyhow!("the registry ended"),
            () = record => anyhow!("the record of events ended"),
            () = trail => anyhow!("the registry ended"),
            never = supervisor.run() => match never {},
            never = schedule => match never {},
            never = told => match never {},
            never = delivering => match never {},
        }
    };
    let work = Box::pin(work);
    Ok(Base { me, cluster, keeper, snapshots, events, audit, metrics, deliveries, sightings, managers, later, work })
}

fn routes(parts: &Parts, keeper: &Keeper, events: &Events, deliveries: &Deliveries, copies: Copies) -> Router {
    Router::new()
        .merge(agents::router(parts.cluster.clone(), keeper.told.clone(), copies))
        .merge(cluster::router(parts))
        .merge(audit::router(parts.cluster.clone()))
        .merge(events::router(events.clone()))
        .merge(deliver::router(deliveries.clone()))
        .merge(certificate::router(parts.cluster.clone(), keeper.clone()))
}

/// Keeps certificates and the data key as they should be, and has what is past forgotten. Ends with the registry.
async fn keep_keys(keeper: Keeper, cluster: Cluster) {
    let vault = keeper.vault.clone();
    tokio::select! {
        () = keeper.run(cluster.watch(), unix_now) => {}
        () = vault::keep_data_key_inside(cluster.clone(), vault) => {}
        () = expiry::keep_forgetting(cluster.clone(), unix_now) => {}
    }
}

/// The port that the registry names for this manager: a host behind NAT listens on it, though not on that address.
fn https_port(state: &State, me: ManagerId) -> Option<u16> {
    Some(state.manager(me)?.https.first()?.port())
}
