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
use crate::cluster::{self, Cluster, Https, Parts, Supervisor, Threads, unix_now};
use crate::config::Config;
use crate::data_dir::{DataDir, Identity};
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
    /// Whose connections have room apart from strangers.
    pub(super) known: KnownHosts,
    /// The way to the other managers.
    pub(super) managers: Https,
    /// What the listener serves besides, once it is there.
    pub(super) later: Later,
    /// What it serves to managers besides.
    pub(super) later_for_managers: Later,
    /// To be polled beside everything else. Gives the reason why it can't go on.
    pub(super) work: Pin<Box<dyn Future<Output = anyhow::Error> + Send>>,
}

/// What runs as long as the manager does.
struct Work {
    https: https::Server,
    routes: https::Routes,
    managers: Https,
    keeper: Keeper,
    cluster: Cluster,
    supervisor: Supervisor,
    snapshots: Snapshots,
    record: Record,
    trail: Trail,
    heads: Heads,
    metrics: Metrics,
    deliveries: Deliveries,
}

impl Work {
    /// Ends with the reason why it can't go on.
    async fn run(self) -> anyhow::Error {
        let Self { https, routes, managers, keeper, cluster, supervisor, .. } = self;
        let Self { snapshots, record, trail, heads, metrics, deliveries, .. } = self;
        let (me, known) = (keeper.me, https.known_hosts());
        let ends = https.keep_ending(cluster.clone());
        tokio::select! {
            () = https.run(routes) => anyhow!("the HTTPS listener ended"),
            () = keep_keys(keeper, cluster.clone()) => anyhow!("the registry ended"),
            () = cluster::announce_program(cluster.clone(), me) => anyhow!("the registry ended"),
            () = ends => anyhow!("the registry ended"),
            () = know_managers(cluster, known, managers) => anyhow!("the registry ended"),
            () = record.run() => anyhow!("the record of events ended"),
            () = trail.run() => anyhow!("the registry ended"),
            never = supervisor.run() => match never {},
            never = snapshots.run() => match never {},
            never = metrics.serve() => match never {},
            never = heads.run() => match never {},
            never = deliveries.run() => match never {},
        }
    }
}

/// Opens the registry, binds the listener, and puts together what runs beside them.
pub(super) async fn start(data: &DataDir, config: &Config) -> anyhow::Result<Base> {
    let identity = data.identity()?;
    let me = identity.manager;
    let (credentials, threads, parts) = open(data, &identity).await?;
    let https = listen(config, &identity, &parts.cluster, (&credentials, threads))?;
    let (keeper, known) = (keeper(me, &parts, &credentials, data)?, https.known_hosts());
    let snapshots = Snapshots::new(&config.snapshots, data, me, parts.cluster.clone(), parts.vault.clone());
    let trail = Trail::new(me, parts.cluster.clone(), parts.managers.clone());
    let record = events::open(data, me, parts.cluster.clone(), parts.managers.clone(), trail.watch())?;
    let deliveries = deliver::build(&config.delivery, data, for_deliveries(me, &parts, &record))?;
    let heads = heads(me, &parts, &record);
    let sources = Sources {
        me,
        cluster: parts.cluster.clone(),
        snapshots: snapshots.clone(),
        credentials,
        events: record.events.clone(),
        deliveries: deliveries.clone(),
        data: data.clone(),
        differing: heads.differing.clone(),
    };
    let metrics = Metrics::new(config.metrics.clone(), sources);
    let (later, later_for_managers) = (Later::default(), Later::default());
    let managers = for_managers(&parts, &keeper, &record.events, &deliveries, &later_for_managers);
    let everybody = for_everybody(&parts, &keeper, &record, &later);
    let routes = observed(&metrics, [everybody, managers, cluster::consensus_router(&parts)]);
    let (events, sightings, audit) = (record.events.clone(), record.sightings.clone(), trail.reader());
    let Parts { cluster, managers, supervisor, .. } = parts;
    let work = Work {
        https,
        routes,
        managers: managers.clone(),
        keeper: keeper.clone(),
        cluster: cluster.clone(),
        supervisor,
        snapshots: snapshots.clone(),
        record,
        trail,
        heads,
        metrics: metrics.clone(),
        deliveries: deliveries.clone(),
    };
    let work = Box::pin(work.run());
    Ok(Base {
        me,
        cluster,
        snapshots,
        keeper,
        events,
        audit,
        metrics,
        deliveries,
        sightings,
        known,
        managers,
        later,
        later_for_managers,
        work,
    })
}

