//! What every manager runs, whatever it carries: the registry, and the listener that the registry comes through.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::Router;
use festoon_control::registry::State;
use festoon_proto::ManagerId;
use tokio::sync::mpsc;

use crate::agents::Copies;
use crate::audit::{self, Differing, Heads, Trail};
use crate::certificate::{self, Keeper, Told};
use crate::cluster::{self, Cluster, Https, Parts, unix_now};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::deliver::{self, Deliveries};
use crate::events::{self, Events, Record};
use crate::https::{KnownHosts, Later};
use crate::metrics::{Metrics, Sources, Way};
use crate::node::Sighting;
use crate::pki::Credentials;
use crate::snapshot::Snapshots;
use crate::{agents, expiry, https, vault};

/// How often it is said again where managers are, if the registry does not change.
const KNOWN_AGAIN: Duration = Duration::from_secs(3600);

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
    /// What it serves to managers besides.
    pub(super) later_for_managers: Later,
    /// To be polled beside everything else. Gives the reason why it can't go on.
    pub(super) work: Pin<Box<dyn Future<Output = anyhow::Error> + Send>>,
}

/// Opens the registry and binds the listener.
#[expect(clippy::too_many_lines, reason = "it puts the parts together, a line or two for each, and decides nothing")]
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
    let differing = Differing::default();
    let heads = heads(me, &parts, &record, &differing);
    let (events, sightings) = (record.events.clone(), record.sightings.clone());
    let copies = Copies::new(me, record.own.clone());
    let (registry, told) = (cluster.clone(), events.clone());
    let way = deliver::Parts { me, cluster: registry, managers, vault, events: told, own_events: record.own.clone() };
    let deliveries = deliver::build(&config.delivery, data, way)?;
    let (registry, data) = (cluster.clone(), data.clone());
    let (kept, told, sent) = (snapshots.clone(), events.clone(), deliveries.clone());
    let sources = Sources {
        me,
        cluster: registry,
        snapshots: kept,
        credentials,
        events: told,
        deliveries: sent,
        data,
        differing,
    };
    let metrics = Metrics::new(config.metrics.clone(), sources);
    let told = metrics.clone().serve();
    let (later, later_for_managers, managers) = (Later::default(), Later::default(), parts.managers.clone());
    let everybody = agents::router(cluster.clone(), keeper.told.clone(), copies);
    let everybody = everybody.merge(cluster::join_router(&parts)).merge(later.router());
    let managers_ask = for_managers(&parts, &keeper, &events, &deliveries, &later_for_managers);
    let served = https::Routes {
        everybody: metrics.requests().observe(everybody, Way::Https),
        managers: metrics.requests().observe(managers_ask, Way::Https),
    };
    let hosts = know_managers(cluster.clone(), https.known_hosts(), parts.managers.clone());
    let ends = https.keep_ending(cluster.clone());
    let https = https.run(served);
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
            () = hosts => anyhow!("the registry ended"),
            () = ends => anyhow!("the registry ended"),
            () = record => anyhow!("the record of events ended"),
            () = trail => anyhow!("the registry ended"),
            never = supervisor.run() => match never {},
            never = schedule => match never {},
            never = told => match never {},
            never = heads.run() => match never {},
            never = delivering => match never {},
        }
    };
    let work = Box::pin(work);
    Ok(Base {
        me,
        cluster,
        keeper,
        snapshots,
        events,
        audit,
        metrics,
        deliveries,
        sightings,
        managers,
        later,
        later_for_managers,
        work,
    })
}

/// What tells and compares the heads of the audit log.
fn heads(me: ManagerId, parts: &Parts, record: &Record, differing: &Differing) -> Heads {
    Heads {
        me,
        cluster: parts.cluster.clone(),
        managers: parts.managers.clone(),
        events: record.own.clone(),
        differing: differing.clone(),
    }
}

/// What managers ask one another.
fn for_managers(parts: &Parts, keeper: &Keeper, events: &Events, deliveries: &Deliveries, later: &Later) -> Router {
    Router::new()
        .merge(cluster::router(parts))
        .merge(audit::router(parts.cluster.clone()))
        .merge(events::router(events.clone()))
        .merge(deliver::router(deliveries.clone()))
        .merge(certificate::router(parts.cluster.clone(), keeper.clone()))
        .merge(later.router())
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

/// Has the listener tell the hosts of managers from strangers, also before one has asked anything, and closes our own
/// connections to managers that were removed. Ends with the registry.
async fn know_managers(cluster: Cluster, known: KnownHosts, managers: Https) {
    let mut states = cluster.watch();
    loop {
        let state = std::sync::Arc::clone(&*states.borrow_and_update());
        state.managers().flat_map(|manager| &manager.https).for_each(|at| known.note(at.ip()));
        managers.leave_removed(&state);
        // What is not said again is forgotten.
        if let Ok(Err(_)) = tokio::time::timeout(KNOWN_AGAIN, states.changed()).await {
            return;
        }
    }
}

/// The port that the registry names for this manager: a host behind NAT listens on it, though not on that address.
fn https_port(state: &State, me: ManagerId) -> Option<u16> {
    Some(state.manager(me)?.https.first()?.port())
}
