//! The way to other managers: HTTPS, with a certificate at both ends.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use festoon_cluster::{CallError, Lane, Transport};
use festoon_control::registry::{Manager, State};
use festoon_proto::address::cluster_tls_name;
use festoon_proto::{ManagerId, VerifyingKey};
use tokio::sync::watch;

use super::Threads;
use crate::bounded::{self, ReadError};
use crate::https::route;
use crate::pki::{CLUSTER_ALPN, CONSENSUS_ALPN, Credentials, Tls, of_manager};

/// Of an answer: a page of the log, of events or of the audit log has less.
const MAX_ANSWER: usize = 64 << 20;
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// A connection that takes nothing for so long is given up, and the next request makes a new one.
const SILENCE_LIMIT: Duration = Duration::from_secs(1);

/// [`Transport`] over HTTPS. A clone is the same way.
#[derive(Debug, Clone)]
pub struct Https(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    credentials: Credentials,
    states: watch::Receiver<Arc<State>>,
    threads: Threads,
    clients: Mutex<Clients>,
    /// The address that a manager answered at last.
    answered_at: Mutex<HashMap<ManagerId, SocketAddr>>,
    /// What the registry said last of each manager: one that was removed is still told so.
    managers: Mutex<HashMap<ManagerId, Known>>,
}

/// A manager, as others need to know it to reach it.
#[derive(Debug, Clone)]
pub struct Known {
    /// Where it listens.
    pub https: Vec<SocketAddr>,
    /// What it signs with, the key of its certificate above all.
    pub signing_key: VerifyingKey,
}

impl Known {
    fn of(manager: &Manager) -> Self {
        Self { https: manager.https.clone(), signing_key: manager.signing_key }
    }
}

/// They keep their connections.
#[derive(Debug)]
struct Clients {
    /// What they show and whom they believe.
    tls: Arc<Tls>,
    open: HashMap<Way, reqwest::Client>,
}

/// What has connections of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Way {
    to: ManagerId,
    at: SocketAddr,
    /// What of consensus goes there. None for all other requests, each of which has a connection to itself.
    lane: Option<Lane>,
}

/// There is no way to a manager.
#[derive(Debug, thiserror::Error)]
pub enum NoWay {
    /// The registry does not know it.
    #[error("the registry has no address of manager {0}")]
    NoAddress(ManagerId),
    /// A client can't be made.
    #[error("a client can't be made: {0}")]
    Client(#[source] reqwest::Error),
}

impl From<NoWay> for CallError {
    fn from(error: NoWay) -> Self {
        Self::NotSent(error.to_string())
    }
}

impl Https {
    /// As this manager, to those in the registry, and to `peers` as long as that does not tell. Consensus goes its way on
    /// `threads`.
    pub fn new(
        credentials: &Credentials,
        states: watch::Receiver<Arc<State>>,
        peers: HashMap<ManagerId, Known>,
        threads: Threads,
    ) -> Self {
        let credentials = credentials.clone();
        let clients = Mutex::new(Clients { tls: credentials.now(), open: HashMap::new() });
        let (answered_at, managers) = (Mutex::default(), Mutex::new(peers));
        Self(Arc::new(Shared { credentials, states, threads, clients, answered_at, managers }))
    }

    /// The threads of consensus.
    pub(super) fn threads(&self) -> &Threads {
        &self.0.threads
    }

    /// All managers that are or were somewhere.
    pub(super) fn known(&self) -> BTreeSet<ManagerId> {
        let in_registry: Vec<ManagerId> = self.0.states.borrow().managers().map(|manager| manager.id).collect();
        lock(&self.0.managers).keys().copied().chain(in_registry).collect()
    }

    /// Closes the connections to managers that were removed.
    pub fn leave_removed(&self, state: &State) {
        let is_removed = |id| state.was_given_to_manager(id) && state.manager(id).is_none();
        lock(&self.0.clients).open.retain(|way, _| !is_removed(way.to));
    }

