//! The audit log of a manager whose own has gaps, or is damaged.

use std::fs;

use festoon_control::registry::audit;
use reqwest::Method;
use serde_json::json;

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
    let (first, mut second) = two_managers().await;
    for name in ["a", "b", "c"] {
        Admin::of(&first).post("/networks", json!({"name": name, "prefixes": ["10.7.0.0/24"]})).await;
    }
    second.kill();
    // The next epoch begins with a copy of the registry, so its log makes none of the entries from before.
    first.must(&["promote", "--yes"]);
    fs::remove_file(second.root.join("audit.redb")).unwrap();
    second.start().await;
    eventually("it is fenced off", async || second.run(&["rejoin"]).status.success()).await;
    same_and_whole(&first, &second).await;

    second.terminate().await;
    fs::write(second.root.join("audit.redb"), vec![7; 100_000]).unwrap();
    second.start().await;
    same_and_whole(&first, &second).await;
    assert_eq!(fs::read(second.root.join("audit.damaged.redb")).unwrap(), vec![7; 100_000]);
}
