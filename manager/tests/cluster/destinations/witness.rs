//! Deliveries while a witness leads, which reads no secrets.

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{add_endpoints, delivery, leader, webhook};
use crate::api::Admin;
use crate::harness::{Manager, eventually};
use crate::membership::join_witness;

/// Managers 1 and 3, and between them the witness, number 2, which leads: with the first away it begins an election sooner than
/// the other.
async fn led_by_a_witness() -> [Manager; 3] {
    let first = Manager::init("m1").started().await;
    let witness = join_witness(&first).await;
    let third = Manager::join("m3", &first).await;
    let mut all = [first, witness, third];
    eventually("three vote", async || votes(&all[0]).await == 3).await;
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

async fn votes(manager: &Manager) -> usize {
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
    let mut all = led_by_a_witness().await;
    let (admin, receiver) = (Admin::of(&all[0]), Receiver::new().await);
    receiver.answers(503, None);
    webhook(&admin, "ops", &receiver, json!({"events": ["admin.changed"]})).await;
    add_endpoints(&admin, "a", 20).await;
    let has_all = async |manager: &Manager| {
        let endpoints: Value = Admin::of(manager).get("/endpoints").await;
        endpoints["items"].as_array().unwrap().len() == 20
    };
    eventually("the third has them", async || has_all(&all[2]).await).await;
    all[2].terminate().await;
    std::fs::remove_file(all[2].root.join("audit.redb")).unwrap();
    // It is asked for what is missing first, and is waited for.
    all[0].freeze();
    all[2].start().await;
    receiver.takes_all();
    eventually("they arrive", async || receiver.names().len() == 20).await;
    let log = all[2].log();
    assert!(log.contains("this manager delivers events"), "{log}");
    assert!(!log.contains("events wait for the disk"), "{log}");
    assert!(log.matches("events wait for the audit log").count() <= 1, "{log}");
}
