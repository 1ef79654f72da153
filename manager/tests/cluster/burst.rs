//! Very many changes at once, as when a group of servers is started.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::api::Admin;
use crate::harness::Manager;
use crate::two_managers;

/// Many times as many as a manager has under way at a time, through each.
const CHANGES: usize = 150;

async fn leader(manager: &Manager) -> serde_json::Value {
    Admin::of(manager).get("/cluster").await["leader"].clone()
}

#[tokio::test]
async fn all_changes_of_a_burst_are_made_and_the_leader_stays() {
    let (first, second) = two_managers().await;
    let all = [Manager::join("m3", &first).await, second, first];
    let before = leader(&all[0]).await;
    let changes = (0..CHANGES * all.len()).map(|number| {
        let admin = Admin::of(&all[number % all.len()]);
        tokio::spawn(async move {
            let body = json!({"endpoints": [{"name": format!("burst-{number}")}]});
            let response = admin.ask(Method::POST, "/endpoints/batch", &[], Some(body)).await;
            (response.status(), response.text().await.unwrap())
        })
    });
    for change in changes.collect::<Vec<_>>() {
        let (status, answer) = change.await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
    assert_eq!(leader(&all[0]).await, before);
}
