//! The one composition root: what `festoon-manager serve` is made of.
//!
//! Tasks: the HTTPS listener, the admin socket, the one that opens the registry again, those that keep its keys as they
//! should be and have it forget what is past, the one that takes snapshots, and those that give the node its keys and what
//! every new state changes. None ends by itself; all are dropped together when the manager stops, and none keeps anything
//! that is not on disk already. The listener runs first, for a manager that has just joined gets its copy of the registry
//! through it.

mod base;
mod carrier;
mod hosts;
mod reload;
mod stop;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use axum::Router;
use festoon_control::registry::State;
use festoon_proto::ManagerId;
use tokio::sync::mpsc;

use crate::accounts::{Accounts, Names};
use crate::api::{self, Api};
use crate::cluster::{self, Cluster, Removal};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::driver::NodeHandle;
use crate::local::{self, Leave};
use crate::own_key::OwnKey;
use base::Base;
use carrier::{Carrier, follow, remove_ephemeral};
use reload::Reload;
use stop::Stop;

pub use reload::Settings;

/// How long a manager that has joined without reaching the registry waits for its first copy.
const FIRST_COPY: Duration = Duration::from_secs(60);

const REMOVED: &str = "this manager was removed from the cluster: join it again, with another --data-dir";

/// Runs the manager until it is asked to stop, or has left its cluster.
pub async fn serve(data: DataDir, settings: Settings) -> anyhow::Result<()> {
    let (mut stop, config) = (Stop::listen()?, settings.config.clone());
    let reload = Reload::listen(settings)?;
    let mut base = base::start(&data, &config).await?;
    let (me, cluster) = (base.me, base.cluster.clone());
    let state = tokio::select! {
        state = first_state(&cluster, me) => state?,
        error = &mut base.work => return Err(error),
        removal = cluster.removed() => return Err(farewell(&data, &cluster, removal).await),
        () = stop.asked() => return Ok(()),
    };
    let own_key = OwnKey::new(me, data.clone(), cluster.clone());
    let mut carrier = carrier::start(&config.underlay, &own_key, &state, base.sightings.clone()).await?;
    base.metrics.set_node(carrier.handle());
    let socket = local::build(&data.socket()).context("can't make the admin socket")?;
    let (leave, mut leaving) = mpsc::channel(1);
    let api = api(&base, &config, carrier.handle());
    let (everybody, managers) = served(&state, &api);
    base.later.set(everybody);
    base.later_for_managers.set(managers);
    let Base { keeper, snapshots, metrics, known, work, .. } = base;
    let (registry, own) = (cluster.clone(), own_key.clone());
    let (node, requests) = (carrier.handle(), metrics.requests().clone());
    let admin =
        local::Admin { cluster: registry, node, manager: me, leave, snapshots, keeper, api, own_key: own, requests };
    ready();
    let node = carrier.handle();
    let work = Box::pin(async {
        tokio::select! {
            error = work => Err(error),
            ended = socket.run(admin) => ended.context("the admin socket ended"),
            ended = own_key.follow(state.version(), node.clone()) => ended,
            ended = follow(&cluster, me, state, node.clone()) => ended,
            error = hosts::know_agents(node.clone(), known) => Err(error),
            error = remove_ephemeral(cluster.clone(), node) => Err(error),
            never = reload.run() => match never {},
        }
    });
    let end = Box::pin(until_end(work, &mut stop, &mut leaving, &mut carrier, &cluster)).await?;
    match end {
        End::Asked => {}
        End::Left => data.forget_identity()?,
        End::Removed(removal) => return Err(farewell(&data, &cluster, removal).await),
    }
    carrier.drain(&cluster.snapshot()).await;
    cluster.shutdown().await;
    carrier.shutdown().await
}

/// Why a manager ends that is well.
enum End {
    Asked,
    Left,
    Removed(Removal),
}

/// What a manager says that was removed. It keeps what only it knows.
async fn farewell(data: &DataDir, cluster: &Cluster, removal: Removal) -> anyhow::Error {
    match cluster::part(data, cluster, removal).await {
        Ok(kept) => match kept.and_then(|kept| kept.describe(data.root())) {
            Some(kept) => anyhow!("{REMOVED}. {kept}"),
            None => anyhow!(REMOVED),
        },
        Err(error) => anyhow!("{REMOVED}. The changes that only it had can't be kept: {error}"),
    }
}

async fn until_end(
    work: impl Future<Output = anyhow::Result<()>>,
    stop: &mut Stop,
    leaving: &mut mpsc::Receiver<Leave>,
    carrier: &mut Carrier,
    cluster: &Cluster,
) -> anyhow::Result<End> {
    let mut work = pin!(work);
    loop {
        let Leave { by, reply } = tokio::select! {
            ended = &mut work => return ended.and_then(|()| bail!("the admin socket ended")),
            error = carrier.failed() => return Err(error),
            removal = cluster.removed() => return Ok(End::Removed(removal)),
            () = stop.asked() => return Ok(End::Asked),
            leave = leaving.recv() => leave.context("the admin socket ended")?,
        };
        let left = tokio::select! {
            left = carrier.leave(cluster, by) => left,
            ended = &mut work => match cluster.snapshot().manager(carrier.manager()) {
                Some(_) => return ended.and_then(|()| bail!("the admin socket ended")),
                // The first to hear that we are in no registry any more.
                None => Ok(()),
            },
        };
        let has_left = left.is_ok();
        // Who asked may be gone, which is no matter.
        drop(reply.send(left));
        if has_left {
            return Ok(End::Left);
        }
    }
}

/// The API, in front of all that runs.
fn api(base: &Base, config: &Config, node: Option<NodeHandle>) -> Api {
    let vault = base.keeper.vault.clone();
    Api {
        cluster: base.cluster.clone(),
        node,
        manager: base.me,
        accounts: Accounts::new(base.cluster.clone(), vault.clone()),
        names: Names::new(config.https.names.clone()),
        events: base.events.clone(),
        audit: base.audit.clone(),
        snapshots: base.snapshots.clone(),
        vault,
        managers: base.managers.clone(),
        deliveries: base.deliveries.clone(),
    }
}

/// The API as the HTTPS listener serves it to everybody, and to managers.
fn served(state: &State, api: &Api) -> (Router, Router) {
    match state.manager(api.manager).is_some_and(|me| me.is_full()) {
        true => (api::https_router(api.clone()), api::peer_router(api.clone())),
        false => (api::witness_router(), Router::new()),
    }
}

/// Tells systemd, if it is there, that we serve.
fn ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "systemd can't be told that this manager is ready");
    }
}

/// The state to start with: at once from the copy on disk, or the first copy that has come far enough to know this manager.
/// Of what is in the log and may not count, a manager that starts alone is to carry traffic as if it did.
async fn first_state(cluster: &Cluster, me: ManagerId) -> anyhow::Result<Arc<State>> {
    let mut states = cluster.watch();
    let copied = tokio::time::timeout(FIRST_COPY, states.wait_for(|state| state.was_given_to_manager(me))).await;
    let copied = copied.context("there is no copy of the registry yet: start the other managers, then this one")?;
    let state = Arc::clone(&*copied.context("the registry ended")?);
    let begun_with = cluster.begun_with();
    Ok(if begun_with.version() > state.version() { begun_with } else { state })
}
