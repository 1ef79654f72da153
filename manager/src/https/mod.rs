//! The HTTPS listener: agents, other managers, and the API.
//!
//! Every connection is a task of its own, from the TLS handshake on, so a slow client holds up nobody. What a client may
//! use is bounded: connections, of all and of one host, time for the handshake, for a request's head and for a whole request, size of a body.

mod body;
mod later;
mod refused;
mod sites;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

pub use body::ApiJson;
pub use later::Later;
pub use refused::{PROBLEM_JSON, Refused};

use crate::pki::{CLUSTER_ALPN, Credentials};
use sites::{Counted, Sites};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than any request takes by design: the log is held for 5 seconds.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_CONNECTIONS: usize = 4096;
/// Of those without a certificate, so that managers always come through.
const MAX_STRANGERS: usize = 3584;
/// A connection whose other end takes nothing for so long is given up, also if it says that it still lives.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// A pause after a failed accept, which means that we are out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// More than any stranger has to say. What he says may end in the log, as a change that is refused, and some hundred of those
/// must fit into one question of consensus.
const MAX_BODY: usize = 16 * 1024;

/// Of the HTTPS listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen. By default on all addresses, on the port that the registry names for this manager.
    pub listen: Option<SocketAddr>,
    /// What the managers are called besides the names and addresses in the registry, as by a load balancer: requests to the
    /// API that name another host are refused.
    pub names: Vec<String>,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where from.
    pub remote: SocketAddr,
    /// Its certificate, which a CA of the cluster signed and which may have expired; none if it showed none.
    pub certificate: Option<CertificateDer<'static>>,
}

/// What the listener serves.
#[derive(Debug, Clone)]
pub struct Routes {
    /// To everybody: agents, newcomers and the API.
    pub everybody: Router,
    /// To managers, which ask for it with [`CLUSTER_ALPN`] and show a certificate.
    pub managers: Router,
}

impl Routes {
    fn layered(self) -> Self {
        let layer = |routes: Router| routes.layer(DefaultBodyLimit::max(MAX_BODY)).layer(middleware::from_fn(bound_time));
        Self { everybody: layer(self.everybody), managers: layer(self.managers) }
    }
}

/// The listener, bound.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    credentials: Credentials,
}

/// Binds the listener. `port` is that of the registry.
pub async fn build(config: &Config, port: u16, credentials: &Credentials) -> io::Result<Server> {
    let listener = match config.listen {
        Some(at) => TcpListener::bind(at).await?,
        // A host may have no IPv6 at all.
        None => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?
            }
            bound => bound?,
        },
    };
    Ok(Server { listener, credentials: credentials.clone() })
}

impl Server {
    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves `routes` until it is dropped; the connections end with it only when the program does.
    pub async fn run(self, routes: Routes) {
        let routes = routes.layered();
        let (slots, sites) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), Sites::default());
        let strangers = Arc::new(Semaphore::new(MAX_STRANGERS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, remote)) => {
                    let Some(counted) = sites.count(remote.ip()) else {
                        tracing::debug!(%remote, "one host has too many connections: another is not taken");
                        continue;
                    };
                    let acceptor = TlsAcceptor::from(Arc::clone(&self.credentials.now().server));
                    let place = Place { _slot: slot, _site: counted, strangers: Arc::clone(&strangers) };
                    tokio::spawn(serve(stream, remote, acceptor, routes.clone(), place));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn bound_time(request: Request, next: Next) -> Response {
    match timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refused::timeout().into_response(),
    }
}

/// What a connection takes up.
struct Place {
    _slot: OwnedSemaphorePermit,
    _site: Counted,
    strangers: Arc<Semaphore>,
}

/// One connection. Ends when the client closes it or takes too long.
async fn serve(stream: TcpStream, remote: SocketAddr, tls: TlsAcceptor, routes: Routes, place: Place) {
    // Without it an answer waits for the acknowledgement of what went before.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(SILENCE_LIMIT));
    let stream = match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%remote, %error, "a TLS handshake failed"),
        Err(_) => return tracing::debug!(%remote, "a TLS handshake took too long"),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
    let _stranger = match (&certificate, Arc::clone(&place.strangers).try_acquire_owned()) {
        (Some(_), _) => None,
        (None, Ok(permit)) => Some(permit),
        (None, Err(_)) => return tracing::debug!(%remote, "too many connections: another is not taken"),
    };
    let is_manager = stream.get_ref().1.alpn_protocol() == Some(CLUSTER_ALPN);
    let routes = match (is_manager, &certificate) {
        (true, Some(_)) => routes.managers,
        (true, None) => return tracing::debug!(%remote, "somebody asks as a manager and shows no certificate"),
        (false, _) => routes.everybody,
    };
    let routes = routes.layer(Extension(Peer { remote, certificate: certificate.map(CertificateDer::into_owned) }));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    if let Err(error) = connection.await {
        tracing::debug!(%remote, %error, "a connection broke");
    }
}
