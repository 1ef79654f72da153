//! The HTTPS listener: agents, other managers, and the API.
//!
//! Every connection is a task of its own, from the TLS handshake on, so a slow client holds up nobody. What a client may
//! use is bounded: connections (see `places`), time for the handshake, for a request's head (HTTP/1.1) and for a whole request, size
//! of a body. A connection ends when whoever uses it may not any more (see `ending`).

mod body;
mod ending;
mod holder;
mod lately;
mod later;
mod movable;
mod places;
mod refused;
pub mod route;
mod tarpit;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::{BoxError, Extension, Router};
use festoon_control::registry::State;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use body::ApiJson;
pub use ending::Ending;
pub use holder::Holder;
pub use later::Later;
pub use refused::{PROBLEM_JSON, Refused};

use crate::cluster::{Cluster, Threads};
use crate::pki::{CLUSTER_ALPN, CONSENSUS_ALPN, Credentials, Tied};
use ending::{Connection, Connections};
use holder::certified_until;
use movable::Movable;
use places::{Ended, Place, Places};
use tarpit::Tarpit;

/// Two round trips around the world, and then some.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than any request takes by design: the log is held for 5 seconds.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// A connection whose other end takes nothing for so long is given up, also if it says that it still lives.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// When the holder of a connection may not use it any more: for how long one more request is answered on it, with a refusal, and
/// how long the answer that is then under way may take. That may be the one to its own removal, and whoever has just been
/// answered may be sending the next request.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// Says that this is the last answer on a connection.
const CLOSE: HeaderValue = HeaderValue::from_static("close");
/// A pause after a failed accept, which means that we are out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often a connection of consensus is tried (HTTP/2 ping), and how long the other end may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests at a time on one connection of consensus: those of all changes that a manager has under way, and some.
const MOST_STREAMS: u32 = 256;
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
    /// What ties that certificate to a manager; none if nothing does.
    pub tied: Option<Arc<Tied>>,
    place: Arc<Place>,
    connection: Arc<Connection>,
}

impl Peer {
    /// A request showed who is at the other end: an agent, or whoever may use the API. From now on the connection gives way
    /// to nobody, and others from its address have room apart from strangers. It ends when `holder` may not use it any more.
    pub fn prove(&self, holder: Holder) {
        self.place.prove(Instant::now());
        self.connection.hold(holder);
    }

    /// Tells when whoever is at the other end may not use the connection any more.
    pub fn ending(&self) -> Ending {
        self.connection.ending()
    }
}

/// The hosts from which somebody proved lately who it is, and whose connections have room apart from strangers. A clone is the
/// same.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts(Places);

impl KnownHosts {
    /// Somebody proved it in another way than over HTTPS, as by a tunnel.
    pub fn note(&self, from: IpAddr) {
        self.0.note(from, Instant::now());
    }
}

/// What the listener serves.
#[derive(Debug, Clone)]
pub struct Routes {
    /// To everybody: agents, newcomers and the API.
    pub everybody: Router,
    /// To managers, which ask for it with [`CLUSTER_ALPN`] and show a certificate.
    pub managers: Router,
    /// To managers, what they ask with [`CONSENSUS_ALPN`]. Answered on threads of its own.
    pub consensus: Router,
}

impl Routes {
    fn layered(self) -> Self {
        let layer =
            |routes: Router| routes.layer(DefaultBodyLimit::max(MAX_BODY)).layer(middleware::from_fn(bound_time));
        Self { everybody: layer(self.everybody), managers: layer(self.managers), consensus: layer(self.consensus) }
    }
}

/// Connections that the kernel holds until they are taken: when there is no room, whoever comes tries again after a second.
const BACKLOG: u32 = 4096;

/// The listener, bound.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    credentials: Credentials,
    places: Places,
    connections: Connections,
    tarpit: Tarpit,
    members: Members,
}

/// Who is served on the threads of consensus.
#[derive(Debug, Clone)]
pub struct Members {
    /// Those threads.
    pub threads: Threads,
    /// Says who is a member.
    pub states: watch::Receiver<Arc<State>>,
}

