//! Connections that are open when their holder is removed, and how soon they are closed, at every manager.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use festoon_events::Cursor;
use festoon_manager::data_dir::{DataDir, TLS_IDENTITY};
use festoon_manager::pki::{CLUSTER_ALPN, CONSENSUS_ALPN, TlsIdentity, client_config};
use festoon_proto::address::{MANAGER_TLS_NAME, cluster_tls_name};
use festoon_proto::http::{AGENT_LEAVE, AGENT_MAP, AGENT_ROTATE, RotateRequest};
use festoon_proto::token::SecretHash;
use festoon_proto::{Fingerprint, ManagerId, PublicKey};
use reqwest::Method;
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::harness::{Agent, Manager, until};
use super::two_managers;
use super::web::{PASSWORD, Web};

/// How long after the acknowledgement a connection may be open.
const SOON: Duration = Duration::from_secs(1);
/// Longer than a manager keeps an idle connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that somebody keeps open.
struct Kept(TlsStream<TcpStream>);

impl Kept {
    async fn open(manager: &Manager, config: ClientConfig, name: String) -> Self {
        let connector = TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(manager.https).await.unwrap();
        Self(connector.connect(name.try_into().unwrap(), stream).await.unwrap())
    }

    /// As anybody, who believes this CA.
    async fn of_anybody(manager: &Manager, ca: Fingerprint) -> Self {
        Self::open(manager, client_config(&[ca], None).unwrap(), MANAGER_TLS_NAME.to_owned()).await
    }

    async fn send(&mut self, head: &str, body: &str) {
        let fields = format!("host: {MANAGER_TLS_NAME}\r\ncontent-length: {}", body.len());
        self.0.write_all(format!("{head}\r\n{fields}\r\n\r\n{body}").as_bytes()).await.unwrap();
    }

    /// The head of an answer, which must be there soon, and so much of the body as came with it.
    async fn head(&mut self) -> String {
        let mut answer = Vec::new();
        while !String::from_utf8_lossy(&answer).contains("\r\n\r\n") {
            let mut part = [0; 4096];
            let read = timeout(PATIENCE, self.0.read(&mut part)).await.unwrap().unwrap();
            assert!(read > 0, "closed after {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&part[..read]);
        }
        String::from_utf8(answer).unwrap()
    }

    /// Sends a request that must be answered well, and gives the body.
    async fn ask(&mut self, head: &str, body: &str) -> String {
        self.send(head, body).await;
        let answer = self.head().await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let (fields, begun) = answer.split_once("\r\n\r\n").unwrap();
        let length = fields.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut more = vec![0; length.parse::<usize>().unwrap() - begun.len()];
        self.0.read_exact(&mut more).await.unwrap();
        format!("{begun}{}", String::from_utf8(more).unwrap())
    }

    /// Tells when the other end closes it.
    fn watched(mut self, what: String) -> Watched {
        let closed = tokio::spawn(async move {
            let mut rest = Vec::new();
            // A connection that is cut off in the middle of an answer is closed too.
            let ended = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "it stays open");
            Instant::now()
        });
        Watched { what, closed }
    }
}

struct Watched {
    what: String,
    closed: JoinHandle<Instant>,
}

/// Every one of these is closed soon after what ends them was acknowledged.
async fn all_close_after(acknowledged: Instant, all: Vec<Watched>) {
    for Watched { what, closed } in all {
        let after = closed.await.unwrap().saturating_duration_since(acknowledged);
        assert!(after <= SOON, "{what}: open for {after:?}");
    }
}

fn tls_of(manager: &Manager, ca: Fingerprint) -> ClientConfig {
    let pem = DataDir::open(&manager.root).unwrap().read(TLS_IDENTITY).unwrap();
    let mut config = client_config(&[ca], Some(&TlsIdentity::from_pem(&pem).unwrap())).unwrap();
    config.alpn_protocols = vec![CLUSTER_ALPN.to_vec()];
    config
}

/// The preface of HTTP/2 (RFC 9113, section 3.4): a fixed text, and a frame with no settings.
const HTTP2_BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const EVENTS: &str = "POST /cluster/v1/events HTTP/1.1";

