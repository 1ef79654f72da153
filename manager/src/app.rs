//! The one composition root: what `festoon-manager serve` is made of.
//!
//! Tasks: the HTTPS listener, the admin socket and the one that compiles a map of every new state. None ends by itself;
//! all are dropped together when the manager stops, and none keeps anything that is not on disk already. The listener
//! runs first, for a manager that has just joined gets its copy of the registry through it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use festoon_control::compile::{manager_delta, manager_map};
use festoon_control::registry::State;
use festoon_proto::ManagerId;
use festoon_proto::map::ManagerMap;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::certificate::{self, Keeper};
use crate::cluster::{self, Cluster, unix_now};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::driver::{self, Driver, NodeHandle};
use crate::pki::Credentials;
use crate::{agents, https, local, vault};

/// How long a manager that has joined without reaching the registry waits for its first copy.
const FIRST_COPY: Duration = Duration::from_secs(60);

const REMOVED: &str = "this manager was removed from the cluster: join it again, with another --data-dir";

/// How long endpoints have to move away.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
const DRAIN_LINGER: Duration = Duration::from_millis(300);

/// Runs the manager until it is asked to stop.
pub async fn serve(data: DataDir, config: Config) -> anyhow::Result<()> {
    let mut stop = Stop::listen()?;
    let identity = data.identity()?;
    let me = identity.manager;
    let credentials = Credentials::load(&data)?;
    let parts = cluster::build(&data, &identity, &credentials).await?;
    let mut states = parts.cluster.watch();
    let https_port = https_port(&states.borrow(), me).unwrap_or(identity.https_port);
    let https = https::build(&config.https, https_port, &credentials).await;
    let https = https.with_context(|| format!("can't listen on TCP port {https_port}"))?;
    let https_at = https.local_addr()?;
    let https = https.run(routes(&parts, &credentials));
    let keeper = keep_keys(&parts, &credentials, me);
    tokio::pin!(https, keeper);
    let state = tokio::select! {
        state = first_state(&mut states, me) => state?,
        () = &mut https => bail!("the HTTPS listener ended"),
        () = &mut keeper => bail!("the registry ended"),
        () = parts.cluster.removed() => bail!(REMOVED),
        () = stop.asked() => return Ok(()),
    };
    let begun_with = parts.cluster.begun_with();
    let state = if begun_with.version() > state.version() { begun_with } else { state };
    let map = manager_map(&state, me).context(REMOVED)?;
    let underlay_port = underlay_port(&map)?;
    let mut driver = driver::build(&config.underlay, underlay_port, me, data.private_key()?, map)?;
    let socket = local::build(&data.socket()).context("can't make the admin socket")?;
    let admin = local::Admin { cluster: parts.cluster.clone(), node: driver.handle(), manager: me };
    tracing::info!(manager = %me, underlay = underlay_port, https = %https_at, "serving");
    ready();
    tokio::select! {
        () = &mut https => bail!("the HTTPS listener ended"),
        ended = socket.run(admin) => ended.context("the admin socket ended")?,
        ended = update_node(&parts.cluster, me, state, driver.handle()) => ended?,
        error = driver.failed() => return Err(error.into()),
        () = parts.cluster.removed() => bail!(REMOVED),
        () = &mut keeper => bail!("the registry ended"),
        () = stop.asked() => {}
    }
    drain(&mut driver, &parts.cluster.snapshot()).await;
    parts.cluster.shutdown().await;
    driver.shutdown().await.context("stopping")?;
    Ok(())
}

fn routes(parts: &cluster::Parts, credentials: &Credentials) -> Router {
    let (cluster, vault) = (parts.cluster.clone(), parts.vault.clone());
    Router::new().merge(agents::router(parts.cluster.clone())).merge(cluster::router(parts)).merge(certificate::router(
        cluster,
        vault,
        credentials.clone(),
    ))
}

/// Keeps certificates and the data key as they should be. Ends with the registry.
async fn keep_keys(parts: &cluster::Parts, credentials: &Credentials, me: ManagerId) {
    let (vault, managers) = (parts.vault.clone(), parts.managers.clone());
    let keeper = Keeper { me, vault, credentials: credentials.clone(), managers };
    tokio::select! {
        () = keeper.run(parts.cluster.watch(), unix_now) => {}
        () = vault::keep_data_key_inside(parts.cluster.clone(), parts.vault.clone()) => {}
    }
}

/// Tells systemd, if it is there, that we serve.
fn ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "systemd can't be told that this manager is ready");
    }
}

/// The state to start with: at once from the copy on disk, or the first copy that has come far enough to know this manager.
async fn first_state(states: &mut watch::Receiver<Arc<State>>, me: ManagerId) -> anyhow::Result<Arc<State>> {
    let copied = tokio::time::timeout(FIRST_COPY, states.wait_for(|state| state.was_given_to_manager(me))).await;
    let copied = copied.context("there is no copy of the registry yet: start the other managers, then this one")?;
    Ok(Arc::clone(&*copied.context("the registry ended")?))
}

/// The ports that the registry names for this manager: a host behind NAT listens on them, though not on those addresses.
fn https_port(state: &State, me: ManagerId) -> Option<u16> {
    Some(state.manager(me)?.https.first()?.port())
}

fn underlay_port(map: &ManagerMap) -> anyhow::Result<u16> {
    let me = map.managers.iter().find(|manager| manager.id == map.manager);
    let port = me.and_then(|me| Some(me.underlay.first()?.port()));
    port.context("the registry names no address for this manager")
}

/// Compiles for the node what every new state changes; it has the map of `known`, and keeps it until what that rests on is
/// certain. Ends with an error when this manager was removed.
async fn update_node(cluster: &Cluster, me: ManagerId, mut known: Arc<State>, node: NodeHandle) -> anyhow::Result<()> {
    let mut states = cluster.watch();
    cluster.applied(known.version()).await;
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        let delta = manager_delta(&known, &state, me).context(REMOVED)?;
        if !node.change_map(delta).await? {
            tracing::warn!(version = state.version().0, "the node needs a whole map");
            node.set_map(manager_map(&state, me).context(REMOVED)?).await?;
        }
        known = state;
        states.changed().await.context("the registry ended")?;
    }
}

/// Moves all agents away, so that no packet is lost when we stop.
async fn drain(driver: &mut Driver, state: &State) {
    if state.managers().nth(1).is_none() {
        return tracing::info!("stopping; there is no other manager to move endpoints to");
    }
    tracing::info!("draining");
    match tokio::time::timeout(DRAIN_LIMIT, driver.drain()).await {
        Ok(Ok(())) => tracing::info!("drained: stopping"),
        Ok(Err(error)) => tracing::error!(%error, "stopping"),
        Err(_) => tracing::warn!("some endpoints did not move in time: stopping"),
    }
    // For what is still on its way to us.
    tokio::time::sleep(DRAIN_LINGER).await;
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("can't listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
