//! What strangers can't do at the HTTPS listener: fill memory or the log, or hold up others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use festoon_manager::pki::client_config;
use festoon_proto::address::MANAGER_TLS_NAME;
use festoon_proto::http::{AGENT_JOIN, AGENT_LEAVE, MANAGER_JOIN};
use festoon_proto::{EndpointId, Fingerprint};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::harness::{Agent, Manager};

/// Sends the head of a request with a body of this length, and so much of the body. Gives the answer's first bytes.
async fn post(at: SocketAddr, ca: Fingerprint, path: &str, length: usize, sent: usize) -> String {
    let connector = TlsConnector::from(Arc::new(client_config(&[ca], None).unwrap()));
    let stream = TcpStream::connect(at).await.unwrap();
    let mut stream = connector.connect(MANAGER_TLS_NAME.try_into().unwrap(), stream).await.unwrap();
    let fields = format!("host: {MANAGER_TLS_NAME}\r\ncontent-type: application/json\r\ncontent-length: {length}");
    let request = format!("POST {path} HTTP/1.1\r\n{fields}\r\n\r\n{}", " ".repeat(sent));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 64];
    let read = timeout(Duration::from_secs(5), stream.read(&mut answer)).await;
    assert!(read.is_ok(), "{path} waits for more");
    String::from_utf8_lossy(&answer[..read.unwrap().unwrap()]).into_owned()
}

#[tokio::test]
async fn only_managers_may_send_what_is_large() {
    let manager = Manager::init("m1").started().await;
    let ca = manager.token(&[]).ca_fingerprint;
    for (path, sent, status) in [
        ("/cluster/v1/ask", 0, "404 Not Found"),
        ("/cluster/v1/renew", 0, "404 Not Found"),
        (MANAGER_JOIN, 17_000, "413 Payload Too Large"),
        (AGENT_JOIN, 17_000, "413 Payload Too Large"),
    ] {
        let answer = post(manager.https, ca, path, 200_000, sent).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
}

#[tokio::test]
async fn clients_that_never_finish_a_handshake_hold_up_nobody() {
    let manager = Manager::init("m1").started().await;
    let idle: Vec<_> = (0..200).map(|_| std::net::TcpStream::connect(manager.https).unwrap()).collect();
    let token = manager.token(&[]);
    let asked = Instant::now();
    Agent::new(1, &token).join(manager.https, &token).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    drop(idle);
}

async fn connect_from(manager: &Manager, from: [u8; 4]) -> std::io::Result<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(manager.https).await
}

#[tokio::test]
async fn half_open_connections_keep_nobody_out() {
    let manager = Manager::init("m1").started().await;
    let token = manager.token(&[]);
    let agent = Agent::new(1, &token);
    let endpoint = agent.join(manager.https, &token).await.unwrap().map.endpoint;
    let connector = TlsConnector::from(Arc::new(client_config(&[token.ca_fingerprint], None).unwrap()));
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(connect_from(&manager, [127, 0, 1, 1]).await.unwrap());
    }
    agent.map(manager.https, endpoint).await.unwrap();
    // The oldest from a host that holds most gives way: another from there gets in too.
    for from in [[127, 0, 0, 3], [127, 0, 1, 1]] {
        let stream = connect_from(&manager, from).await.unwrap();
        connector.connect(MANAGER_TLS_NAME.try_into().unwrap(), stream).await.unwrap();
    }
    // Nobody holds a place without finishing TLS.
    for stream in &mut held {
        let ended = timeout(Duration::from_secs(30), stream.read(&mut [0; 1])).await;
        assert!(matches!(ended, Ok(Ok(0) | Err(_))), "it is held for ever: {ended:?}");
    }
}

#[tokio::test]
async fn strangers_learn_nothing_of_endpoints() {
    let (first, second) = crate::two_managers().await;
    let mut known = Vec::new();
    for number in 1..=3 {
        let token = first.token(&[]);
        let agent = Agent::new(number, &token);
        let endpoint = agent.join(first.https, &token).await.unwrap().map.endpoint;
        agent.map(second.https, endpoint).await.unwrap();
        known.push((agent, endpoint));
    }
    let (_, enabled) = &known[0];
    let (_, disabled) = &known[1];
    first.must(&["endpoints", "disable", &disabled.to_string(), "--yes"]);
    let (gone, removed) = &known[2];
    let bearer = gone.credential(*removed).to_secret_string();
    let left = gone.request(first.https, |client, url| client.post(url + AGENT_LEAVE).bearer_auth(&bearer));
    assert_eq!(left.send().await.unwrap().status(), 204);
    let stranger = Agent::new(9, &first.token(&[]));
    for manager in [&first, &second] {
        let mut answers = Vec::new();
        for endpoint in [*enabled, *disabled, *removed, EndpointId(99)] {
            let problem = stranger.map(manager.https, endpoint).await.unwrap_err();
            answers.push((problem.kind, problem.title, problem.status));
        }
        assert_eq!((answers[0].0.as_str(), answers[0].2), ("bad-credential", 401));
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    }
}

#[tokio::test]
async fn tokens_that_nobody_made_leave_no_trace_in_the_log() {
    let (first, second) = crate::two_managers().await;
    let good = first.token(&[]);
    Agent::new(1, &good).join(first.https, &good).await.unwrap();
    let last = |manager: &Manager| manager.status()["registry"]["last_log"].clone();
    crate::until("both have all", || last(&first) == last(&second)).await;
    let before = last(&first);
    for number in 0..20 {
        let secret = festoon_proto::token::TokenSecret::from_bytes([number; 32]);
        let unknown = festoon_proto::token::JoinToken { secret, ..good.clone() };
        for (manager, token, kind) in [(&first, &unknown, "token-unknown"), (&second, &good, "token-used")] {
            let refused = Agent::new(9, token).join(manager.https, token).await.unwrap_err();
            assert_eq!((refused.kind.as_str(), refused.status), (kind, 403));
        }
    }
    assert_eq!((last(&first), last(&second)), (before.clone(), before));
    // One that was made a moment ago is good at every manager.
    for number in 10..20 {
        let token = first.token(&[]);
        Agent::new(number, &token).join(second.https, &token).await.unwrap();
    }
}
