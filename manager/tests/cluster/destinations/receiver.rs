//! A receiver of webhooks on loopback that does as it is told.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use festoon_events::delivery::SigningSecret;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A request, and what it said.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) id: String,
    pub(super) timestamp: u64,
    pub(super) signatures: Vec<String>,
    pub(super) raw: Vec<u8>,
    pub(super) body: Value,
    /// Whether it was taken.
    pub(super) is_taken: bool,
}

impl Request {
    pub(super) fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    /// What was done, if it is an entry of the audit log.
    pub(super) fn action(&self) -> &str {
        self.body["data"]["details"]["action"].as_str().unwrap_or_default()
    }

    pub(super) fn endpoint(&self) -> Option<&str> {
        self.body["data"]["endpoint"].as_str()
    }

    pub(super) fn is_signed_with(&self, secret: &str) -> bool {
        let secret: SigningSecret = secret.parse().unwrap();
        self.signatures.contains(&secret.sign(&self.id, self.timestamp, &self.raw))
    }
}

#[derive(Debug, Default)]
struct Behaviour {
    /// The answer, and `Retry-After` in seconds. Nothing is an answer of 204.
    answer: Option<(u16, Option<u32>)>,
    requests: Vec<Request>,
}

/// The receiver. While it is down, nobody listens.
pub(super) struct Receiver {
    pub(super) at: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    server: JoinSet<()>,
}

impl Receiver {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut receiver = Self { at, behaviour: Arc::default(), server: JoinSet::new() };
        receiver.serve(listener);
        receiver
    }

    fn serve(&mut self, listener: TcpListener) {
        let routes = Router::new().fallback(receive).with_state(Arc::clone(&self.behaviour));
        self.server.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    }

    /// Connections are refused from now on.
    pub(super) async fn down(&mut self) {
        self.server.shutdown().await;
    }

    pub(super) async fn up(&mut self) {
        let listener = TcpListener::bind(self.at).await.unwrap();
        self.serve(listener);
    }

    pub(super) fn answers(&self, status: u16, retry_after_s: Option<u32>) {
        self.behaviour.lock().unwrap().answer = Some((status, retry_after_s));
    }

    pub(super) fn takes_all(&self) {
        self.behaviour.lock().unwrap().answer = None;
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook", self.at)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.behaviour.lock().unwrap().requests.clone()
    }

    /// What it took, each once, and how many it was given again.
    pub(super) fn taken(&self) -> (Vec<Request>, usize) {
        let (mut taken, mut again) = (Vec::new(), 0);
        let mut seen = std::collections::HashSet::new();
        for request in self.requests().into_iter().filter(|request| request.is_taken) {
            if seen.insert(request.id.clone()) { taken.push(request) } else { again += 1 }
        }
        (taken, again)
    }

    /// The names that each endpoint had, in the order in which they were told.
    pub(super) fn names(&self) -> BTreeMap<String, Vec<String>> {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for request in self.taken().0 {
            if let Some(endpoint) = request.endpoint() {
                let name = request.body["data"]["details"]["subject"]["name"].as_str().unwrap().to_owned();
                names.entry(endpoint.to_owned()).or_default().push(name);
            }
        }
        names
    }
}

async fn receive(State(behaviour): State<Arc<Mutex<Behaviour>>>, headers: HeaderMap, raw: Bytes) -> Response {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let mut behaviour = behaviour.lock().unwrap();
    let (status, retry_after) = behaviour.answer.unwrap_or((204, None));
    behaviour.requests.push(Request {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp").parse().unwrap(),
        signatures: header("webhook-signature").split(' ').map(str::to_owned).collect(),
        body: serde_json::from_slice(&raw).unwrap(),
        raw: raw.to_vec(),
        is_taken: status < 300,
    });
    let retry_after: Vec<_> = retry_after.map(|seconds| ("retry-after", seconds.to_string())).into_iter().collect();
    let mut response = StatusCode::from_u16(status).unwrap().into_response();
    for (name, value) in retry_after {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
