//! Exchanges of a real broker.

use std::collections::BTreeSet;

use lapin::options::{BasicAckOptions, BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use reqwest::Method;
use serde_json::{Value, json};

use super::broker::Broker;
use super::{add_endpoints, delivery};
use crate::api::Admin;
use crate::harness::{Manager, eventually};

const EXCHANGE: &str = "festoon-events";
const QUEUE: &str = "all";

/// What a consumer got: the routing key, the id, whether it is persistent, and the body.
struct Message {
    key: String,
    id: String,
    is_persistent: bool,
    body: Value,
}

async fn channel(broker: &Broker) -> (Connection, Channel) {
    let connection = Connection::connect(&format!("amqp://{}", broker.plain), ConnectionProperties::default()).await;
    let connection = connection.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// A topic exchange, and a queue that gets what matches `binding`. Both outlive the broker.
async fn declare(broker: &Broker, binding: &str) {
    let (_connection, channel) = channel(broker).await;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, FieldTable::default()).await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), durable, FieldTable::default()).await.unwrap();
    let bind = QueueBindOptions::default();
    channel.queue_bind(QUEUE.into(), EXCHANGE.into(), binding.into(), bind, FieldTable::default()).await.unwrap();
}

/// Takes all that is in the queue.
async fn consume(broker: &Broker) -> Vec<Message> {
    let (_connection, channel) = channel(broker).await;
    let mut messages = Vec::new();
    while let Some(got) = channel.basic_get(QUEUE.into(), BasicGetOptions::default()).await.unwrap() {
        got.delivery.ack(BasicAckOptions::default()).await.unwrap();
        let properties = &got.delivery.properties;
        messages.push(Message {
            key: got.delivery.routing_key.to_string(),
            id: properties.message_id().as_ref().unwrap().to_string(),
            is_persistent: *properties.delivery_mode() == Some(2),
            body: serde_json::from_slice(&got.delivery.data).unwrap(),
        });
    }
    messages
}

async fn exchange(admin: &Admin, name: &str, url: &str) -> String {
    let request = json!({
        "name": name, "kind": "amqp", "url": url, "exchange": EXCHANGE, "routing_key_prefix": "lab",
        "password": "guest", "events": ["admin.changed"], "allow_private_addresses": true,
    });
    let created = admin.post("/event-destinations", request).await;
    assert!(created["secret"].is_null());
    created["event_destination"]["id"].as_str().unwrap().to_owned()
}

async fn try_out(admin: &Admin, id: &str) -> Value {
    admin.ask(Method::POST, &format!("/event-destinations/{id}/test"), &[], None).await.json().await.unwrap()
}

#[tokio::test]
async fn a_broker_gets_what_happens_and_what_happened_while_it_was_away() {
    let mut broker = Broker::start().await;
    let mut manager = Manager::init("m1").started().await;
    let admin = Admin::of(&manager);
    let id = exchange(&admin, "bus", &format!("amqp://guest@{}", broker.plain)).await;
    let missing = try_out(&admin, &id).await;
    assert!(missing["text"].as_str().unwrap().contains("no exchange"), "{missing}");
    declare(&broker, "lab.admin.*").await;
    let unrouted = try_out(&admin, &id).await;
    assert_eq!(unrouted["delivered"], true, "{unrouted}");
    assert!(unrouted["text"].as_str().unwrap().contains("no queue gets it"), "{unrouted}");

    add_endpoints(&admin, "a", 20).await;
    let mut messages: Vec<Message> = Vec::new();
    let endpoints = |messages: &[Message]| {
        let all = messages.iter().filter_map(|message| message.body["data"]["endpoint"].as_str().map(str::to_owned));
        all.collect::<BTreeSet<_>>()
    };
    eventually("they arrive", async || {
        messages.extend(consume(&broker).await);
        endpoints(&messages).len() == 20
    })
    .await;
    assert!(messages.iter().all(|message| message.key == "lab.admin.changed" && message.is_persistent));
    assert!(messages.iter().all(|message| message.body["data"]["id"] == message.id.as_str()));

    broker.down();
    add_endpoints(&admin, "b", 200).await;
    eventually("it is seen that it is away", async || delivery(&admin, &id).await["failures"] != 0).await;
    // What waits outlives the manager, and nothing else waits for the broker.
    manager.kill();
    manager.start().await;
    let admin = Admin::of(&manager);
    add_endpoints(&admin, "c", 20).await;
    broker.up().await;
    eventually("all arrived", async || {
        messages.extend(consume(&broker).await);
        endpoints(&messages).len() == 240
    })
    .await;
    eventually("nothing waits", async || delivery(&admin, &id).await["lag"] == 0).await;
    assert!(!manager.log().contains("guest:guest"));
}

#[tokio::test]
async fn a_broker_is_believed_if_its_certificate_is_of_a_ca_that_the_machine_trusts() {
    let broker = Broker::start().await;
    declare(&broker, "#").await;
    let url = format!("amqps://guest@localhost:{}", broker.tls.port());
    let mut manager = Manager::init("m1").started().await;
    let id = exchange(&Admin::of(&manager), "bus", &url).await;
    let distrusted = try_out(&Admin::of(&manager), &id).await;
    assert_eq!(distrusted["delivered"], false, "{distrusted}");
    manager.kill();
    manager.environment.push(("SSL_CERT_FILE", broker.ca()));
    manager.start().await;
    let trusted = try_out(&Admin::of(&manager), &id).await;
    assert_eq!((&trusted["delivered"], trusted["text"].is_null()), (&json!(true), true), "{trusted}");
    let wrong = json!({"password": "wrong"});
    super::change(&Admin::of(&manager), &id, wrong).await;
    let refused = try_out(&Admin::of(&manager), &id).await;
    assert!(refused["delivered"] == false && refused["text"].as_str().unwrap().contains("ACCESS_REFUSED"), "{refused}");
}
