//! Accounts over HTTPS: the first owner, sessions that end everywhere, second factors, tokens.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Manager, until};
use crate::two_managers;
use crate::web::{PASSWORD, Shows, Web, set_up_secret};

/// Waits until a manager has all that another has.
async fn caught_up(behind: &Manager, ahead: &Manager) {
    until("the other has it", || behind.status()["version"] == ahead.status()["version"]).await;
}

#[tokio::test]
async fn the_set_up_secret_makes_one_owner_who_is_in_on_every_manager_until_logged_out() {
    let (first, second) = two_managers().await;
    let (here, there) = (Web::of(&first), Web::of(&second));
    let owner = |secret: &str| Some(json!({"secret": secret, "name": "root", "password": PASSWORD}));
    let wrong = format!("festoon-setup-{}", "A".repeat(43));
    assert_eq!(here.refused(Method::POST, "/setup", owner(&wrong)).await, (403, "set-up-secret".to_owned()));
    assert_eq!(here.refused(Method::POST, "/setup", owner("x")).await, (422, "bad-set-up-secret".to_owned()));
    let secret = set_up_secret(&first);
    let weak = Some(json!({"secret": secret, "name": "root", "password": "short"}));
    assert_eq!(here.refused(Method::POST, "/setup", weak).await, (422, "bad-password".to_owned()));
    assert_eq!(here.refused(Method::GET, "/session", None).await, (401, "not-logged-in".to_owned()));
    let made = there.post("/setup", json!({"secret": secret, "name": "root", "password": PASSWORD})).await;
    assert_eq!((&made["id"], &made["role"], &made["password"]), (&json!("u1"), &json!("owner"), &json!(true)));
    assert_eq!(there.refused(Method::POST, "/setup", owner(&secret)).await, (409, "set-up-already".to_owned()));
    caught_up(&first, &second).await;

    let root = here.logged_in("root", PASSWORD, None).await;
    let me = root.get("/session").await;
    assert_eq!((&me["kind"], &me["name"], &me["role"]), (&json!("user"), &json!("root"), &json!("owner")));
    assert_eq!(me["csrf_token"].as_str(), root.shows.csrf.as_deref());
    caught_up(&second, &first).await;
    let elsewhere = there.showing(root.shows.clone());
    assert_eq!(elsewhere.get("/session").await["session"], me["session"], "one login for all managers");
    let gone = elsewhere.send(Method::DELETE, "/session", None).await;
    assert_eq!(gone.status(), 204);
    assert!(gone.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(elsewhere.refused(Method::GET, "/session", None).await, (401, "session-ended".to_owned()));
    caught_up(&first, &second).await;
    assert_eq!(root.refused(Method::GET, "/session", None).await, (401, "session-ended".to_owned()));
    for manager in [&first, &second] {
        let log = manager.log();
        assert!(!log.contains(PASSWORD) && !log.contains(&secret), "a secret in the log");
    }
}

#[tokio::test]
async fn a_program_may_what_its_token_says() {
    let manager = Manager::init("m1").started().await;
    let root = Web::of(&manager).set_up(&manager).await;
    let made = root.post("/api-tokens", json!({"name": "ci", "role": "operator", "networks": ["n1"]})).await;
    let secret = made["secret"].as_str().unwrap();
    let ci = root.showing(Shows::bearer(secret));
    let me = ci.get("/session").await;
    assert_eq!((&me["kind"], &me["role"], &me["networks"]), (&json!("api_token"), &json!("operator"), &json!(["n1"])));
    assert!(me["csrf_token"].is_null());
    let created = ci.post("/endpoints", json!({"name": "laptop"})).await;
    assert_eq!(created["endpoint"]["network"], "n1");
    let more = Some(json!({"name": "lab", "prefixes": ["10.7.0.0/24"]}));
    assert_eq!(ci.refused(Method::POST, "/networks", more).await, (403, "not-allowed".to_owned()));
    let next = Some(json!({"name": "next", "role": "operator", "networks": ["n1"]}));
    assert_eq!(ci.refused(Method::POST, "/api-tokens", next).await.0, 403, "it makes no other");
    assert_eq!(ci.get("/users").await["items"], json!([]));
    let listed: Value = root.get("/api-tokens?user=u1").await;
    assert_eq!(listed["items"][0], made["api_token"]);
    assert!(!listed.to_string().contains(secret));
    root.must(Method::DELETE, "/api-tokens/k1", None, 204).await;
    assert_eq!(ci.refused(Method::GET, "/session", None).await, (401, "bad-api-token".to_owned()));
}

#[tokio::test]
async fn who_guesses_is_held_up_and_the_last_owner_stays() {
    let manager = Manager::init("m1").started().await;
    let anybody = Web::of(&manager);
    let root = anybody.set_up(&manager).await;
    root.post("/users", json!({"name": "ann", "role": "admin", "password": PASSWORD})).await;
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(anybody.try_log_in("ann", "wrong", None).await.status().as_u16());
    }
    assert_eq!((&statuses[..10], statuses[10]), (&[401; 10][..], 429));
    let held_up = anybody.try_log_in("ann", PASSWORD, None).await;
    let wait: u64 = held_up.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(crate::harness::problem(held_up).await.kind, "too-many-tries");
    // Whoever is logged in there is not locked out.
    anybody.logged_in("root", PASSWORD, None).await;

    let patch = async |body: Value| {
        let patch = root.request(Method::PATCH, "/users/u1").header("if-match", "*").json(&body);
        crate::harness::problem(patch.send().await.unwrap()).await.kind
    };
    for body in [json!({"role": "admin"}), json!({"enabled": false})] {
        assert_eq!(patch(body).await, "last-owner");
    }
    // A browser that was left open is not enough for these.
    for body in [json!({"password": null}), json!({"password": PASSWORD}), json!({"identity": null})] {
        assert_eq!(patch(body).await, "own-credentials");
    }
    assert_eq!(root.refused(Method::DELETE, "/users/u1", None).await, (409, "last-owner".to_owned()));
    root.post("/users", json!({"name": "bob", "role": "owner", "password": PASSWORD})).await;
    root.must(Method::DELETE, "/users/u1", None, 204).await;
    assert_eq!(root.refused(Method::GET, "/session", None).await.0, 401);
}

#[tokio::test]
async fn a_stream_of_events_ends_with_the_session_that_began_it() {
    let manager = Manager::init("m1").started().await;
    let root = Web::of(&manager).set_up(&manager).await;
    let stream = root.request(Method::GET, "/events").header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut stream = stream;
    root.post("/networks", json!({"name": "lab", "prefixes": ["10.7.0.0/24"]})).await;
    let mut told = String::new();
    while !told.contains("network.add") {
        told.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
    }
    root.must(Method::DELETE, "/session", None, 204).await;
    while stream.chunk().await.unwrap().is_some() {}
}
