//! Deliveries where one of three is a witness, which reads no secrets.

use serde_json::json;

use super::receiver::Receiver;
use super::{add_endpoints, delivery, webhook};
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

fn votes(manager: &Manager) -> usize {
    let status = manager.status();
    let members = status["registry"]["members"].as_array().unwrap().iter();
    members.filter(|member| member["votes"] == true && member["is_heard"] == true).count()
}

#[tokio::test]
async fn whoever_is_lost_a_full_manager_leads_and_delivers_and_no_witness_stays_in_the_lead() {
    let mut all = with_a_witness().await;
    let receiver = Receiver::new().await;
    let (id, secret) = webhook(&Admin::of(&all[2]), "ops", &receiver, json!({"events": ["admin.changed"]})).await;
    for (round, lost) in [0, 2, 0, 2].into_iter().enumerate() {
        all[lost].kill();
        let stays = if lost == 0 { 2 } else { 0 };
        let (name, admin) = (["m1", "w", "m3"][stays], Admin::of(&all[stays]));
        let leads_and_delivers = async || {
            admin.get("/cluster").await["leader"] == all_ids(stays)
                && delivery(&admin, &id).await["manager"] == all_ids(stays)
        };
        eventually(&format!("{name} leads and delivers"), leads_and_delivers).await;
        add_endpoints(&admin, &format!("r{round}"), 5).await;
        eventually("they arrive", async || receiver.names().len() == 5 * (round + 1)).await;
        all[lost].start().await;
        eventually("three vote", async || votes(&all[stays]) == 3).await;
    }
    assert!(receiver.names().values().all(|names| names.len() == 1));
    assert!(receiver.taken().0.iter().all(|request| request.is_signed_with(&secret)));
}

/// The ids in the order of joining.
fn all_ids(index: usize) -> String {
    format!("m{}", index + 1)
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
