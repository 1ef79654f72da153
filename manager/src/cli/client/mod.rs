//! The way from a command to a manager: its HTTP API, over the admin socket of this machine or over HTTPS.
//!
//! Of several servers the next is asked when one does not answer, as long as nothing can happen twice by that: reading, and
//! creating with an idempotency key, can be asked again anywhere.

mod choose;
mod confirm;
mod error;
mod follow;
mod profile;
mod query;
mod server;
mod stream;
mod trust;

use std::future::poll_fn;
use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use data_encoding::HEXLOWER;
use festoon_api::{BASE, MAX_LIMIT, Page, Problem};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::SendRequest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

pub(super) use choose::Connection;
pub(super) use error::ClientError;
pub(super) use profile::{Credential, Profile, Profiles, Session as WebSession, Token};
pub(super) use query::{Query, escaped};
pub(super) use server::Server;
pub(super) use stream::{Told, follow};
pub(super) use trust::fingerprint_of;

use follow::Follower;
use server::Way;

const LIMIT: Duration = Duration::from_secs(10);
/// All endpoints are moved away, or the registry is written anew.
const LONG_LIMIT: Duration = Duration::from_secs(60);
/// How long managers that have too much to do are asked again, and how often. They may have let it wait for some seconds each time.
const PATIENCE: Duration = Duration::from_secs(30);
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// What they say then.
const BUSY: &str = "busy";
const AGENT: &str = concat!("festoon-manager/", env!("CARGO_PKG_VERSION"));
const MAX_ANSWER: usize = 64 * 1024 * 1024;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The way to the managers.
#[derive(Debug)]
pub(super) struct Client {
    ways: Vec<Way>,
    credential: Option<Credential>,
    limit: Duration,
    /// Who keeps which CAs are trusted; nobody on the admin socket.
    follower: Option<Follower>,
    /// The connection of the request before, and which way it is.
    open: Mutex<Option<(usize, SendRequest<Body>)>>,
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    method: Method,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Vec<u8>,
    /// Whether nothing comes of it if it is asked twice.
    is_repeatable: bool,
}

impl Ask {
    /// Without a body.
    pub(super) fn new(method: Method, path: &str) -> Self {
        let is_repeatable = method.is_safe();
        Self { method, path: path.to_owned(), headers: Vec::new(), body: Vec::new(), is_repeatable }
    }

    /// With this in JSON.
    pub(super) fn json(mut self, value: &impl Serialize) -> Result<Self, ClientError> {
        self.body = serde_json::to_vec(value).map_err(|_| ClientError::Nonsense)?;
        Ok(self.with(header::CONTENT_TYPE, "application/json"))
    }

    /// With this header. A value that can't be one is left out.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    fn request(&self, way: &Way, credential: Option<&Credential>) -> Result<Request<Body>, ClientError> {
        let mut request = Request::builder().method(&self.method).uri(&self.path).header(header::HOST, way.host());
        request = request.header(header::USER_AGENT, AGENT);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(credential) = credential {
            for (name, value) in credential.headers().ok_or(ClientError::BadCredential)? {
                request = request.header(name, value);
            }
        }
        request.body(Body::from(self.body.clone())).map_err(|_| ClientError::Nonsense)
    }
}

impl Client {
    /// For the manager that runs on the data directory `root`.
    pub(super) fn local(root: &Path) -> Self {
        Self::new(vec![Way::Socket(root.to_owned())], None)
    }

    /// For these servers, whose certificates come from one of the CAs `trusted`.
    pub(super) fn remote(
        servers: &[Server],
        trusted: &[festoon_proto::Fingerprint],
        credential: Option<Credential>,
    ) -> Self {
        let way = |server: &Server| Way::Server(server.clone(), trusted.to_vec());
        let follower = Follower::new(trusted);
        Self { follower, ..Self::new(servers.iter().map(way).collect(), credential) }
    }

    fn new(ways: Vec<Way>, credential: Option<Credential>) -> Self {
        Self { ways, credential, limit: LIMIT, follower: None, open: Mutex::default() }
    }

