//! The listener for a monitoring system, as a client sees it.

use std::net::{SocketAddr, TcpListener};

use festoon_proto::token::JoinToken;
use reqwest::{Response, StatusCode};

use crate::harness::{Agent, Manager, free_address, free_port, until};

/// A manager that serves its metrics here.
async fn manager(more: &str) -> (Manager, SocketAddr) {
    // The client wants one, though it speaks no TLS here. Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let at = free_address();
    let manager = Manager::init("m1");
    manager.configure(&format!("[metrics]\nlisten = \"{at}\"\n{more}"));
    (manager.started().await, at)
}

async fn ask(at: SocketAddr, path: &str, accept: &str) -> Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(format!("http://{at}{path}")).header("accept", accept).send().await.unwrap()
}

async fn page(at: SocketAddr) -> String {
    ask(at, "/metrics", "").await.text().await.unwrap()
}

#[tokio::test]
async fn a_client_gets_the_format_it_likes_and_nothing_but_what_is_there() {
    let (_manager, at) = manager("").await;
    for (accept, content_type, end) in [
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text; version=1.0.0",
            true,
        ),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4", false),
        ("*/*", "text/plain; version=0.0.4", false),
    ] {
        let response = ask(at, "/metrics", accept).await;
        assert_eq!(response.headers()["content-type"], format!("{content_type}; charset=utf-8"));
        let text = response.text().await.unwrap();
        assert_eq!(text.ends_with("# EOF\n"), end, "{accept}");
        assert!(text.contains("festoon_raft_role{role=\"leader\"} 1\n"), "{text}");
    }
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/", 404), ("/api/v1/endpoints", 404)] {
        assert_eq!(ask(at, path, "").await.status(), status, "{path}");
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let posted = client.post(format!("http://{at}/metrics")).body("x").send().await.unwrap();
    assert_eq!(
        (posted.status(), &posted.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap())
    );
}

#[tokio::test]
async fn a_page_elsewhere_reads_nothing_on_loopback_and_everybody_asks_a_listener_for_all_by_any_name() {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (listen, status) in [("127.0.0.1", 421), ("0.0.0.0", 200)] {
        let port = free_port();
        let manager = Manager::init("m1");
        manager.configure(&format!("[metrics]\nlisten = \"{listen}:{port}\"\n"));
        let _manager = manager.started().await;
        for path in ["/metrics", "/readyz"] {
            let ask = |host: &str| client.get(format!("http://127.0.0.1:{port}{path}")).header("host", host).send();
            for host in ["localhost", "127.0.0.1", "[::1]:8444"] {
                assert_eq!(ask(host).await.unwrap().status(), 200, "{host}");
            }
            let named = ask("rebound.example").await.unwrap();
            assert_eq!(named.status(), status, "{listen}");
            let text = named.text().await.unwrap();
            assert_eq!(text.contains("this listener is on loopback"), status == 421, "{text}");
        }
    }
}

#[tokio::test]
async fn the_sizes_of_all_files_are_told() {
    let (manager, at) = manager("").await;
    manager.token(&[]);
    let page = page(at).await;
    for file in ["registry", "events", "audit", "deliveries"] {
        let size = std::fs::metadata(manager.root.join(format!("{file}.redb"))).unwrap().len();
        assert!(size > 0 && page.contains(&format!("festoon_file_bytes{{file=\"{file}\"}} ")), "{page}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_and_nobody_makes_a_series_of_his_own() {
    let (manager, at) = manager("").await;
    let token: JoinToken = manager.token(&[]);
    let web = Agent::new(1, &token);
    let joined = web.join(manager.https, &token).await.unwrap();
    web.map(manager.https, joined.map.endpoint).await.unwrap();
    for path in ["/never-heard-of", "/agent/v1/never-heard-of"] {
        let asked = web.request(manager.https, |client, url| client.get(url + path));
        assert_eq!(asked.send().await.unwrap().status(), 404);
    }
    let invented = reqwest::Method::from_bytes(b"INVENTED").unwrap();
    let asked = web.request(manager.https, |client, url| client.request(invented.clone(), url + "/agent/v1/map"));
    asked.send().await.unwrap();
    let asked = web.request(manager.https, |client, url| client.get(url + "/api/v1/endpoints/e1"));
    assert_eq!(asked.send().await.unwrap().status(), 401);
    manager.must(&["endpoints", "remove", "web", "--yes"]);
    let page = page(at).await;
    for series in [
        "{listener=\"https\",route=\"/agent/v1/join\",method=\"POST\",status=\"200\"} 1\n",
        "{listener=\"https\",route=\"/agent/v1/map\",method=\"GET\",status=\"200\"} 1\n",
        "{listener=\"https\",route=\"/agent/v1/map\",method=\"other\",status=\"405\"} 1\n",
        "{listener=\"https\",route=\"none\",method=\"GET\",status=\"404\"} 2\n",
        "{listener=\"https\",route=\"/api/v1/endpoints/{endpoint}\",method=\"GET\",status=\"401\"} 1\n",
        "{listener=\"socket\",route=\"/api/v1/endpoints/{endpoint}\",method=\"DELETE\",status=\"204\"} 1\n",
    ] {
        assert!(page.contains(&format!("festoon_http_requests_total{series}")), "{series} is not in {page}");
    }
    assert!(page.contains("festoon_http_requests_in_flight{listener=\"https\"} 0\n"), "{page}");
    assert!(!page.contains("heard-of") && !page.contains("INVENTED") && !page.contains("__private"), "{page}");
}

#[tokio::test]
async fn no_secret_is_on_the_page() {
    let (manager, at) = manager("").await;
    let token = manager.token(&[]);
    let web = Agent::new(1, &token);
    let joined = web.join(manager.https, &token).await.unwrap();
    let word = token.to_secret_string();
    let bearer = web.credential(joined.map.endpoint).to_secret_string();
    let founding: Vec<&str> = manager.founding.split_whitespace().filter(|word| word.len() > 25).collect();
    assert!(founding.len() >= 2, "what init printed: {}", manager.founding);
    let page = page(at).await;
    for secret in [word.as_str(), bearer.as_str()].into_iter().chain(founding) {
        assert!(!page.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_stops_nothing_and_is_used_once_it_is_free() {
    let at = free_address();
    let taken = TcpListener::bind(at).unwrap();
    let manager = Manager::init("m1");
    manager.configure(&format!("[metrics]\nlisten = \"{at}\"\n"));
    let manager = manager.started().await;
    until("it says so", || manager.log().contains("metrics can't be served")).await;
    drop(taken);
    until("it serves", || manager.log().contains("metrics are served")).await;
    assert!(page(at).await.contains("festoon_build_info"));
}

#[tokio::test]
async fn metrics_can_be_off() {
    let manager = Manager::init("m1");
    manager.configure("[metrics]\nlisten = \"off\"\n");
    let manager = manager.started().await;
    assert!(!manager.log().contains("metrics are served"));
    manager.configure("[metrics]\nlisten = \"8444\"\n");
    let config = manager.file("manager.toml");
    let said = manager.must_fail(&["serve", "--config", config.to_str().unwrap()]);
    assert!(said.contains("as in 127.0.0.1:8444, or \"off\""), "{said}");
}