    /// Sends `body` to `path` of a manager, and gives its answer.
    pub async fn post(&self, to: ManagerId, path: &str, body: Bytes, limit: Duration) -> Result<Vec<u8>, CallError> {
        self.send((to, None), path, body, limit).await
    }

    async fn send(
        &self,
        (to, lane): (ManagerId, Option<Lane>),
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let mut failure = CallError::from(NoWay::NoAddress(to));
        let Known { https, signing_key } = self.manager(to)?;
        for at in https {
            let url = format!("https://{}:{}{path}", cluster_tls_name(to), at.port());
            let post = self.client(Way { to, at, lane }, signing_key)?.post(url).body(body.clone()).timeout(limit);
            match receive(post, at).await {
                Ok(answer) => {
                    lock(&self.0.answered_at).insert(to, at);
                    return Ok(answer);
                }
                Err(error @ CallError::NoAnswer(_)) => return Err(error),
                // Nothing arrived there: another of its addresses may do.
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// What is known of a manager, the address first at which it answered last.
    fn manager(&self, id: ManagerId) -> Result<Known, NoWay> {
        let known = self.0.states.borrow().manager(id).map(Known::of);
        let mut managers = lock(&self.0.managers);
        if let Some(known) = known {
            managers.insert(id, known);
        }
        let mut manager = managers.get(&id).cloned().ok_or(NoWay::NoAddress(id))?;
        let last = lock(&self.0.answered_at).get(&id).copied();
        manager.https.sort_by_key(|at| Some(*at) != last);
        Ok(manager)
    }

    /// A client with the credentials of now. What is under way with others goes on.
    fn client(&self, way: Way, signing_key: VerifyingKey) -> Result<reqwest::Client, NoWay> {
        let tls = self.0.credentials.now();
        let mut clients = lock(&self.0.clients);
        if !Arc::ptr_eq(&clients.tls, &tls) {
            *clients = Clients { tls: Arc::clone(&tls), open: HashMap::new() };
        }
        if let Some(client) = clients.open.get(&way) {
            return Ok(client.clone());
        }
        let client = way.client(&tls, signing_key).map_err(NoWay::Client)?;
        clients.open.insert(way, client.clone());
        Ok(client)
    }
}

impl Way {
    fn client(self, tls: &Tls, signing_key: VerifyingKey) -> reqwest::Result<reqwest::Client> {
        let protocol = if self.lane.is_some() { CONSENSUS_ALPN } else { CLUSTER_ALPN };
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(of_manager(&tls.client, &tls.trusted, signing_key, protocol))
            .resolve(&cluster_tls_name(self.to), self.at)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .tcp_user_timeout(SILENCE_LIMIT)
            .connect_timeout(CONNECT_LIMIT);
        if self.lane.is_some() { builder.http2_prior_knowledge() } else { builder }.build()
    }
}

impl Transport for Https {
    async fn call(&self, to: ManagerId, lane: Lane, request: Vec<u8>, limit: Duration) -> Result<Vec<u8>, CallError> {
        let sent = self.send((to, Some(lane)), route::ASK.path(), Bytes::from(request), limit);
        self.0.threads.within(sent).await
    }
}

async fn receive(request: reqwest::RequestBuilder, at: SocketAddr) -> Result<Vec<u8>, CallError> {
    let failed = |error: reqwest::Error| {
        let text = format!("{at}: {}", innermost(&error));
        if error.is_connect() { CallError::NotSent(text) } else { CallError::NoAnswer(text) }
    };
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    let most = if status.is_success() { MAX_ANSWER } else { bounded::MAX_REFUSAL };
    let body = bounded::read(response, most).await.map_err(|error| match error {
        ReadError::Broken(error) => failed(error),
        error @ ReadError::TooLong(_) => CallError::NoAnswer(format!("{at}: {error}")),
    })?;
    match status.is_success() {
        true => Ok(body),
        // It was refused before anybody looked at it.
        false => Err(CallError::NotSent(format!("{at}: HTTP status {status}, {}", String::from_utf8_lossy(&body)))),
    }
}

/// The outer errors only say that a request failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