    /// For what takes its time.
    pub(super) fn patient(self) -> Self {
        Self { limit: LONG_LIMIT, ..self }
    }

    /// Whether it is a manager on this machine that is asked.
    pub(super) fn is_here(&self) -> bool {
        self.ways.iter().any(|way| matches!(way, Way::Socket(_)))
    }

    /// `GET`s `path`.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(&Ask::new(Method::GET, path)).await
    }

    /// Sends `value` to `path`.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        value: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.ask(&Ask::new(method, path).json(value)?).await
    }

    /// Creates what `value` says. If no answer comes it is asked again, at the next server, and is created once.
    pub(super) async fn create<T: DeserializeOwned>(
        &self,
        path: &str,
        value: &impl Serialize,
    ) -> Result<T, ClientError> {
        let key = HEXLOWER.encode(&rand::random::<[u8; 16]>());
        let ask = Ask::new(Method::POST, &api(path)).json(value)?.with(IDEMPOTENCY_KEY, &key);
        self.ask(&Ask { is_repeatable: true, ..ask }).await
    }

    /// Changes what is at `path`, if it is still of this version.
    pub(super) async fn change<T: DeserializeOwned>(
        &self,
        path: &str,
        version: u64,
        value: &impl Serialize,
    ) -> Result<T, ClientError> {
        let ask = Ask::new(Method::PATCH, &api(path)).json(value)?;
        self.ask(&ask.with(header::IF_MATCH, &format!("\"{version}\""))).await
    }

    /// Removes what is at `path`.
    pub(super) async fn remove(&self, path: &str) -> Result<(), ClientError> {
        self.ask(&Ask::new(Method::DELETE, &api(path))).await
    }

    /// All items of a list, page by page, or the first `most` of them.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        query: &Query,
        most: Option<usize>,
    ) -> Result<Vec<T>, ClientError> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let missing = most.map_or(usize::from(MAX_LIMIT), |most| most.saturating_sub(all.len()));
            if missing == 0 {
                return Ok(all);
            }
            let limit = missing.min(usize::from(MAX_LIMIT));
            let path = query.clone().with("limit", Some(limit)).with("cursor", cursor.as_ref());
            let page: Page<T> = self.get(&api(path.as_str())).await?;
            all.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// `GET`s `path` as text.
    pub(super) async fn text(&self, path: &str) -> Result<String, ClientError> {
        let answer = self.bytes(&Ask::new(Method::GET, path)).await?;
        String::from_utf8(answer).map_err(|_| ClientError::Nonsense)
    }

    /// `GET`s `path` and writes what comes to `output`, piece by piece. An answer that breaks off is an error.
    pub(super) async fn download(&self, path: &str, output: &mut impl Write) -> Result<(), ClientError> {
        // Of a refusal nothing is written.
        self.confirmed(async || {
            let copy = async {
                let mut body = self.open(&Ask::new(Method::GET, path)).await?.into_body();
                while let Some(piece) = next_piece(&mut body).await? {
                    output.write_all(&piece).map_err(ClientError::Output)?;
                }
                Ok(())
            };
            tokio::time::timeout(self.limit, copy).await.map_err(|_| ClientError::NoAnswer)?
        })
        .await
    }

    /// Asks, and reads the answer.
    pub(super) async fn ask<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, ClientError> {
        let answer = self.bytes(ask).await?;
        // An answer without a body is `()`.
        let answer = if answer.is_empty() { b"null" } else { &answer[..] };
        serde_json::from_slice(answer).map_err(|_| ClientError::Nonsense)
    }

    async fn bytes(&self, ask: &Ask) -> Result<Vec<u8>, ClientError> {
        self.confirmed(async || self.bytes_in_turn(ask).await).await
    }

    /// Managers that have too much to do say so before they do anything. They are asked again for a while.
    async fn bytes_in_turn(&self, ask: &Ask) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.bytes_once(ask).await {
                Err(ClientError::Refused(problem)) if problem.kind == BUSY => {
                    if Instant::now() + BUSY_PAUSE > deadline {
                        return Err(ClientError::Busy { problem, waited: PATIENCE });
                    }
                    // The manager asks for that: `Retry-After` is one second.
                    sleep(BUSY_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// A person who is asked in between may take as long as it takes.
    async fn bytes_once(&self, ask: &Ask) -> Result<Vec<u8>, ClientError> {
        let exchange = async { whole(self.open(ask).await?).await };
        tokio::time::timeout(self.limit, exchange).await.map_err(|_| ClientError::NoAnswer)?
    }

    /// Asks, and gives the answer before its body has come. A refusal is an error.
    pub(super) async fn open(&self, ask: &Ask) -> Result<Response<Incoming>, ClientError> {
        let mut open = self.open.lock().await;
        // The server that answered last comes first.
        let first = open.as_ref().map_or(0, |(way, _)| *way);
        let mut failures = Vec::new();
        for (at, way) in self.ways.iter().enumerate().cycle().skip(first).take(self.ways.len()) {
            let is_last = failures.len() + 1 == self.ways.len();
            let kept = open.take().filter(|(kept, _)| *kept == at).map(|(_, sender)| sender);
            match self.exchange(way, kept, ask).await {
                Ok((sender, response)) => {
                    *open = Some((at, sender));
                    if let Some(follower) = &self.follower {
                        follower.heed(response.headers());
                    }
                    match refusal(response).await {
                        Err(ClientError::Refused(problem)) if !is_last && may_know_better(ask, &problem) => {
                            failures.push(format!("{way}: {}", problem.title));
                        }
                        answer => return answer,
                    }
                }
                Err(ClientError::Unreachable(text)) => failures.push(text),
                Err(ClientError::NoAnswer) if ask.is_repeatable && !is_last => {
                    failures.push(format!("{way}: no answer"));
                }
                Err(error) => return Err(error),
            }
        }
        Err(ClientError::Unreachable(failures.join("; ")))
    }

    async fn exchange(
        &self,
        way: &Way,
        kept: Option<SendRequest<Body>>,
        ask: &Ask,
    ) -> Result<(SendRequest<Body>, Response<Incoming>), ClientError> {
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            match sender.send_request(ask.request(way, self.credential.as_ref())?).await {
                Ok(response) => return Ok((sender, response)),
                // It was closed meanwhile, and nothing was sent.
                Err(error) if error.is_canceled() || ask.is_repeatable => {}
                Err(_) => return Err(ClientError::NoAnswer),
            }
        }
        let mut sender = way.connect().await?;
        let request = ask.request(way, self.credential.as_ref())?;
        let response = sender.send_request(request).await.map_err(|_| ClientError::NoAnswer)?;
        Ok((sender, response))
    }
}

/// Where the API has `path`.
pub(super) fn api(path: &str) -> String {
    format!("{BASE}{path}")
}

/// Whether another manager may do what this one can't do now: one that is cut off, or about to stop.
fn may_know_better(ask: &Ask, problem: &Problem) -> bool {
    ask.is_repeatable && problem.status == StatusCode::SERVICE_UNAVAILABLE
}

async fn refusal(response: Response<Incoming>) -> Result<Response<Incoming>, ClientError> {
    if response.status().is_success() {
        return Ok(response);
    }
    Err(serde_json::from_slice(&whole(response).await?).map_or(ClientError::Nonsense, ClientError::Refused))
}

/// What comes next of a body; none at its end.
async fn next_piece(body: &mut Incoming) -> Result<Option<Vec<u8>>, ClientError> {
    match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        Some(Ok(frame)) => Ok(Some(frame.into_data().map(Vec::from).unwrap_or_default())),
        Some(Err(_)) => Err(ClientError::NoAnswer),
        None => Ok(None),
    }
}

pub(super) async fn whole(response: Response<Incoming>) -> Result<Vec<u8>, ClientError> {
    let body = to_bytes(Body::new(response.into_body()), MAX_ANSWER).await.map_err(|_| ClientError::NoAnswer)?;
    Ok(body.into())
}
