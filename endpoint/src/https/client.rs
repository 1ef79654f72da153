//! Requests to one manager.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use festoon_proto::Fingerprint;
use festoon_proto::epoch::EpochProof;
use festoon_proto::http::{
    AGENT_EPOCH, AGENT_JOIN, AGENT_LEAVE, AGENT_MAP, AGENT_ROTATE, AGENT_ROUTES, Credential, JoinRequest, JoinResponse,
    OfferRequest, Problem, RotateRequest,
};
use festoon_proto::map::{EndpointMap, ManagerInfo};
use httpdate::parse_http_date;
use reqwest::header::DATE;
use reqwest::tls::TlsInfo;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rustls::CertificateError;
use serde::de::DeserializeOwned;

use super::managers::Place;
use super::trust::tls_config;

/// Of an answer: a map of many managers and routes has less.
const MAX_ANSWER: usize = 4 << 20;
/// Of a refusal.
const MAX_REFUSAL: usize = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A manager did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nothing answers there.
    #[error("{manager}: {reason}")]
    Unreachable {
        /// Where.
        manager: SocketAddr,
        /// Why.
        reason: String,
        /// It may be there and have too much to do: it gave no answer in time, or closed the connection.
        may_pass: bool,
    },
    /// What answers is not a manager of this cluster.
    #[error("{manager}: it is not a manager of this cluster, or this host's clock is wrong: {reason}")]
    Untrusted {
        /// Where.
        manager: SocketAddr,
        /// What is wrong with its certificate.
        reason: String,
    },
    /// The manager understood and says no.
    #[error("{reason} (says the manager at {manager})")]
    Refused {
        /// Where.
        manager: SocketAddr,
        /// The HTTP status, 4xx.
        status: u16,
        /// In the manager's words.
        reason: String,
    },
    /// The manager is in trouble, or is none.
    #[error("{manager}: {reason}")]
    Failed {
        /// Where.
        manager: SocketAddr,
        /// What it said.
        reason: String,
    },
}

impl RequestError {
    /// Whether the same request may be answered soon.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Unreachable { may_pass: true, .. })
    }

    /// Whether the manager does not know the endpoint any more.
    pub fn is_removed(&self) -> bool {
        let removed = [StatusCode::UNAUTHORIZED.as_u16(), StatusCode::GONE.as_u16()];
        matches!(self, Self::Refused { status, .. } if removed.contains(status))
    }
}

impl RequestError {
    /// Whether the endpoint was removed for good, whatever its credential is.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::GONE.as_u16())
    }
}

/// What an answer tells beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// This host's time, in Unix seconds.
    pub now: i64,
    /// How many seconds its clock is ahead of the manager's, give or take one.
    pub clock_ahead_s: Option<i64>,
    /// When the manager's certificate ends, in Unix seconds.
    pub certificate_until: Option<i64>,
}

/// One request to one manager.
#[derive(Debug)]
pub struct Client {
    manager: SocketAddr,
    /// The name in its certificate.
    name: String,
    http: reqwest::Client,
}

impl Client {
    /// A client for this manager, which listens there, of the cluster that has these CAs.
    pub fn of_manager(
        manager: &ManagerInfo,
        at: SocketAddr,
        authorities: &[Fingerprint],
    ) -> Result<Self, RequestError> {
        Self::new(Place::of(manager, at), authorities)
    }

    /// A client for the manager in this place, of the cluster that has these CAs.
    pub(super) fn new(place: Place, authorities: &[Fingerprint]) -> Result<Self, RequestError> {
        let (manager, name) = (place.at, place.tls_name());
        let failed = |reason: String| RequestError::Failed { manager, reason };
        let tls = tls_config(authorities, place.signing_key).map_err(|error| failed(error.to_string()))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .resolve(&name, manager)
            // A proxy is not the customer's cluster, and the certificate would say so anyway.
            .no_proxy()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .tls_info(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { manager, name, http })
    }

    /// Fetches the act by which the epoch of the cluster began; none in the first. Shows no credential.
    pub(super) async fn epoch(self) -> Result<Option<EpochProof>, RequestError> {
        let response = self.send(self.request(Method::GET, AGENT_EPOCH)).await?;
        self.body(response).await
    }

    /// Asks to be let in.
    pub async fn join(self, request: &JoinRequest) -> Result<JoinResponse, RequestError> {
        let response = self.send(self.request(Method::POST, AGENT_JOIN).json(request)).await?;
        self.body(response).await
    }

    /// Fetches the newest map.
    pub async fn map(self, credential: &Credential) -> Result<EndpointMap, RequestError> {
        let request = self.request(Method::GET, AGENT_MAP).bearer_auth(credential.to_secret_string());
        let response = self.send(request).await?;
        self.body(response).await
    }

