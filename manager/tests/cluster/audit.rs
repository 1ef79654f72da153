//! The audit log of a manager whose own has gaps, or is damaged.

use std::fs;

use festoon_control::registry::audit;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::Admin;
use crate::harness::{Manager, eventually};
use crate::two_managers;

async fn log(manager: &Manager) -> String {
    let response = Admin::of(manager).ask(Method::GET, "/audit?limit=10000&format=jsonl", &[], None).await;
    response.text().await.unwrap()
}

/// Waits until both tell the same, which is all from the first entry on.
pub(crate) async fn same_and_whole(first: &Manager, second: &Manager) {
    eventually("it has what the other has", async || log(first).await == log(second).await).await;
    let all = log(second).await;
    let (count, _) = audit::verify(all.lines()).unwrap().unwrap();
    assert_eq!(all.lines().count() as u64, count, "from the first entry on");
}

#[tokio::test]
async fn what_is_missing_comes_from_the_others_and_what_is_damaged_is_put_aside() {
    let (mut first, mut second) = two_managers().await;
    for name in ["a", "b", "c"] {
        Admin::of(&first).post("/networks", json!({"name": name, "prefixes": ["10.7.0.0/24"]})).await;
    }
    second.kill();
    // The next epoch begins with a copy of the registry, so its log makes none of the entries from before.
    first.must(&["promote", "--yes"]);
    fs::remove_file(second.root.join("audit.redb")).unwrap();
    second.start().await;
    eventually("it is fenced off", async || second.run(&["rejoin", "--yes"]).status.success()).await;
    same_and_whole(&first, &second).await;

    second.terminate().await;
    fs::write(second.root.join("audit.redb"), vec![7; 100_000]).unwrap();
    second.start().await;
    same_and_whole(&first, &second).await;
    assert_eq!(fs::read(second.root.join("audit.damaged.redb")).unwrap(), vec![7; 100_000]);

    first.terminate().await;
    second.terminate().await;
    fs::remove_file(second.root.join("audit.redb")).unwrap();
    second.start().await;
    let admin = Admin::of(&second);
    let behind = admin.ask(Method::GET, "/audit?after=1", &[], None).await;
    let problem: Value = behind.json().await.unwrap();
    assert_eq!((&problem["type"], &problem["status"]), (&json!("audit-behind"), &json!(503)), "{problem}");
    assert!(problem.to_string().contains("entries 2 to "), "{problem}");
    let oldest = admin.get("/audit").await["items"][0]["number"].clone();
    assert!(oldest.as_u64().is_none_or(|number| number > 2), "from the oldest that is here: {oldest}");
    first.start().await;
    same_and_whole(&first, &second).await;
    assert_eq!(admin.get("/audit?after=1").await["items"][0]["number"], 2);
}

#[tokio::test]
async fn what_is_done_without_the_registry_is_in_the_log_too() {
    let manager = Manager::init("m1").started().await;
    let admin = Admin::of(&manager);
    manager.must(&["snapshots", "key", "--yes"]);
    let kept = admin.ask(Method::POST, "/snapshots", &[], None).await.json::<Value>().await.unwrap();
    admin.ask(Method::GET, &format!("/snapshots/{}", kept["name"].as_str().unwrap()), &[], None).await;
    let hook = json!({"name": "ops", "kind": "webhook", "url": "https://hooks.example.invalid/secret"});
    let id = admin.post("/event-destinations", hook).await["event_destination"]["id"].as_str().unwrap().to_owned();
    admin.ask(Method::POST, &format!("/event-destinations/{id}/test"), &[], None).await;
    let log = log(&manager).await;
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let done: Vec<_> = lines
        .map(|line| format!("{} by {}", line["action"].as_str().unwrap(), line["by"]["kind"].as_str().unwrap()))
        .collect();
    for action in ["snapshot.take", "snapshot.download", "event-destination.test"] {
        assert!(done.contains(&format!("{action} by local")), "{done:?}");
    }
    assert!(log.contains("https://hooks.example.invalid") && !log.contains("invalid/secret"), "{log}");
}
