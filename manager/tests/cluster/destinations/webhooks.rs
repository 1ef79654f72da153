//! Webhooks.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{add_endpoints, change, delivery, leader, rename, webhook};
use crate::api::{Admin, refused};
use crate::harness::{Manager, eventually, until};

#[tokio::test]
async fn what_happens_arrives_signed_and_the_secret_is_nowhere_else() {
    let manager = Manager::init("m1").started().await;
    let (admin, receiver) = (Admin::of(&manager), Receiver::new().await);
    let (id, secret) = webhook(&admin, "ops", &receiver, json!({"events": ["admin.changed"]})).await;
    manager.token(&[]);
    until("the token was told", || receiver.requests().iter().any(|request| request.action() == "join-token.create"))
        .await;
    let request = receiver.requests().into_iter().find(|request| request.action() == "join-token.create").unwrap();
    assert!(request.is_signed_with(&secret) && request.signatures.len() == 1);
    assert_eq!(request.id, request.body["data"]["id"].as_str().unwrap().replace('.', "_"));
    assert_eq!(request.body["timestamp"], request.body["data"]["at"]);
    eventually("it is seen", async || {
        let delivery = delivery(&admin, &id).await;
        delivery["last_success"].is_string() && delivery["manager"] == "m1" && delivery["lag"] == 0
    })
    .await;
    let tried: Value =
        admin.ask(Method::POST, &format!("/event-destinations/{id}/test"), &[], None).await.json().await.unwrap();
    assert_eq!(tried["delivered"], true, "{tried}");
    let test = receiver.requests().into_iter().find(|request| request.kind() == "webhook.test").unwrap();
    assert!(test.is_signed_with(&secret) && tried["id"] == test.id.as_str());
    let audit = admin.ask(Method::GET, "/audit?limit=10000&format=jsonl", &[], None).await.text().await.unwrap();
    let all = admin.ask(Method::GET, "/event-destinations", &[], None).await.text().await.unwrap();
    assert!(audit.contains("event-destination.add") && all.contains("\"ops\""));
    for said in [audit, all, manager.log()] {
        assert!(!said.contains(&secret) && !said.contains(&secret[6..]));
    }
}

#[tokio::test]
async fn while_a_secret_is_replaced_both_sign_and_a_destination_that_is_off_gets_nothing_until_it_is_on() {
    let manager = Manager::init("m1").started().await;
    let (admin, receiver) = (Admin::of(&manager), Receiver::new().await);
    let (id, first) = webhook(&admin, "ops", &receiver, json!({})).await;
    let path = format!("/event-destinations/{id}/rotate-secret");
    let rotate =
        |overlap_s: u64| admin.ask(Method::POST, &path, &[("if-match", "*")], Some(json!({"overlap_s": overlap_s})));
    let rotated: Value = rotate(3_600).await.json().await.unwrap();
    let second = rotated["secret"].as_str().unwrap().to_owned();
    manager.token(&[]);
    let is_told = |request: &super::receiver::Request| request.action() == "join-token.create";
    until("the token was told", || receiver.requests().iter().any(is_told)).await;
    let request = receiver.requests().into_iter().rfind(is_told).unwrap();
    assert!(request.is_signed_with(&first) && request.is_signed_with(&second));
    let third: Value = rotate(0).await.json().await.unwrap();
    change(&admin, &id, json!({"enabled": false})).await;
    // A change of the destination may have one come again, under the same id.
    let told = || receiver.requests().into_iter().filter(is_told).map(|it| it.id).collect::<BTreeSet<_>>().len();
    let before = told();
    manager.token(&[]);
    let delivery = delivery(&admin, &id).await;
    assert!(delivery["manager"].is_null() && delivery["lag"].as_u64().unwrap() > 0, "{delivery}");
    assert_eq!(told(), before);
    change(&admin, &id, json!({"enabled": true})).await;
    until("it goes on", || told() > before).await;
    let request = receiver.requests().into_iter().rfind(is_told).unwrap();
    assert!(request.is_signed_with(third["secret"].as_str().unwrap()) && request.signatures.len() == 1);
    let stale =
        admin.ask(Method::PATCH, &format!("/event-destinations/{id}"), &[("if-match", "\"1\"")], Some(json!({}))).await;
    assert_eq!(refused(stale).await, (412, "changed-meanwhile".to_owned()));
    let removed = admin.ask(Method::DELETE, &format!("/event-destinations/{id}"), &[], None).await;
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    let gone = admin.ask(Method::GET, &format!("/event-destinations/{id}"), &[], None).await;
    assert_eq!(refused(gone).await, (404, "event-destination-unknown".to_owned()));
}