    /// Asks as for a map, to see whether the manager answers, what its clock says and how long its certificate is good.
    pub async fn check(self, credential: &Credential) -> Result<Checked, RequestError> {
        let request = self.request(Method::GET, AGENT_MAP).bearer_auth(credential.to_secret_string());
        let before = unix_seconds(clock());
        let response = self.send(request).await?;
        let now = unix_seconds(clock());
        let date = response
            .headers()
            .get(DATE)
            .and_then(|date| date.to_str().ok())
            .and_then(|date| parse_http_date(date).ok());
        // Of the two seconds between which the manager said it, the one that speaks for the clocks.
        let clock_ahead_s =
            date.map(unix_seconds).map(|date| if date < before { before - date } else { (now - date).min(0) });
        let certificate = response.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate);
        Ok(Checked { now, clock_ahead_s, certificate_until: certificate.and_then(ends_at) })
    }

    /// Says that the endpoint has a new key.
    pub async fn rotate_key(self, credential: &Credential, request: &RotateRequest) -> Result<(), RequestError> {
        let post = self.request(Method::POST, AGENT_ROTATE).bearer_auth(credential.to_secret_string()).json(request);
        self.send(post).await.map(drop)
    }

    /// Says which routes the endpoint offers.
    pub async fn offer(self, credential: &Credential, request: &OfferRequest) -> Result<(), RequestError> {
        let put = self.request(Method::PUT, AGENT_ROUTES).bearer_auth(credential.to_secret_string()).json(request);
        self.send(put).await.map(drop)
    }

    /// Leaves for good.
    pub async fn leave(self, credential: &Credential) -> Result<(), RequestError> {
        let request = self.request(Method::POST, AGENT_LEAVE).bearer_auth(credential.to_secret_string());
        self.send(request).await.map(drop)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let port = self.manager.port();
        self.http.request(method, format!("https://{}:{port}{path}", self.name))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, RequestError> {
        let response = request.send().await.map_err(|error| self.no_answer(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let problem = read(response, MAX_REFUSAL).await.ok().flatten();
        let problem =
            problem.and_then(|body| serde_json::from_slice::<Problem>(&body).ok()).map(|problem| problem.title);
        let reason = problem.unwrap_or_else(|| format!("it answers with HTTP status {status}"));
        let (manager, client_error) = (self.manager, status.is_client_error());
        // Too many requests is the one refusal that time cures.
        Err(if client_error && status != StatusCode::TOO_MANY_REQUESTS {
            RequestError::Refused { manager, status: status.as_u16(), reason }
        } else {
            RequestError::Failed { manager, reason }
        })
    }

    async fn body<T: DeserializeOwned>(&self, response: Response) -> Result<T, RequestError> {
        let body = read(response, MAX_ANSWER).await.map_err(|error| self.no_answer(&error))?;
        body.and_then(|body| serde_json::from_slice(&body).ok()).ok_or_else(|| {
            let reason = "its answer makes no sense here: run the same version of Festoon on both".to_owned();
            RequestError::Failed { manager: self.manager, reason }
        })
    }

    fn no_answer(&self, error: &reqwest::Error) -> RequestError {
        let manager = self.manager;
        if let Some(certificate) = certificate_error(error) {
            return RequestError::Untrusted { manager, reason: certificate.to_string() };
        }
        let reason = if error.is_timeout() { "no answer in time".into() } else { innermost(error).to_string() };
        RequestError::Unreachable { manager, reason, may_pass: error.is_timeout() || is_closed(error) }
    }
}

/// The body of an answer, of `most` bytes at most; `None` if there is more.
async fn read(mut response: Response, most: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(Some(body))
}

#[expect(clippy::disallowed_methods, reason = "the shell compares clocks")]
fn clock() -> SystemTime {
    SystemTime::now()
}

fn unix_seconds(time: SystemTime) -> i64 {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// When a certificate in DER ends, in Unix seconds.
fn ends_at(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// All errors from `error` to its deepest cause. An `io::Error` hides the one inside it from `source()`.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner as &(dyn Error + 'static)),
        None => error.source(),
    })
}

fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    causes(error).last().unwrap_or(error)
}

/// Whether the other end was there and then closed the connection.
fn is_closed(error: &reqwest::Error) -> bool {
    let closed = [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe];
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| closed.contains(&cause.kind()))
}

fn certificate_error(error: &reqwest::Error) -> Option<&CertificateError> {
    causes(error).find_map(|cause| match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(certificate)) => Some(certificate),
        _ => None,
    })
}