fn question(after: &str, waits: bool) -> String {
    json!({"after": after, "of": ManagerId(1), "waits": waits}).to_string()
}

#[tokio::test]
async fn those_of_a_removed_manager() {
    let (first, second) = two_managers().await;
    let mut third = Manager::join("m3", &first).await;
    let ca = first.token(&[]).ca_fingerprint;
    // Somebody has its files. It is dead itself: it would end by itself.
    let stolen = tls_of(&third, ca);
    until("three vote", || first.must(&["status"]).contains("one more manager may fail")).await;
    third.kill();
    until("it is missed", || first.status()["managers"][2]["state"] == "down").await;
    let mut watched = Vec::new();
    for (id, manager) in [(1, &first), (2, &second)] {
        let open = || Kept::open(manager, stolen.clone(), cluster_tls_name(ManagerId(id)));
        watched.push(open().await.watched(format!("a silent one at m{id}")));
        let mut idle = open().await;
        let told: Value =
            serde_json::from_str(&idle.ask(EVENTS, &question(&Cursor::default().to_string(), false)).await).unwrap();
        watched.push(idle.watched(format!("an idle one at m{id}")));
        let mut waiting = open().await;
        waiting.send(EVENTS, &question(told["told"].as_str().unwrap(), true)).await;
        watched.push(waiting.watched(format!("one that waits for an answer at m{id}")));
        let mut config = stolen.clone();
        config.alpn_protocols = vec![CONSENSUS_ALPN.to_vec()];
        let mut consensus = Kept::open(manager, config, cluster_tls_name(ManagerId(id))).await;
        consensus.0.write_all(HTTP2_BEGINNING).await.unwrap();
        watched.push(consensus.watched(format!("one of consensus at m{id}")));
    }
    first.must(&["managers", "remove", "m3", "--yes"]);
    all_close_after(Instant::now(), watched).await;
    // Another connection is good for a refusal, which says why, and no more.
    let mut again = Kept::open(&first, stolen, cluster_tls_name(ManagerId(1))).await;
    again.send(EVENTS, &question(&Cursor::default().to_string(), false)).await;
    let refused = again.head().await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    all_close_after(Instant::now(), vec![again.watched("a new one".to_owned())]).await;
}

#[tokio::test]
async fn those_of_an_endpoint_whose_credential_is_good_no_more() {
    let (first, second) = two_managers().await;
    for (number, way) in (1..).zip(["remove", "disable", "leave", "rotate-key"]) {
        let token = first.token(&[]);
        let agent = Agent::new(number, &token);
        let endpoint = agent.join(first.https, &token).await.unwrap().map.endpoint;
        agent.map(second.https, endpoint).await.unwrap();
        let bearer = agent.credential(endpoint).to_secret_string();
        let mut watched = Vec::new();
        for (manager, name) in [(&first, "m1"), (&second, "m2")] {
            let mut kept = Kept::of_anybody(manager, token.ca_fingerprint).await;
            kept.ask(&format!("GET {AGENT_MAP} HTTP/1.1\r\nauthorization: Bearer {bearer}"), "").await;
            watched.push(kept.watched(format!("{way} at {name}")));
        }
        match way {
            "leave" => {
                let leave =
                    agent.request(second.https, |client, url| client.post(url + AGENT_LEAVE).bearer_auth(&bearer));
                assert_eq!(leave.send().await.unwrap().status(), 204, "it hears that it has left");
            }
            "rotate-key" => {
                let (public_key, credential_hash) = (PublicKey::from_bytes([99; 32]), SecretHash([9; 32]));
                let other = RotateRequest { public_key, credential_hash, overlap_s: 3600 };
                let rotate = agent.request(first.https, |client, url| {
                    client.post(url + AGENT_ROTATE).json(&other).bearer_auth(&bearer)
                });
                assert_eq!(rotate.send().await.unwrap().status(), 204);
            }
            way => drop(first.must(&["endpoints", way, &endpoint.to_string(), "--yes"])),
        }
        all_close_after(Instant::now(), watched).await;
    }
}

/// Who uses the API, with what it shows: one header.
struct User {
    header: String,
    ca: Fingerprint,
}

