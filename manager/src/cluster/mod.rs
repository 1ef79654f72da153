//! The registry of the whole cluster, as the rest of the program sees it: [`Cluster::propose`] a command, [`Cluster::watch`]
//! the state.
//!
//! Behind that, for now: the first manager writes the log, the others follow it. They keep a whole copy on disk, serve
//! every read from it and pass proposals on to the writer. While the writer is away, proposals are refused and everything
//! else goes on. Consensus among the managers will take the writer's place without a change in here being seen outside.

mod follower;
mod peer;
mod routes;
mod store;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use festoon_control::registry::{Command, Outcome, Refusal, State, UnixMs};
use festoon_proto::ManagerId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::data_dir::{CA_CERTIFICATE, CA_KEY, DataDir, DataDirError, TLS_CHAIN, TLS_KEY};
use crate::pki::{Authority, PkiError, TlsError, TlsIdentity, Trust, certificates, fingerprint};

pub use follower::{CatchUpError, StepError, catch_up};
pub use peer::PeerError;
pub use routes::{NOT_WRITER, router};
pub use store::{LogEntry, Store, StoreError};

/// How long a proposal may take before whoever made it hears that it failed.
const PROPOSE_TIMEOUT: Duration = Duration::from_millis(1800);

/// Now, for commands.
#[expect(clippy::disallowed_methods, reason = "commands carry the time, so that applying them needs none")]
pub fn unix_now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A proposal came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ProposeError {
    /// The registry says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The manager that writes does not answer.
    #[error(
        "the registry can't be changed now: manager {writer}, which writes it, does not answer. Traffic and everything that reads goes on; try again when it is back"
    )]
    NoWriter {
        /// Its name or id.
        writer: String,
    },
    /// The writer's disk fails.
    #[error("the registry can't be changed: the disk of the manager that writes it fails; see its log")]
    Storage,
    /// This manager is about to stop.
    #[error("this manager is stopping: ask another")]
    Stopping,
}

/// The cluster can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file is missing or damaged.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log is.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A certificate is.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The CA is.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// How the registry is doing, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistryHealth {
    /// This manager writes it.
    Writer,
    /// This manager follows the writer.
    Following,
    /// This manager has lost touch with the writer and goes on with its copy.
    OutOfTouch,
}

/// The registry of the cluster. A clone is the same registry.
#[derive(Debug, Clone)]
pub struct Cluster {
    state: watch::Receiver<Arc<State>>,
    proposer: Proposer,
}

#[derive(Debug, Clone)]
enum Proposer {
    Writer(writer::Writer),
    Follower(follower::Follower),
}

impl Cluster {
    /// Changes the registry. When it returns `Ok`, the change is on disk, and [`Cluster::snapshot`] has it.
    pub async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        let (outcome, index) = match &self.proposer {
            Proposer::Writer(writer) => writer.propose(command).await?,
            Proposer::Follower(follower) => follower.propose(&self.snapshot(), &command).await?,
        };
        self.reach(index).await;
        Ok(outcome)
    }

    /// The state, and every later one.
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// The state now.
    pub fn snapshot(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// How the registry is doing.
    pub fn health(&self) -> RegistryHealth {
        match &self.proposer {
            Proposer::Writer(_) => RegistryHealth::Writer,
            Proposer::Follower(follower) if follower.in_touch() => RegistryHealth::Following,
            Proposer::Follower(_) => RegistryHealth::OutOfTouch,
        }
    }

    /// Waits, not for long, until our own copy has what the writer has acknowledged: who changed something sees it.
    async fn reach(&self, index: u64) {
        let mut state = self.state.clone();
        let reached = state.wait_for(|state| state.version().0 >= index);
        if tokio::time::timeout(PROPOSE_TIMEOUT, reached).await.is_err() {
            tracing::warn!(index, "the copy of the registry lags behind the writer");
        }
    }
}

/// Who we are to other managers, from the files of the data directory.
#[derive(Debug)]
pub struct Credentials {
    /// Our certificate and key.
    pub tls: TlsIdentity,
    /// The CA's certificate in PEM.
    pub ca_pem: String,
    /// Its fingerprint.
    pub trust: Trust,
}

impl Credentials {
    /// From the files in `data`.
    pub fn load(data: &DataDir) -> Result<Self, BuildError> {
        let ca_pem = data.read(CA_CERTIFICATE)?;
        let tls = TlsIdentity::from_pem(&data.read(TLS_CHAIN)?, &data.read(TLS_KEY)?)?;
        let trust = Trust { ca_fingerprint: ca_fingerprint(&ca_pem)? };
        Ok(Self { tls, ca_pem, trust })
    }
}

/// The fingerprint of the CA whose certificate is in `pem`.
pub fn ca_fingerprint(pem: &str) -> Result<[u8; 32], TlsError> {
    certificates(pem).and_then(|all| all.first().map(fingerprint).ok_or(TlsError::BadPem))
}

/// What the registry needs of the rest of the program.
#[derive(Debug)]
pub struct Parts {
    /// The registry.
    pub cluster: Cluster,
    /// Its log on disk.
    pub store: Arc<Store>,
    /// The CA, on the manager that has it.
    pub authority: Option<Arc<Authority>>,
}

/// Opens the registry and starts what keeps it. Must run inside tokio.
pub fn build(
    data: &DataDir,
    me: ManagerId,
    joined_through: &[SocketAddr],
    credentials: &Credentials,
) -> Result<Parts, BuildError> {
    let store = Arc::new(Store::open(&data.registry())?);
    let state = Arc::new(store.replay()?);
    let writes = state.writer() == Some(me);
    let authority = match data.has(CA_KEY) {
        true => Some(Arc::new(Authority::from_pem(credentials.ca_pem.clone(), &data.read(CA_KEY)?)?)),
        false => None,
    };
    let (publish, watch) = watch::channel(state);
    let proposer = if writes {
        Proposer::Writer(writer::start(Arc::clone(&store), publish)?)
    } else {
        let peer = peer::Peer::new(credentials.trust, Some(&credentials.tls), joined_through)?;
        Proposer::Follower(follower::start(Arc::clone(&store), publish, peer))
    };
    Ok(Parts { cluster: Cluster { state: watch, proposer }, store, authority })
}
