//! Deliveries while a witness leads, which reads no secrets.

use serde_json::json;

use super::receiver::Receiver;
use super::{add_endpoints, delivery, leader, webhook};
use crate::api::Admin;
use crate::audit::same_and_whole;
use crate::harness::{Manager, eventually};
use crate::membership::join_witness;

/// Managers 1 and 3, and between them the witness, number 2.
async fn with_a_witness() -> [Manager; 3] {
    let first = Manager::init("m1").started().await;
    let witness = join_witness(&first).await;
    let third = Manager::join("m3", &first).await;
    eventually("three vote", async || votes(&first) == 3).await;
    [first, witness, third]
}

/// The same, and the witness leads: with the first away it begins an election sooner than the other.
async fn led_by_a_witness() -> [Manager; 3] {
    let mut all = with_a_witness().await;
    loop {
        match leader(&all).await.0 {
            1 => return all,
            index => {
                all[index].kill();
                leader(if index == 0 { &all[1..] } else { &all[..index] }).await;
                all[index].start().await;
            }
        }
    }
}

fn votes(manager: &Manager) -> usize {
    let status = manager.status();
    let members = status["registry"]["members"].as_array().unwrap().iter();
    members.filter(|member| member["votes"] == true && member["is_heard"] == true).count()
}

#[tokio::test]
async fn a_full_manager_delivers_for_a_witness_that_leads() {
    let mut all = led_by_a_witness().await;
    let (admin, receiver) = (Admin::of(&all[2]), Receiver::new().await);
    let (id, secret) = webhook(&admin, "ops", &receiver, json!({"events": ["admin.changed"]})).await;
    let is_led_and_served = async |asked: &Manager, by: &str| {
        let admin = Admin::of(asked);
        admin.get("/cluster").await["leader"] == "m2" && delivery(&admin, &id).await["manager"] == by
    };
    add_endpoints(&admin, "a", 20).await;
    eventually("they arrive", async || receiver.names().len() == 20).await;
    eventually("the first that is heard delivers", async || is_led_and_served(&all[1], "m1").await).await;
    all[0].kill();
    add_endpoints(&admin, "b", 20).await;
    eventually("those arrive as well", async || receiver.names().len() == 40).await;
    eventually("now the other delivers", async || is_led_and_served(&all[1], "m3").await).await;
    assert!(receiver.names().values().all(|names| names.len() == 1));
    assert!(receiver.taken().0.iter().all(|request| request.is_signed_with(&secret)));
}

#[tokio::test]
async fn a_manager_whose_audit_log_is_not_whole_waits_for_that_and_says_so_once() {
    let [first, mut witness, mut third] = with_a_witness().await;
    let (admin, receiver) = (Admin::of(&first), Receiver::new().await);
    receiver.answers(503, None);
    webhook(&admin, "ops", &receiver, json!({"events": ["admin.changed"]})).await;
    add_endpoints(&admin, "a", 20).await;
    witness.kill();
    third.kill();
    // The next epoch begins with a copy of the registry, so its log makes none of the entries from before.
    eventually("it is promoted", async || first.run(&["promote", "--yes"]).status.success()).await;
    for other in [&mut witness, &mut third] {
        other.start().await;
        eventually("it is fenced off", async || other.run(&["rejoin", "--yes"]).status.success()).await;
        same_and_whole(&first, other).await;
    }
    eventually("three vote", async || votes(&first) == 3).await;
    third.terminate().await;
    std::fs::remove_file(third.root.join("audit.redb")).unwrap();
    // It is asked for what is missing first, and waited for.
    first.freeze();
    third.start().await;
    receiver.takes_all();
    eventually("they arrive", async || receiver.names().len() == 20).await;
    let log = third.log();
    assert!(log.contains("this manager delivers events"), "{log}");
    assert!(!log.contains("events wait for the disk"), "{log}");
    // On a slow machine it may be whole before this manager delivers.
    assert!(log.matches("events wait for the audit log").count() <= 1, "{log}");
}
