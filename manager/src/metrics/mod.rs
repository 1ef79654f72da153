//! What a manager tells a monitoring system: everything that [`Metrics`] finds when it is asked, on a listener of its own.
//!
//! Nothing is kept for the sake of a scrape but the requests of clients. Whoever has a figure keeps it, and is asked for it; the
//! packet loop in parts so small that no packet waits for long.

mod audit;
mod config;
mod deliveries;
mod node;
mod raft;
mod registry;
mod requests;
mod upkeep;

use std::sync::{Arc, OnceLock};

use festoon_control::registry::State;
use festoon_metrics::{Page, Process, Source};
use festoon_proto::ManagerId;

use crate::api::problems;
use crate::audit::Differing;
use crate::cluster::Cluster;
use crate::data_dir::DataDir;
use crate::deliver::Deliveries;
use crate::driver::{NodeHandle, Stopped};
use crate::events::Events;
use crate::node::Carried;
use crate::pki::Credentials;
use crate::snapshot::Snapshots;

pub use config::{Config, Listen};
pub use requests::{Requests, Way};

/// Endpoints that the packet loop tells of in one go: a tenth of a millisecond in an unoptimised build.
const PART: usize = 128;

/// Where the figures are.
#[derive(Debug)]
pub struct Sources {
    /// This manager.
    pub me: ManagerId,
    /// The registry.
    pub cluster: Cluster,
    /// Its snapshots.
    pub snapshots: Snapshots,
    /// Its certificate.
    pub credentials: Credentials,
    /// What happened.
    pub events: Events,
    /// How that is delivered.
    pub deliveries: Deliveries,
    /// Its directory.
    pub data: DataDir,
    /// The managers whose audit log is another.
    pub differing: Differing,
}

/// The metrics of this manager. A clone is the same.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sources: Sources,
    config: Config,
    requests: Requests,
    process: Process,
    /// None on a witness; nothing before it was started.
    node: OnceLock<Option<NodeHandle>>,
}

impl Metrics {
    /// Of a manager that starts now.
    pub fn new(config: Config, sources: Sources) -> Self {
        let (requests, process) = (Requests::default(), Process::started_now());
        Self(Arc::new(Inner { sources, config, requests, process, node: OnceLock::new() }))
    }

    /// The requests that are counted.
    pub fn requests(&self) -> &Requests {
        &self.0.requests
    }

    /// The packet loop has been started. A witness has none.
    pub fn set_node(&self, node: Option<NodeHandle>) {
        // It is started once.
        let _ = self.0.node.set(node);
    }

    /// Serves them where the configuration says. Ends when it is dropped.
    pub async fn serve(self) -> std::convert::Infallible {
        match self.0.config.listen {
            Listen::At(address) => festoon_metrics::serve(address, self).await,
            Listen::Off => std::future::pending().await,
        }
    }

    fn node(&self) -> Option<&NodeHandle> {
        self.0.node.get()?.as_ref()
    }

    async fn write_node(&self, page: &mut Page, node: &NodeHandle, state: &State) -> Result<(), Stopped> {
        let figures = node.figures().await?;
        let carried = carried(node, self.0.config.endpoints).await?;
        node::write(page, &figures, node.io_counts());
        node::write_endpoints(page, &figures, &carried, state);
        Ok(())
    }
}

/// The endpoints that are carried here, at most so many: always those that came first, so that a series does not come and go.
async fn carried(node: &NodeHandle, most: usize) -> Result<Vec<Carried>, Stopped> {
    let mut all: Vec<Carried> = Vec::new();
    while all.len() < most {
        let limit = PART.min(most - all.len());
        let part = node.carried(all.last().map(|last| last.id), limit).await?;
        let is_last = part.len() < limit;
        all.extend(part);
        if is_last {
            break;
        }
    }
    Ok(all)
}

impl Source for Metrics {
    async fn write(&self, page: &mut Page) {
        let Inner { sources, requests, process, .. } = &*self.0;
        let state = sources.cluster.snapshot();
        registry::write(page, &state, sources.me);
        raft::write(page, &sources.cluster, sources.me);
        if let Some(node) = self.node()
            && let Err(error) = self.write_node(page, node, &state).await
        {
            tracing::debug!(%error, "its metrics are left out");
        }
        audit::write(page, sources, &state);
        upkeep::write(page, sources, &state);
        deliveries::write(page, sources, &state).await;
        requests.write(page);
        process.write(page);
    }

    async fn problems(&self) -> Vec<String> {
        match self.0.node.get() {
            Some(node) => problems(&self.0.sources.cluster, node.as_ref()).await,
            None => vec!["it is starting".to_owned()],
        }
    }
}