/// Opens the registry with the keys of this manager.
async fn open(data: &DataDir, identity: &Identity) -> anyhow::Result<(Credentials, Threads, Parts)> {
    certificate::make_lost_again(data, identity.manager, unix_now()).await?;
    let credentials = Credentials::load(data)?;
    let threads = Threads::start().context("can't start the threads of consensus")?;
    let parts = cluster::build(data, identity, &credentials, threads.clone()).await?;
    // The registry is open: no other manager is on this directory.
    data.remove_unfinished();
    Ok((credentials, threads, parts))
}

/// Binds the HTTPS listener.
fn listen(
    config: &Config,
    identity: &Identity,
    cluster: &Cluster,
    (credentials, threads): (&Credentials, Threads),
) -> anyhow::Result<https::Server> {
    let me = identity.manager;
    let port = https_port(&cluster.snapshot(), me).unwrap_or(identity.https_port);
    let https = https::build(&config.https, port, credentials, https::Members { threads, states: cluster.watch() });
    let https = https.with_context(|| format!("can't listen on TCP port {port}"))?;
    tracing::info!(manager = %me, https = %https.local_addr()?, "listening");
    Ok(https)
}

/// What keeps this manager's certificate.
fn keeper(me: ManagerId, parts: &Parts, credentials: &Credentials, data: &DataDir) -> anyhow::Result<Keeper> {
    Ok(Keeper {
        me,
        vault: parts.vault.clone(),
        signing_key: data.signing_key()?,
        introductions: cluster::introductions(data)?,
        credentials: credentials.clone(),
        managers: parts.managers.clone(),
        told: Told::default(),
    })
}

/// What delivers events works with this.
fn for_deliveries(me: ManagerId, parts: &Parts, record: &Record) -> deliver::Parts {
    deliver::Parts {
        me,
        cluster: parts.cluster.clone(),
        managers: parts.managers.clone(),
        vault: parts.vault.clone(),
        events: record.events.clone(),
        own_events: record.own.clone(),
    }
}

/// What tells and compares the heads of the audit log.
fn heads(me: ManagerId, parts: &Parts, record: &Record) -> Heads {
    Heads {
        me,
        cluster: parts.cluster.clone(),
        managers: parts.managers.clone(),
        events: record.own.clone(),
        differing: Differing::default(),
    }
}

/// What agents and newcomers ask.
fn for_everybody(parts: &Parts, keeper: &Keeper, record: &Record, later: &Later) -> Router {
    let copies = Copies::new(keeper.me, record.own.clone());
    agents::router(parts.cluster.clone(), keeper.told.clone(), copies)
        .merge(cluster::join_router(parts))
        .merge(later.router())
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

/// Counts the requests of all.
fn observed(metrics: &Metrics, all: [Router; 3]) -> https::Routes {
    let requests = metrics.requests();
    let [everybody, managers, consensus] = all.map(|routes| requests.observe(routes, Way::Https));
    https::Routes { everybody, managers, consensus }
}

/// Keeps certificates and the data key as they should be, and has what is past forgotten. Ends with the registry.
async fn keep_keys(keeper: Keeper, cluster: Cluster) {
    let vault = keeper.vault.clone();
    tokio::select! {
        () = keeper.run(cluster.watch(), || cluster.now()) => {}
        () = vault::keep_data_key_inside(cluster.clone(), vault) => {}
        () = expiry::keep_forgetting(cluster.clone()) => {}
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