impl User {
    fn with_token(made: &Value, ca: Fingerprint) -> Self {
        Self { header: format!("authorization: Bearer {}", made["secret"].as_str().unwrap()), ca }
    }

    fn with_session(web: &Web, ca: Fingerprint) -> Self {
        Self { header: format!("cookie: {}", web.shows.cookie.as_ref().unwrap()), ca }
    }

    /// One connection after a request, and one on which events are told, at each of these.
    async fn keeps(&self, managers: [&Manager; 2], what: &str) -> Vec<Watched> {
        let mut watched = Vec::new();
        for (manager, name) in managers.into_iter().zip(["m1", "m2"]) {
            let mut idle = Kept::of_anybody(manager, self.ca).await;
            idle.ask(&format!("GET /api/v1/session HTTP/1.1\r\n{}", self.header), "").await;
            watched.push(idle.watched(format!("{what}: an idle one at {name}")));
            let mut stream = Kept::of_anybody(manager, self.ca).await;
            let head = format!("GET /api/v1/events HTTP/1.1\r\n{}\r\naccept: text/event-stream", self.header);
            stream.send(&head, "").await;
            assert!(stream.head().await.starts_with("HTTP/1.1 200 "));
            watched.push(stream.watched(format!("{what}: a stream at {name}")));
        }
        watched
    }
}

#[tokio::test]
async fn those_of_users_and_programs() {
    let (first, second) = two_managers().await;
    let (both, ca) = ([&first, &second], first.token(&[]).ca_fingerprint);
    let root = Web::of(&first).set_up(&first).await;
    let known = async || until("the other has it", || second.status()["version"] == first.status()["version"]).await;
    let token = async |more: Value| {
        let mut wanted = json!({"name": "program", "role": "viewer"});
        wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = root.post("/api-tokens", wanted).await;
        known().await;
        made
    };
    let change = async |id: &Value, update: Value| {
        let patch = root.request(Method::PATCH, &format!("/users/{}", id.as_str().unwrap())).header("if-match", "*");
        assert_eq!(patch.json(&update).send().await.unwrap().status(), 200);
        Instant::now()
    };

    let made = token(json!({})).await;
    let watched = User::with_token(&made, ca).keeps(both, "a removed token").await;
    let path = format!("/api-tokens/{}", made["api_token"]["id"].as_str().unwrap());
    root.must(Method::DELETE, &path, None, 204).await;
    all_close_after(Instant::now(), watched).await;

    let made = token(json!({"expires_in_s": 4})).await;
    let watched = User::with_token(&made, ca).keeps(both, "an expired token").await;
    let expires: jiff::Timestamp = made["api_token"]["expires"].as_str().unwrap().parse().unwrap();
    let left = SystemTime::from(expires).duration_since(SystemTime::now()).unwrap_or_default();
    all_close_after(Instant::now() + left, watched).await;

    for (name, update) in [("ann", json!({"enabled": false})), ("bob", json!({"role": "admin"}))] {
        let user = root.post("/users", json!({"name": name, "role": "operator", "password": PASSWORD})).await;
        let token = token(json!({"user": user["id"], "role": "operator"})).await;
        let web = Web::of(&first).logged_in(name, PASSWORD, None).await;
        known().await;
        let mut watched = User::with_session(&web, ca).keeps(both, &format!("a session: {update}")).await;
        let of_token = User::with_token(&token, ca).keeps(both, &format!("a token: {update}")).await;
        if name == "ann" {
            watched.extend(of_token);
        }
        let acknowledged = change(&user["id"], update).await;
        all_close_after(acknowledged, watched).await;
    }

    let elsewhere = Web::of(&second).logged_in("root", PASSWORD, None).await;
    known().await;
    until("the first has it", || first.status()["version"] == second.status()["version"]).await;
    let watched = User::with_session(&elsewhere, ca).keeps(both, "a session that is logged out").await;
    elsewhere.must(Method::DELETE, "/session", None, 204).await;
    let acknowledged = Instant::now();
    // Whoever asks again on the same connection is refused there, and not cut off.
    assert_eq!(elsewhere.refused(Method::GET, "/session", None).await, (401, "session-ended".to_owned()));
    all_close_after(acknowledged, watched).await;
}
