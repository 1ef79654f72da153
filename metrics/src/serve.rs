//! The listener: `/metrics`, `/healthz`, `/readyz` over HTTP, for a monitoring system.
//!
//! Tasks: [`serve`] accepts, and each connection has a task of its own. All may be cancelled at any point: they hold nothing.
//!
//! It is nobody's way to anything else, so it must never be in the way: what clients may use is bounded, one page is written at a
//! time, and a port that is taken stops nothing but this.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{sleep, timeout};

use crate::host::is_meant;
use crate::{Format, Page};

/// Clients at one time. A monitoring system keeps one connection.
const CONNECTIONS: usize = 32;
/// For the head of a request, which also bounds how long a connection is idle.
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// For an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept, which means that there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How soon a port that was taken is tried again.
const BIND_PAUSE: Duration = Duration::from_secs(5);

/// To who asks for some name.
const ASK_OTHERWISE: &str = "this listener is on loopback: ask for its address or for localhost, or configure it to listen at another address\n";

/// Who knows what is to be told.
pub trait Source: Send + Sync + 'static {
    /// Writes all metrics.
    fn write(&self, page: &mut Page) -> impl Future<Output = ()> + Send;

    /// Why the program can't do its work now, one line each; nothing if it can.
    fn problems(&self) -> impl Future<Output = Vec<String>> + Send;
}

/// Serves what `source` tells at `address`, as soon as that is free: on loopback, only to who asks for an address or for
/// `localhost`. Ends when it is dropped.
pub async fn serve(address: SocketAddr, source: impl Source) -> Infallible {
    let listener = bind(address).await;
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let shared = Arc::new(Shared { source, listener: address.ip(), turn: Mutex::new(()) });
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    converse(stream, &shared).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics can't be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn bind(address: SocketAddr) -> TcpListener {
    let mut reported: Option<io::ErrorKind> = None;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                tracing::info!(%address, "metrics are served");
                return listener;
            }
            Err(error) => {
                if reported.replace(error.kind()) != Some(error.kind()) {
                    tracing::error!(%address, %error, "metrics can't be served: free that address or configure another");
                }
                sleep(BIND_PAUSE).await;
            }
        }
    }
}

struct Shared<S> {
    source: S,
    listener: IpAddr,
    /// One page is written at a time.
    turn: Mutex<()>,
}

async fn converse<S: Source>(stream: TcpStream, shared: &Shared<S>) {
    // Without it an answer waits for the acknowledgement of what went before.
    let _ = stream.set_nodelay(true);
    let service = service_fn(async |request: Request<Incoming>| {
        let answer = timeout(ANSWER_TIMEOUT, answer(&request, shared)).await;
        Ok::<_, Infallible>(answer.unwrap_or_else(|_| plain(StatusCode::SERVICE_UNAVAILABLE, "it takes too long\n")))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_LIMIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for metrics broke"),
        // Who asks again makes another. Who reads nothing would keep its place for good.
        Err(_) => tracing::debug!("a connection for metrics lasted long enough"),
    }
}

async fn answer<S: Source>(request: &Request<Incoming>, shared: &Shared<S>) -> Response<Full<Bytes>> {
    let Shared { source, listener, turn } = shared;
    if !is_meant(*listener, request.headers()) {
        return plain(StatusCode::MISDIRECTED_REQUEST, ASK_OTHERWISE);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => {
            let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            let format = Format::accepted(&accepted.collect::<Vec<_>>().join(","));
            let _turn = turn.lock().await;
            let mut page = Page::new(format);
            source.write(&mut page).await;
            response(StatusCode::OK, format.content_type(), page.finish())
        }
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        "/readyz" => match source.problems().await {
            problems if problems.is_empty() => plain(StatusCode::OK, "ok\n"),
            problems => plain(StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n"),
        },
        _ => plain(StatusCode::NOT_FOUND, "here are /metrics, /healthz and /readyz\n"),
    }
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text.into())
}

fn response(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
