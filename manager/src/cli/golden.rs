//! What people see, to the letter, on a terminal of 80 columns.

use std::collections::BTreeMap;

use festoon_api::{ApiToken, Endpoint, JoinToken, Manager, Network, RouteRow, Snapshot, Time, User};
use serde_json::{Value, json};

use super::output::details;
use super::record::{Names, Record, Row, table};

const WIDTH: usize = 80;
const DAY: u64 = 86_400_000;
const NOW: u64 = 1_700_000_000_000;
const KEY: &str = "IDGUOFgARfPuLEyP4hNz7PBQbkv1HICklbNkZz13SzI=";

fn names() -> Names {
    let manager = |number| festoon_proto::ManagerId(number).into();
    Names {
        managers: BTreeMap::from([(manager(1), "fra-1".to_owned()), (manager(2), "ams-1".to_owned())]),
        networks: BTreeMap::from([
            (festoon_proto::NetworkId(1).into(), "default".to_owned()),
            (festoon_proto::NetworkId(2).into(), "warehouse".to_owned()),
        ]),
        users: BTreeMap::from([(festoon_proto::UserId(1).into(), "ann".to_owned())]),
        now: Time(NOW),
        ..Names::default()
    }
}

fn at(ms: u64) -> String {
    Time(ms).to_string()
}

/// The table of these, and all there is to know of the first.
fn both<T: Record>(items: Value) -> String {
    let items: Vec<T> = serde_json::from_value(items).unwrap();
    let first = items.first().map(|first| details(&first.title(), &first.lines(&names()))).unwrap_or_default();
    format!("{}\n{first}", shown(&items))
}

fn only<T: Row>(items: Value) -> String {
    shown(&serde_json::from_value::<Vec<T>>(items).unwrap())
}

fn shown<T: Row>(items: &[T]) -> String {
    let text = table(items, &names()).render(false, Some(WIDTH));
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    assert!(T::EMPTY.chars().count() <= WIDTH, "{}", T::EMPTY);
    text
}

fn endpoints() -> Value {
    json!([
        {"id": "e1", "name": "web", "network": "n1", "network_name": "default", "kind": "agent",
            "addresses": ["172.31.0.2", "fd00:31::2"], "public_key": KEY, "enabled": true, "tags": ["web", "eu"],
            "ephemeral": false, "routes": [{"prefix": "192.168.7.0/24", "approved": true}, {"prefix": "10.9.0.0/16", "approved": false}],
            "key_due": false, "created": at(NOW - 3 * DAY), "version": 12,
            "presence": {"state": "up", "manager": "m1", "generation": 3, "underlay": "203.0.113.77:40123",
                "last_handshake_ms_ago": 61_000, "heard_ms_ago": 900, "rx_bytes": 123_456_789, "tx_bytes": 1_234}},
        {"id": "e20417", "name": "a-long-name-of-a-laptop", "network": "n2", "network_name": "warehouse", "kind": "client",
            "addresses": ["10.20.255.254"], "public_key": KEY, "enabled": false, "tags": [], "ephemeral": false, "routes": [],
            "key_due": false, "created": at(NOW - 1000), "expires": at(NOW + 7 * DAY), "version": 13,
            "presence": {"state": "down", "rx_bytes": 0, "tx_bytes": 0}}
    ])
}

fn managers() -> Value {
    let manager = |number: u16, name: &str| {
        json!({"id": format!("m{number}"), "name": name, "role": "full", "public_key": KEY,
            "underlay": [format!("203.0.113.{number}:51820"), format!("[2001:db8::{number}]:51820")],
            "https": [format!("203.0.113.{number}:8443")], "priority": 100, "draining": false, "state": "serving",
            "direct": false, "endpoints": 12_345, "version": 9})
    };
    let mut all = [manager(1, "fra-1"), manager(2, "ams-1")];
    all[1]["direct"] = true.into();
    all[1]["rtt_us"] = 7_654.into();
    all[1]["region"] = "eu-west".into();
    all[1]["state"] = "draining".into();
    json!(all)
}

fn page() -> String {
    let user = json!({"id": "u1", "name": "ann", "role": "operator", "networks": ["n1", "n2"], "password": true, "totp": true,
        "recovery_codes": 9, "enabled": true, "created": at(NOW - 40 * DAY), "version": 5});
    [
        both::<Network>(json!([{"id": "n1", "name": "default", "prefixes": ["172.31.0.0/16", "fd00:31::/64"],
            "gateways": ["172.31.0.1", "fd00:31::1"], "reserved": ["172.31.0.2-172.31.0.99"], "mtu": 1360,
            "endpoints": 100_000, "version": 4}])),
        both::<Endpoint>(endpoints()),
        both::<Manager>(managers()),
        both::<JoinToken>(
            json!([{"id": "t24336e58", "kind": "endpoint", "name": "fleet", "network": "n2", "reusable": true,
            "ephemeral": true, "tags": ["web"], "addresses": [], "created": at(NOW - 60_000), "expires": at(NOW + DAY),
            "uses": 41, "last_used_by": "e20417", "version": 17},
            {"id": "t24336e59", "kind": "manager", "reusable": false, "ephemeral": false, "tags": [], "addresses": [],
            "created": at(NOW - 60_000), "expires": at(NOW - 1000), "uses": 1, "version": 18}]),
        ),
        only::<RouteRow>(json!([{"prefix": "192.168.7.0/24", "approved": true, "network": "n1", "endpoint": "e1",
            "endpoint_name": "web"}])),
        both::<User>(json!([user])),
        both::<ApiToken>(json!([{"id": "k5", "name": "ci", "user": "u1", "role": "viewer", "created": at(NOW - DAY),
            "expires": at(NOW + 89 * DAY), "version": 30}])),
        only::<Snapshot>(json!([{"name": "festoon-20261121T062238Z-m1.age", "created": at(NOW), "bytes": 5_000_000}])),
        only::<Endpoint>(json!([])),
    ]
    .join("\n")
}

#[test]
fn tables_are_as_they_were_looked_at() {
    let page = page();
    assert!(page == include_str!("golden.txt"), "it is now:\n{page}");
}