impl Members {
    /// Whoever was removed, and still holds a certificate, is refused on the ordinary threads.
    fn have(&self, certificate: &CertificateDer<'_>) -> bool {
        certified_until(certificate, &self.states.borrow()).is_some()
    }
}

/// Binds the listener. `port` is that of the registry. Must run inside tokio.
pub fn build(config: &Config, port: u16, credentials: &Credentials, members: Members) -> io::Result<Server> {
    let listener = match config.listen {
        Some(at) => bind(at)?,
        // A host may have no IPv6 at all.
        None => match bind((Ipv6Addr::UNSPECIFIED, port).into()) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => bind((Ipv4Addr::UNSPECIFIED, port).into())?,
            bound => bound?,
        },
    };
    let tarpit = Tarpit::new(raise_file_limit());
    let (places, connections) = (Places::default(), Connections::default());
    Ok(Server { listener, credentials: credentials.clone(), places, connections, tarpit, members })
}

fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The connections of a manager that was just stopped may still be closing.
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// As many open files as the system lets this process have, which it returns: a connection is one. A shell often gives 1,024.
fn raise_file_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
    maximum
}

impl Server {
    /// The hosts whose connections have room apart from strangers.
    pub fn known_hosts(&self) -> KnownHosts {
        KnownHosts(self.places.clone())
    }

    /// Keeps ending the connections of those who may not use them any more. Ends with the registry. May be cancelled at any
    /// time.
    pub fn keep_ending(&self, cluster: Cluster) -> impl Future<Output = ()> + Send + use<> {
        self.connections.clone().keep_ending(cluster)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves `routes` until it is dropped; the connections end with it only when the program does.
    pub async fn run(self, routes: Routes) {
        let served = Served { routes: routes.layered(), connections: self.connections.clone(), members: self.members };
        loop {
            match self.listener.accept().await {
                Ok((stream, remote)) => {
                    let Some((place, ended)) = self.places.enter(remote.ip(), Instant::now()) else {
                        tracing::debug!(%remote, "one host has too many connections: another is not taken");
                        continue;
                    };
                    let acceptor = TlsAcceptor::from(Arc::clone(&self.credentials.now().server));
                    let served = (served.clone(), self.tarpit.clone());
                    tokio::spawn(serve(stream, remote, acceptor, served, (place, ended)));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn bound_time(request: Request, next: Next) -> Response {
    let ending = request.extensions().get().map(Peer::ending);
    let response = timeout(REQUEST_TIMEOUT, next.run(request)).await;
    let mut response = response.unwrap_or_else(|_| Refused::timeout().into_response());
    if ending.is_some_and(|ending| ending.has_come()) {
        response.headers_mut().insert(header::CONNECTION, CLOSE);
    }
    response
}

/// What connections are served with.
#[derive(Debug, Clone)]
struct Served {
    routes: Routes,
    connections: Connections,
    members: Members,
}

/// One connection. Ends when the client closes it or takes too long, or when another needs its place.
async fn serve(
    stream: TcpStream,
    remote: SocketAddr,
    tls: TlsAcceptor,
    (served, tarpit): (Served, Tarpit),
    (place, mut ended): (Place, Ended),
) {
    // Without it an answer waits for the acknowledgement of what went before.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(SILENCE_LIMIT));
    // Where nothing is sent, only this shows that the other end has lost power.
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE_LIMIT));
    // Whoever is known and has too many at once is to hear so at once, and tries again.
    let held = if place.is_of_stranger() { tarpit::hold(&stream) } else { None };
    let mut stream = tokio::select! {
        biased;
        shaken = timeout(HANDSHAKE_TIMEOUT, tls.accept(Movable::new(stream))) => match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%remote, %error, "a TLS handshake failed"),
            Err(_) => return tracing::debug!(%remote, "a TLS handshake took too long"),
        },
        _ = &mut ended => {
            tracing::debug!(%remote, "a TLS handshake gave way to another");
            return tarpit.keep(held).await;
        }
    };
    drop(held);
    let Some(protocol) = Protocol::of(&stream) else {
        return tracing::debug!(%remote, "somebody asks as a manager and shows no certificate");
    };
    let members = Some(served.members.clone());
    let members =
        members.filter(|members| protocol == Protocol::Consensus && shown(&stream).is_some_and(|it| members.have(it)));
    let moved = members.as_ref().map(|_| stream.get_mut().0.leave());
    let conversation = async move {
        if let Some(moved) = moved
            && let Err(error) = moved.and_then(|moved| stream.get_mut().0.settle(moved))
        {
            return tracing::warn!(%remote, %error, "a connection can't go on");
        }
        tokio::select! {
            () = converse(stream, remote, protocol, served, place) => {}
            _ = ended => tracing::debug!(%remote, "a connection gave way to another"),
        }
    };
    match members {
        Some(members) => members.threads.spawn(conversation),
        None => conversation.await,
    }
}

/// The certificate that was shown.
fn shown(stream: &Stream) -> Option<&CertificateDer<'static>> {
    stream.get_ref().1.peer_certificates().and_then(|chain| chain.first())
}

/// What is spoken on a connection, which the client chooses (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Everybody,
    Managers,
    Consensus,
}

