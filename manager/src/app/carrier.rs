//! What carries endpoints: the node of a full manager. A witness has none.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use festoon_control::compile::{manager_delta, manager_map};
use festoon_control::registry::{Author, Change, Command, State, apply};
use festoon_proto::ManagerId;
use festoon_proto::map::ManagerMap;
use tokio::sync::mpsc;

use super::REMOVED;
use crate::cluster::{Cluster, ProposeError};
use crate::driver::{self, Driver, NodeHandle};
use crate::ephemeral::keep_removing;
use crate::node::Sighting;
use crate::own_key::OwnKey;

/// How long endpoints have to move away.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
const DRAIN_LINGER: Duration = Duration::from_millis(300);

/// The node, if there is one.
pub(super) struct Carrier {
    me: ManagerId,
    driver: Option<Driver>,
}

/// Starts what the manager is to carry endpoints with.
pub(super) async fn start(
    config: &driver::Config,
    own_key: &OwnKey,
    state: &State,
    sightings: mpsc::Sender<Sighting>,
) -> anyhow::Result<Carrier> {
    let me = own_key.manager();
    let is_full = state.manager(me).context(REMOVED)?.is_full();
    let driver = if is_full { Some(start_node(config, own_key, state, sightings).await?) } else { None };
    Ok(Carrier { me, driver })
}

async fn start_node(
    config: &driver::Config,
    own_key: &OwnKey,
    state: &State,
    sightings: mpsc::Sender<Sighting>,
) -> anyhow::Result<Driver> {
    let me = own_key.manager();
    let map = manager_map(state, me).context(REMOVED)?;
    let port = underlay_port(&map)?;
    let driver = driver::build(config, port, me, own_key.keys(state).await?, map, sightings)?;
    tracing::info!(manager = %me, underlay = port, "serving");
    Ok(driver)
}

/// The port that the registry names for this manager: a host behind NAT listens on it, though not on that address.
fn underlay_port(map: &ManagerMap) -> anyhow::Result<u16> {
    let me = map.managers.iter().find(|manager| manager.id == map.manager);
    let port = me.and_then(|me| Some(me.underlay.first()?.port()));
    port.context("the registry names no address for this manager")
}

impl Carrier {
    pub(super) const fn manager(&self) -> ManagerId {
        self.me
    }

    pub(super) fn handle(&self) -> Option<NodeHandle> {
        self.driver.as_ref().map(Driver::handle)
    }

    /// Waits until the node stops by itself, which it does only if something is broken.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        match &mut self.driver {
            Some(driver) => driver.failed().await.into(),
            None => std::future::pending().await,
        }
    }

    /// Moves all agents away and has the registry forget this manager, as `by` wants it. If it does not, all is as before.
    pub(super) async fn leave(&mut self, cluster: &Cluster, by: Author) -> Result<(), ProposeError> {
        let (state, command) = (cluster.snapshot(), Command::RemoveManager(self.me));
        // What the registry would refuse is not worth moving anybody.
        apply(&state, state.version().0 + 1, &command)?;
        self.drain(&state).await;
        let left = cluster.propose(Change { by, ..command.into() }).await;
        if left.is_err()
            && let Some(node) = self.handle()
            && let Err(error) = node.set_draining(false).await
        {
            tracing::error!(%error, "this manager stays in the cluster and takes no endpoints");
        }
        left.map(drop)
    }

    /// Moves all agents away, so that no packet is lost when we stop.
    pub(super) async fn drain(&mut self, state: &State) {
        let Some(driver) = &mut self.driver else { return };
        if state.full_managers().all(|manager| manager.id == self.me) {
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

    pub(super) async fn shutdown(self) -> anyhow::Result<()> {
        match self.driver {
            Some(driver) => driver.shutdown().await.context("stopping"),
            None => Ok(()),
        }
    }
}

/// Compiles for the node what every new state changes; it has the map of `known`, and keeps it until what that rests on is
/// certain. Ends with an error when this manager was removed.
pub(super) async fn follow(
    cluster: &Cluster,
    me: ManagerId,
    mut known: Arc<State>,
    node: Option<NodeHandle>,
) -> anyhow::Result<()> {
    let mut states = cluster.watch();
    cluster.applied(known.version()).await;
    let mut is_draining = false;
    loop {
        states.mark_unchanged();
        // Not what was told last: that may be from before what was just waited for, and whoever is not in it yet would be
        // taken for removed.
        let state = cluster.snapshot();
        let wanted = state.manager(me).context(REMOVED)?.is_draining;
        if let Some(node) = &node {
            update_node(node, me, &known, &state).await?;
            if is_draining != wanted {
                node.set_draining(wanted).await?;
                is_draining = wanted;
                tracing::info!(draining = wanted, "an admin set whether this manager is draining");
            }
        }
        known = state;
        states.changed().await.context("the registry ended")?;
    }
}

/// Has endpoints that are to go when they leave removed. Ends only when something is broken.
pub(super) async fn remove_ephemeral(cluster: Cluster, node: Option<NodeHandle>) -> anyhow::Error {
    match node {
        Some(node) => {
            keep_removing(cluster, node).await;
            anyhow::anyhow!("the packet loop ended")
        }
        None => std::future::pending().await,
    }
}

async fn update_node(node: &NodeHandle, me: ManagerId, known: &State, state: &State) -> anyhow::Result<()> {
    let delta = manager_delta(known, state, me).context(REMOVED)?;
    if !node.change_map(delta).await? {
        tracing::warn!(version = state.version().0, "the node needs a whole map");
        node.set_map(manager_map(state, me).context(REMOVED)?).await?;
    }
    Ok(())
}
