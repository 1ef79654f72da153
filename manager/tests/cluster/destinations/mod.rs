//! Events that are delivered to places outside the cluster.

mod amqp;
mod broker;
mod receiver;
mod refusals;
mod webhooks;
mod witness;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::Admin;
use crate::harness::{Manager, eventually};
use receiver::Receiver;

/// A destination, and its secret.
async fn webhook(admin: &Admin, name: &str, receiver: &Receiver, more: Value) -> (String, String) {
    let mut request = json!({"name": name, "kind": "webhook", "url": receiver.url(), "allow_private_addresses": true});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let created = admin.post("/event-destinations", request).await;
    let id = created["event_destination"]["id"].as_str().unwrap().to_owned();
    (id, created["secret"].as_str().unwrap().to_owned())
}

async fn delivery(admin: &Admin, id: &str) -> Value {
    admin.get(&format!("/event-destinations/{id}")).await["delivery"].clone()
}

async fn change(admin: &Admin, id: &str, what: Value) -> Value {
    let path = format!("/event-destinations/{id}");
    let response = admin.ask(Method::PATCH, &path, &[("if-match", "*")], Some(what)).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

/// Adds so many endpoints, whose names begin with `prefix`: an event each.
async fn add_endpoints(admin: &Admin, prefix: &str, count: usize) {
    let endpoints: Vec<_> = (0..count).map(|number| json!({"name": format!("{prefix}{number}")})).collect();
    admin.post("/endpoints/batch", json!({"endpoints": endpoints})).await;
}

async fn rename(admin: &Admin, id: &str, name: &str) {
    let path = format!("/endpoints/{id}");
    let response = admin.ask(Method::PATCH, &path, &[("if-match", "*")], Some(json!({"name": name}))).await;
    assert_eq!(response.status(), StatusCode::OK);
}

/// The manager that leads the registry, and so delivers, of these: which it is, and its id.
async fn leader(managers: &[Manager]) -> (usize, Value) {
    let mut leader = None;
    eventually("somebody leads", async || {
        for (index, manager) in managers.iter().enumerate() {
            let cluster = Admin::of(manager).get("/cluster").await;
            if cluster["leader"] == cluster["manager"] {
                leader = Some((index, cluster["manager"].clone()));
            }
        }
        leader.is_some()
    })
    .await;
    leader.unwrap()
}
