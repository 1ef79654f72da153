//! Requests to the manager that writes the log.

use std::net::SocketAddr;
use std::time::Duration;

use festoon_control::registry::{Command, State};
use festoon_proto::address::MANAGER_TLS_NAME;
use tokio::time::{Instant, timeout_at};

use super::routes::{LOG, LOG_HOLD, PROPOSE};
use super::store::LogEntry;
use super::writer::Accepted;
use super::{PROPOSE_TIMEOUT, ProposeError};
use crate::pki::{TlsError, TlsIdentity, Trust, client_config, tls_name};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The writer does not answer, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Nobody said where it is.
    #[error("no address of the manager that writes the registry is known")]
    NoAddress,
    /// No connection, or it broke.
    #[error("{at}: {reason}")]
    NoAnswer {
        /// Where.
        at: SocketAddr,
        /// Why.
        reason: String,
    },
    /// It refuses.
    #[error("{at}: HTTP status {status}, {text}")]
    Status {
        /// Where.
        at: SocketAddr,
        /// The HTTP status.
        status: u16,
        /// What it says.
        text: String,
    },
    /// It speaks another version.
    #[error("{0}: an answer that makes no sense here: run the same version of Festoon on all managers")]
    Nonsense(SocketAddr),
}

/// Where the writer is reached, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    name: String,
    addresses: Vec<SocketAddr>,
}

/// A client of the writer.
#[derive(Debug)]
pub(super) struct Peer {
    tls: rustls::ClientConfig,
    joined_through: Vec<SocketAddr>,
}

impl Peer {
    pub(super) fn new(
        trust: Trust,
        identity: Option<&TlsIdentity>,
        joined_through: &[SocketAddr],
    ) -> Result<Self, TlsError> {
        let tls = client_config(trust, identity)?;
        Ok(Self { tls, joined_through: joined_through.to_vec() })
    }

    /// Before the first copy of the registry has come, whoever let us in is asked.
    fn target(&self, state: &State) -> Target {
        let known = state.writer().and_then(|writer| state.manager(writer));
        match known {
            Some(writer) => Target { name: tls_name(writer.id), addresses: writer.https.clone() },
            None => Target { name: MANAGER_TLS_NAME.to_owned(), addresses: self.joined_through.clone() },
        }
    }

    fn client(&self, name: &str, at: SocketAddr) -> Result<reqwest::Client, PeerError> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .resolve(name, at)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| PeerError::NoAnswer { at, reason: error.to_string() })
    }

    /// The entries of the log behind `after`. If there are none and `wait` is set, the writer waits a while for one.
    pub(super) async fn log(&self, state: &State, after: u64, wait: bool) -> Result<Vec<LogEntry>, PeerError> {
        let target = self.target(state);
        let mut last = PeerError::NoAddress;
        for &at in &target.addresses {
            let url = format!("https://{}:{}{LOG}?after={after}&wait={wait}", target.name, at.port());
            let request = self.client(&target.name, at)?.get(url).timeout(LOG_HOLD + CONNECT_TIMEOUT * 2);
            match receive(request, at).await {
                Ok(entries) => return Ok(entries),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Passes a proposal on. Tries every address, all within [`PROPOSE_TIMEOUT`].
    pub(super) async fn propose(&self, state: &State, command: &Command) -> Result<Accepted, ProposeError> {
        let target = self.target(state);
        let writer = state.writer().and_then(|writer| state.manager(writer));
        let no_writer = || ProposeError::NoWriter { writer: writer.map_or("1".to_owned(), |m| m.name.clone()) };
        let body = postcard::to_stdvec(command).map_err(|_| ProposeError::Storage)?;
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        for &at in &target.addresses {
            let url = format!("https://{}:{}{PROPOSE}", target.name, at.port());
            let Ok(client) = self.client(&target.name, at) else { continue };
            let answer = receive(client.post(url).body(body.clone()), at);
            match timeout_at(deadline, answer).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(error)) => tracing::info!(%error, "a proposal did not reach the writer"),
                Err(_) => break,
            }
        }
        Err(no_writer())
    }
}

async fn receive<T: serde::de::DeserializeOwned>(
    request: reqwest::RequestBuilder,
    at: SocketAddr,
) -> Result<T, PeerError> {
    let no_answer = |error: reqwest::Error| PeerError::NoAnswer { at, reason: innermost(&error) };
    let response = request.send().await.map_err(no_answer)?;
    let status = response.status();
    if !status.is_success() {
        let text = response.text().await.unwrap_or_default();
        return Err(PeerError::Status { at, status: status.as_u16(), text });
    }
    let body = response.bytes().await.map_err(no_answer)?;
    postcard::from_bytes(&body).map_err(|_| PeerError::Nonsense(at))
}

/// The outer errors only say that a request failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