#[tokio::test]
async fn what_happened_while_nobody_listened_arrives_in_order_though_the_manager_was_killed() {
    let mut manager = Manager::init("m1").started().await;
    let (admin, mut receiver) = (Admin::of(&manager), Receiver::new().await);
    let (id, _) = webhook(&admin, "ops", &receiver, json!({"events": ["admin.changed"]})).await;
    add_endpoints(&admin, "a", 50).await;
    until("some arrived", || receiver.names().len() == 50).await;
    receiver.down().await;
    add_endpoints(&admin, "b", 50).await;
    let mut expected: BTreeMap<String, Vec<String>> = receiver.names();
    expected.extend((0..50).map(|number| (format!("e{}", number + 51), vec![format!("b{number}")])));
    for (endpoint, names) in expected.iter_mut().filter(|(endpoint, _)| endpoint.ends_with('7')) {
        for round in 0..3 {
            let name = format!("{endpoint}-{round}");
            rename(&admin, endpoint, &name).await;
            names.push(name);
        }
    }
    eventually("it is seen that it fails", async || {
        let delivery = delivery(&admin, &id).await;
        delivery["failures"].as_u64().unwrap() > 0 && delivery["last_error"].is_string()
    })
    .await;
    manager.kill();
    manager.start().await;
    let admin = Admin::of(&manager);
    rename(&admin, "e1", "last").await;
    expected.get_mut("e1").unwrap().push("last".to_owned());
    receiver.up().await;
    eventually("all arrived", async || receiver.names() == expected).await;
    eventually("nothing waits", async || delivery(&admin, &id).await["lag"] == 0).await;
    let (_, again) = receiver.taken();
    assert!(again <= 60, "{again} again");
}

#[tokio::test]
async fn another_manager_goes_on_when_the_one_that_delivers_is_lost() {
    let first = Manager::init("m1").started().await;
    let [second, third] = [Manager::join("m2", &first).await, Manager::join("m3", &first).await];
    let mut managers = vec![first, second, third];
    let receiver = Receiver::new().await;
    let admin = Admin::of(&managers[0]);
    let (id, _) = webhook(&admin, "ops", &receiver, json!({"events": ["admin.changed"]})).await;
    add_endpoints(&admin, "a", 100).await;
    until("some arrived", || receiver.names().len() == 100).await;
    receiver.answers(503, None);
    add_endpoints(&admin, "b", 100).await;
    let (index, id_of_leader) = leader(&managers).await;
    let other = &managers[(index + 1) % 3];
    assert_eq!(delivery(&Admin::of(other), &id).await["manager"], id_of_leader);
    managers[index].kill();
    managers.remove(index);
    let (next, id_of_leader) = leader(&managers).await;
    let admin = Admin::of(&managers[1 - next]);
    eventually("another delivers", async || delivery(&admin, &id).await["manager"] == id_of_leader).await;
    add_endpoints(&admin, "c", 100).await;
    receiver.takes_all();
    eventually("all arrived", async || receiver.names().len() == 300).await;
    assert!(receiver.names().values().all(|names| names.len() == 1));
}

