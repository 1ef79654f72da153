//! The API as a program uses it: versions, pages, batches, requests that are sent again, and the audit log of it all.

use festoon_control::registry::audit;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Manager, eventually, until};
use crate::two_managers;

/// A client on the machine of a manager.
pub(crate) struct Admin(reqwest::Client);

impl Admin {
    pub(crate) fn of(manager: &Manager) -> Self {
        // The client wants one, though it speaks no TLS here. Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let socket = manager.root.join("manager.sock");
        Self(reqwest::Client::builder().unix_socket(socket).build().unwrap())
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Response {
        let mut request = self.0.request(method, format!("http://localhost/api/v1{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = if let Some(body) = body { request.json(&body) } else { request };
        request.send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.ask(Method::GET, path, &[], None).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let response = self.ask(Method::POST, path, &[], Some(body)).await;
        assert_eq!(response.status(), StatusCode::CREATED, "{path}");
        response.json().await.unwrap()
    }
}

/// The status, and the word of the problem.
pub(crate) async fn refused(response: Response) -> (u16, String) {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let status = response.status().as_u16();
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    (status, problem["type"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn two_admins_never_overwrite_each_other() {
    let (first, second) = two_managers().await;
    let (here, there) = (Admin::of(&first), Admin::of(&second));
    let created = here.ask(Method::POST, "/endpoints", &[], Some(json!({"name": "laptop"}))).await;
    let seen = created.headers()["etag"].to_str().unwrap().to_owned();
    let created: Value = created.json().await.unwrap();
    assert!(created["config"].as_str().unwrap().contains("PrivateKey = "), "{created}");
    assert_eq!(created["endpoint"]["id"], "e1");
    until("the other has it", || second.status()["version"] == first.status()["version"]).await;

    let rename = |name: &str| Some(json!({"name": name}));
    let without = there.ask(Method::PATCH, "/endpoints/e1", &[], rename("a")).await;
    assert_eq!(refused(without).await, (428, "if-match-required".to_owned()));
    let renamed = there.ask(Method::PATCH, "/endpoints/e1", &[("if-match", &seen)], rename("a")).await;
    assert_eq!(renamed.status(), StatusCode::OK);
    let now = renamed.headers()["etag"].to_str().unwrap().to_owned();
    let late = here.ask(Method::PATCH, "/endpoints/e1", &[("if-match", &seen)], rename("b")).await;
    assert_eq!(refused(late).await, (412, "changed-meanwhile".to_owned()));
    let late = here.ask(Method::DELETE, "/endpoints/e1", &[("if-match", &seen)], None).await;
    assert_eq!(refused(late).await, (412, "changed-meanwhile".to_owned()));
    let shown = here.ask(Method::GET, "/endpoints/e1", &[], None).await;
    assert_eq!(shown.headers()["etag"].to_str().unwrap(), now);
    assert_eq!(shown.json::<Value>().await.unwrap()["name"], "a");
    let removed = here.ask(Method::DELETE, "/endpoints/e1", &[("if-match", &now)], None).await;
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    let gone = here.ask(Method::GET, "/endpoints/e1", &[], None).await;
    assert_eq!(refused(gone).await, (404, "endpoint-unknown".to_owned()));
}

#[tokio::test]
async fn a_request_that_is_sent_again_to_another_manager_makes_one_endpoint() {
    let (first, second) = two_managers().await;
    let (here, there) = (Admin::of(&first), Admin::of(&second));
    let key = [("idempotency-key", "b8a5e7")];
    let body = || Some(json!({"name": "laptop"}));
    let created = here.ask(Method::POST, "/endpoints", &key, body()).await;
    let again = here.ask(Method::POST, "/endpoints", &key, body()).await;
    assert_eq!((created.status(), again.status()), (StatusCode::CREATED, StatusCode::CREATED));
    let (created, again): (Value, Value) = (created.json().await.unwrap(), again.json().await.unwrap());
    assert_eq!(created["endpoint"]["public_key"], again["endpoint"]["public_key"]);
    assert!(created["config"].is_string() && again["config"].is_null(), "the key is shown once");
    let other = here.ask(Method::POST, "/endpoints", &key, Some(json!({"name": "other"}))).await;
    assert_eq!(refused(other).await, (422, "idempotency-key-reused".to_owned()));
    // It is the caller's own key: root of another machine is another.
    let elsewhere = there.ask(Method::POST, "/endpoints", &key, Some(json!({"name": "other"}))).await;
    assert_eq!(elsewhere.status(), StatusCode::CREATED);
    let token = |admin: &Admin| {
        admin.0.post("http://localhost/api/v1/join-tokens").header("idempotency-key", "t").json(&json!({}))
    };
    assert_eq!(token(&here).send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(refused(token(&here).send().await.unwrap()).await, (409, "secret-gone".to_owned()));
}

#[tokio::test]
async fn lists_come_in_pages_and_batches_as_a_whole() {
    let manager = Manager::init("m1").started().await;
    let admin = Admin::of(&manager);
    let network = admin.post("/networks", json!({"name": "lab", "prefixes": ["10.7.0.0/24"]})).await;
    let batch = |from: usize, to: usize| {
        let one = |n: usize| json!({"name": format!("c{n}"), "network": "lab", "tags": [if n.is_multiple_of(2) { "even" } else { "odd" }]});
        json!({"endpoints": (from..to).map(one).collect::<Vec<_>>()})
    };
    let created = admin.post("/endpoints/batch", batch(0, 25)).await;
    assert_eq!(created.as_array().unwrap().len(), 25);
    let response = admin.ask(Method::POST, "/endpoints/batch", &[], Some(batch(24, 30))).await;
    assert_eq!(refused(response).await, (409, "name-taken".to_owned()));
    for (query, expected) in [
        ("limit=7", 25),
        ("limit=7&sort=name&network=lab", 25),
        ("limit=4&tag=even&sort=name", 13),
        ("limit=1000&search=c1", 11),
        ("network=default", 0),
        ("name=c3&kind=client&enabled=true", 1),
        ("address=10.7.0.9", 1),
    ] {
        let (mut names, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = admin.get(&format!("/endpoints?{query}{cursor}")).await;
            names
                .extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        if query.contains("sort=name") {
            assert!(names.is_sorted(), "{query}: {names:?}");
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), expected, "{query}");
    }
    for bad in ["limit=0", "limit=1001", "cursor=x", "sort=size", "nmae=c3"] {
        let response = admin.ask(Method::GET, &format!("/endpoints?{bad}"), &[], None).await;
        assert_eq!(refused(response).await.0, 400, "{bad}");
    }
    let id = network["id"].as_str().unwrap();
    let in_use = admin.ask(Method::DELETE, &format!("/networks/{id}"), &[], None).await;
    assert_eq!(refused(in_use).await, (409, "network-in-use".to_owned()));
    assert_eq!(admin.get(&format!("/networks/{id}")).await["endpoints"], 25);
    let config = admin.ask(Method::GET, "/endpoints/e1/config?format=svg", &[], None).await;
    assert!(config.text().await.unwrap().contains("<svg"));
    for path in ["/healthz", "/readyz", "/cluster", "/managers", "/managers/m1", "/routes", "/join-tokens"] {
        admin.get(path).await;
    }
    let runs = json!(env!("CARGO_PKG_VERSION"));
    eventually("it says what it runs", async || admin.get("/managers/m1").await["release"] == runs).await;
    let document = admin.0.get("http://localhost/api/v1/openapi.json").send().await.unwrap();
    let document: Value = document.json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
}

#[tokio::test]
async fn who_did_what_is_in_the_audit_log_of_every_manager() {
    let (first, second) = two_managers().await;
    let admin = Admin::of(&first);
    admin.post("/networks", json!({"name": "lab", "prefixes": ["10.7.0.0/24"]})).await;
    until("the other has it", || second.status()["version"] == first.status()["version"]).await;
    let mut logs = Vec::new();
    for manager in [&first, &second] {
        let response = Admin::of(manager).ask(Method::GET, "/audit?limit=10000&format=jsonl", &[], None).await;
        logs.push(response.text().await.unwrap());
    }
    assert!(audit::verify(logs[0].lines()).unwrap().is_some());
    let last: Value = serde_json::from_str(logs[0].lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["action"], &last["by"]["kind"], &last["by"]["id"]),
        (&json!("network.add"), &json!("local"), &json!("m1"))
    );
    assert!(last["at"].as_str().unwrap().starts_with("20"), "{last}");
    assert_eq!(logs[0].lines().last(), logs[1].lines().last(), "they write the same");
}
