//! Changes of destinations that are refused.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{change, webhook};
use crate::api::{Admin, refused};
use crate::harness::Manager;

/// A broker that is never connected to.
async fn broker(admin: &Admin) -> String {
    let request = json!({
        "name": "bus", "kind": "amqp", "url": "amqps://u@broker.example/v", "exchange": "e", "password": "secret",
        "enabled": false,
    });
    id_of(&admin.post("/event-destinations", request).await)
}

async fn hook(admin: &Admin) -> String {
    let request = json!({"name": "hook", "kind": "webhook", "url": "https://hook.example/", "enabled": false});
    id_of(&admin.post("/event-destinations", request).await)
}

fn id_of(created: &Value) -> String {
    created["event_destination"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_bad_change_of_a_destination_is_refused_and_changes_nothing() {
    let manager = Manager::init("m1").started().await;
    let admin = Admin::of(&manager);
    let (broker, hook) = (broker(&admin).await, hook(&admin).await);
    let before = admin.get("/event-destinations").await;
    for (id, what, word) in [
        (&broker, json!({"url": "amqps://u@other.example/v"}), "bad-target"),
        (&broker, json!({"url": "amqps://u@broker.example:5673/v"}), "bad-target"),
        (&broker, json!({"url": "amqps://other@broker.example/v"}), "bad-target"),
        (&broker, json!({"url": "amqps://u:secret@broker.example/v"}), "bad-target"),
        (&broker, json!({"url": "amqp://u@broker.example/v", "password": "secret"}), "bad-target"),
        (&broker, json!({"url": "amqps://u@10.0.0.1/v", "password": "secret"}), "bad-target"),
        (&broker, json!({"url": "amqps://u@broker.example/v?frame_max=0"}), "bad-target"),
        (&broker, json!({"url": "https://broker.example/", "password": "secret"}), "bad-target"),
        (&broker, json!({"exchange": ""}), "bad-target"),
        (&broker, json!({"exchange": "e".repeat(256)}), "bad-target"),
        (&broker, json!({"events": ["endpoint.sideways"]}), "bad-kinds"),
        (&hook, json!({"password": "secret"}), "bad-target"),
        (&hook, json!({"exchange": "e"}), "bad-target"),
        (&hook, json!({"routing_key_prefix": "p"}), "bad-target"),
        (&hook, json!({"url": "http://hook.example/"}), "bad-target"),
        (&hook, json!({"url": "https://u:p@hook.example/"}), "bad-target"),
        (&hook, json!({"url": "https://127.0.0.1/"}), "bad-target"),
        (&hook, json!({"url": "hook.example"}), "bad-target"),
    ] {
        let path = format!("/event-destinations/{id}");
        let answer = admin.ask(Method::PATCH, &path, &[("if-match", "*")], Some(what.clone())).await;
        assert_eq!(refused(answer).await, (422, word.to_owned()), "{what}");
    }
    let path = format!("/event-destinations/{hook}/rotate-secret");
    let answer = admin.ask(Method::POST, &path, &[("if-match", "*")], Some(json!({"overlap_s": 2_592_001}))).await;
    assert_eq!(refused(answer).await, (422, "bad-overlap".to_owned()));
    let path = format!("/event-destinations/{broker}/rotate-secret");
    let answer = admin.ask(Method::POST, &path, &[("if-match", "*")], Some(json!({"overlap_s": 0}))).await;
    assert_eq!(refused(answer).await, (409, "not-a-webhook".to_owned()));
    assert_eq!(admin.get("/event-destinations").await, before);
    let moved = json!({"url": "amqps://u@other.example/v", "password": "secret"});
    assert_eq!(change(&admin, &broker, moved).await["url"], "amqps://u@other.example/v", "with the password it may");
}

#[tokio::test]
async fn who_has_seen_another_version_of_a_destination_changes_nothing() {
    let manager = Manager::init("m1").started().await;
    let admin = Admin::of(&manager);
    let hook = hook(&admin).await;
    let path = format!("/event-destinations/{hook}");
    let shown = admin.ask(Method::GET, &path, &[], None).await;
    let seen = shown.headers()["etag"].to_str().unwrap().to_owned();
    let renamed = admin.ask(Method::PATCH, &path, &[("if-match", &seen)], Some(json!({"name": "a"}))).await;
    assert_eq!(renamed.status(), StatusCode::OK);
    let now = renamed.headers()["etag"].to_str().unwrap().to_owned();
    assert_ne!(seen, now);
    let rotate = format!("{path}/rotate-secret");
    for (method, path, body) in [
        (Method::PATCH, &path, Some(json!({"name": "b"}))),
        (Method::PATCH, &path, Some(json!({"url": "https://other.example/"}))),
        (Method::POST, &rotate, Some(json!({"overlap_s": 0}))),
        (Method::DELETE, &path, None),
    ] {
        let late = admin.ask(method.clone(), path, &[("if-match", &seen)], body.clone()).await;
        assert_eq!(refused(late).await, (412, "changed-meanwhile".to_owned()), "{method} {body:?}");
        if method != Method::DELETE {
            let blind = admin.ask(method.clone(), path, &[], body.clone()).await;
            assert_eq!(refused(blind).await, (428, "if-match-required".to_owned()), "{method} {body:?}");
        }
    }
    let shown = admin.ask(Method::GET, &path, &[], None).await;
    assert_eq!(shown.headers()["etag"].to_str().unwrap(), now);
    let shown: Value = shown.json().await.unwrap();
    assert_eq!((&shown["name"], &shown["url"]), (&json!("a"), &json!("https://hook.example/")));
}

#[tokio::test]
async fn what_the_machine_forbids_no_admin_allows() {
    let manager = Manager::init("m1");
    manager.configure("[delivery]\nforbid_private_addresses = true\n");
    let manager = manager.started().await;
    let admin = Admin::of(&manager);
    let receiver = Receiver::new().await;
    let (hook, _) = webhook(&admin, "near", &receiver, json!({})).await;
    let by_name = receiver.url().replace("http://127.0.0.1", "https://localhost");
    let broker = json!({
        "name": "bus", "kind": "amqp", "url": "amqps://u@localhost/v", "exchange": "e", "password": "secret",
        "allow_private_addresses": true,
    });
    let broker = id_of(&admin.post("/event-destinations", broker).await);
    for (id, url) in [(&hook, None), (&hook, Some(by_name)), (&broker, None)] {
        if let Some(url) = url {
            change(&admin, id, json!({"url": url})).await;
        }
        let answer = admin.ask(Method::POST, &format!("/event-destinations/{id}/test"), &[], Some(json!({}))).await;
        let said = answer.text().await.unwrap();
        assert!(said.contains("forbid_private_addresses"), "{said}");
    }
    assert!(receiver.requests().is_empty());
}