#[tokio::test]
async fn what_nobody_took_is_a_dead_letter_until_it_is_sent_again() {
    let mut manager = Manager::init("m1");
    manager.configure("[delivery]\ngive_up_after = \"2s\"\n");
    manager.start().await;
    let (admin, receiver) = (Admin::of(&manager), Receiver::new().await);
    let (id, secret) = webhook(&admin, "ops", &receiver, json!({"events": ["token.used", "admin.changed"]})).await;
    receiver.answers(500, None);
    add_endpoints(&admin, "a", 3).await;
    let path = format!("/event-destinations/{id}/dead-letters");
    let letters = async || admin.get(&path).await["items"].as_array().unwrap().clone();
    eventually("they are given up", async || letters().await.len() >= 3).await;
    let last = letters().await.last().unwrap().clone();
    assert_eq!(last["error"], "the receiver answered 500 Internal Server Error", "{last}");
    assert_eq!((&last["message"]["type"], &last["redelivering"]), (&json!("admin.changed"), &json!(false)));
    let unknown = json!({"letters": [9_999]});
    let refusal = admin.ask(Method::POST, &format!("{path}/redeliver"), &[], Some(unknown)).await;
    assert_eq!(refused(refusal).await, (404, "dead-letter-unknown".to_owned()));
    receiver.takes_all();
    let some = json!({"letters": [last["number"]]});
    let asked = admin.ask(Method::POST, &format!("{path}/redeliver"), &[], Some(some)).await;
    assert_eq!(asked.status(), StatusCode::NO_CONTENT);
    let event = last["event"].as_str().unwrap().replace('.', "_");
    eventually("it is sent again", async || receiver.taken().0.iter().any(|request| request.id == event)).await;
    assert!(receiver.taken().0.iter().all(|request| request.is_signed_with(&secret)));
    let number = last["number"].clone();
    eventually("it is none any more", async || letters().await.iter().all(|letter| letter["number"] != number)).await;
    admin.ask(Method::POST, &format!("{path}/redeliver"), &[], Some(json!({}))).await;
    eventually("all are", async || letters().await.is_empty() && receiver.names().len() == 3).await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_for_good_is_left_alone_and_one_that_wants_a_pause_gets_it() {
    let manager = Manager::init("m1").started().await;
    let (admin, gone, busy) = (Admin::of(&manager), Receiver::new().await, Receiver::new().await);
    gone.answers(410, None);
    busy.answers(429, Some(3_600));
    let (gone_id, _) = webhook(&admin, "gone", &gone, json!({})).await;
    let (busy_id, _) = webhook(&admin, "busy", &busy, json!({})).await;
    manager.token(&[]);
    eventually("it is disabled", async || {
        admin.get(&format!("/event-destinations/{gone_id}")).await["enabled"] == false
    })
    .await;
    let audit = admin.ask(Method::GET, "/audit?limit=10000&format=jsonl", &[], None).await.text().await.unwrap();
    let last: Value = audit.lines().map(|line| serde_json::from_str(line).unwrap()).rfind(is_disabling).unwrap();
    assert_eq!((&last["by"]["kind"], &last["after"]["enabled"]), (&json!("cluster"), &json!(false)));
    eventually("it has to wait", async || {
        let delivery = delivery(&admin, &busy_id).await;
        let at: jiff::Timestamp = delivery["next_try"].as_str().unwrap_or("1970-01-01T00:00:00Z").parse().unwrap();
        at > jiff::Timestamp::now() + std::time::Duration::from_secs(3_000)
    })
    .await;
}

fn is_disabling(entry: &Value) -> bool {
    entry["action"] == "event-destination.update" && entry["after"]["name"] == "gone"
}

#[tokio::test]
async fn nothing_is_sent_to_what_is_near_a_manager_unless_that_is_allowed() {
    let manager = Manager::init("m1").started().await;
    let (admin, receiver) = (Admin::of(&manager), Receiver::new().await);
    for url in [
        receiver.url(),
        format!("https://{}/", receiver.at),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://[::ffff:127.0.0.1]/".to_owned(),
    ] {
        let request = json!({"name": "near", "kind": "webhook", "url": url});
        let response = admin.ask(Method::POST, "/event-destinations", &[], Some(request)).await;
        assert_eq!(refused(response).await, (422, "bad-target".to_owned()), "{url}");
    }
    let named = json!({"name": "near", "kind": "webhook", "url": format!("https://localhost:{}/", receiver.at.port())});
    let id = admin.post("/event-destinations", named).await["event_destination"]["id"].as_str().unwrap().to_owned();
    let tried = admin.ask(Method::POST, &format!("/event-destinations/{id}/test"), &[], None).await;
    let tried: Value = tried.json().await.unwrap();
    assert_eq!(tried["delivered"], false);
    assert!(tried["text"].as_str().unwrap().contains("no address of the public internet"), "{tried}");
    let exposed = change(&admin, &id, json!({"url": receiver.url(), "allow_private_addresses": true})).await;
    assert_eq!(exposed["allow_private_addresses"], true);
    until("now it is sent", || !receiver.requests().is_empty()).await;
}

#[tokio::test]
async fn that_a_destination_fails_and_recovers_is_an_event_itself() {
    let manager = Manager::init("m1").started().await;
    let (admin, receiver, other) = (Admin::of(&manager), Receiver::new().await, Receiver::new().await);
    let kinds = json!({"events": ["destination.failing", "destination.recovered"]});
    webhook(&admin, "watcher", &other, kinds).await;
    receiver.answers(500, None);
    let (id, _) = webhook(&admin, "ops", &receiver, json!({})).await;
    manager.token(&[]);
    let told = |kind: &str| other.requests().into_iter().find(|request| request.kind() == kind);
    eventually("it is told that it fails", async || told("destination.failing").is_some()).await;
    assert_eq!(told("destination.failing").unwrap().body["data"]["details"]["destination"], id.as_str());
    receiver.takes_all();
    eventually("it is told that it recovered", async || told("destination.recovered").is_some()).await;
}