impl Protocol {
    /// None if whoever chose it would have to show a certificate.
    fn of(stream: &Stream) -> Option<Self> {
        let tls = stream.get_ref().1;
        let chosen = match tls.alpn_protocol() {
            Some(CLUSTER_ALPN) => Self::Managers,
            Some(CONSENSUS_ALPN) => Self::Consensus,
            _ => Self::Everybody,
        };
        (chosen == Self::Everybody || shown(stream).is_some()).then_some(chosen)
    }

    fn routes(self, routes: Routes) -> Router {
        match self {
            Self::Everybody => routes.everybody,
            Self::Managers => routes.managers,
            Self::Consensus => routes.consensus,
        }
    }

    /// Requests of consensus share connections (HTTP/2), so that a thousand changes at once need no thousand handshakes.
    fn http(self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(PING_INTERVAL))
            .keep_alive_timeout(PING_TIMEOUT);
        // After a pause of this program many requests may be given up that it has not seen yet.
        builder
            .http2()
            .max_concurrent_streams(MOST_STREAMS)
            .max_pending_accept_reset_streams(Some(MOST_STREAMS as usize));
        if self == Self::Consensus { builder } else { builder.http1_only() }
    }
}

type Stream = TlsStream<Movable>;

async fn converse(stream: Stream, remote: SocketAddr, protocol: Protocol, served: Served, place: Place) {
    let certificate = shown(&stream).cloned();
    if !place.open(certificate.is_some(), Instant::now()) {
        return tracing::debug!(%remote, "too many connections: another is not taken");
    }
    let certificate = certificate.map(CertificateDer::into_owned);
    let tied = certificate.as_ref().and_then(Tied::read).map(Arc::new);
    let connection = Arc::new(served.connections.add(certificate.clone()));
    let ending = connection.ending();
    let peer = Peer { remote, certificate, tied, place: Arc::new(place), connection };
    let routes = protocol.routes(served.routes).layer(Extension(peer));
    let http = protocol.http();
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    if let Err(error) = answer(pin!(connection), ending).await {
        tracing::debug!(%remote, %error, "a connection broke");
    }
}

type Answering<'a> = auto::Connection<'a, TokioIo<Stream>, TowerToHyperService<Router>, TokioExecutor>;

/// Answers requests until the client closes the connection, or its holder may not use it any more.
async fn answer(mut connection: Pin<&mut Answering<'_>>, ending: Ending) -> Result<(), BoxError> {
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = ending.wait() => {}
    }
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = sleep(LAST_WORDS) => connection.as_mut().graceful_shutdown(),
    }
    // Whatever is still under way is cut off.
    timeout(LAST_WORDS, connection).await.unwrap_or(Ok(()))
}
