//! What happens, told by every manager.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::harness::{Manager, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// Asks at the admin socket. In HTTP/1.0 the answer is all there is until the end.
fn ask(manager: &Manager, path: &str, headers: &str) -> UnixStream {
    let mut socket = UnixStream::connect(manager.root.join("manager.sock")).unwrap();
    write!(socket, "GET /api/v1/events{path} HTTP/1.0\r\n{headers}\r\n").unwrap();
    socket
}

fn page(manager: &Manager, query: &str) -> Value {
    let mut answer = String::new();
    ask(manager, query, "").read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{answer}");
    serde_json::from_str(body).unwrap()
}

fn items(manager: &Manager, query: &str) -> Vec<Value> {
    page(manager, query)["items"].as_array().unwrap().clone()
}

fn ids(items: &[Value]) -> BTreeSet<String> {
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// A client that takes events as they happen.
struct Client {
    events: Receiver<(String, Value, SystemTime)>,
}

impl Client {
    fn new(manager: &Manager, after: Option<&str>) -> Self {
        let last = after.map(|after| format!("Last-Event-ID: {after}\r\n")).unwrap_or_default();
        let mut lines = BufReader::new(ask(manager, "", &format!("Accept: text/event-stream\r\n{last}"))).lines();
        assert!(lines.next().unwrap().unwrap().contains(" 200 "));
        let (sender, events) = channel();
        std::thread::spawn(move || {
            let mut cursor = String::new();
            for line in lines.map_while(Result::ok) {
                if let Some(id) = line.strip_prefix("id: ") {
                    id.clone_into(&mut cursor);
                } else if let Some(data) = line.strip_prefix("data: ") {
                    let told = (cursor.clone(), serde_json::from_str(data).unwrap(), SystemTime::now());
                    if sender.send(told).is_err() {
                        return;
                    }
                }
            }
        });
        Self { events }
    }

    /// Takes events until one is of this kind, about this manager.
    fn until(&self, kind: &str, manager: &str) -> (String, Value, SystemTime) {
        loop {
            let told = self.events.recv_timeout(PATIENCE);
            assert!(told.is_ok(), "no {kind} about {manager}");
            let told = told.unwrap();
            if told.1["kind"] == kind && told.1["manager"] == manager {
                return told;
            }
        }
    }
}

#[tokio::test]
async fn what_happened_is_told_again_after_a_restart_and_goes_on_behind_a_cursor() {
    let mut manager = Manager::init("m1").started().await;
    manager.token(&[]);
    let made = |manager: &Manager| {
        let items = items(manager, "?kind=admin.changed");
        items.iter().filter(|item| item["details"]["action"] == "join-token.create").count()
    };
    until("the token is told of", || made(&manager) == 1).await;
    let before = page(&manager, "");
    let cursor = before["next"].as_str().unwrap().to_owned();
    manager.kill();
    manager.start().await;
    let (before, after) = (before["items"].as_array().unwrap(), items(&manager, ""));
    assert!(after.starts_with(before), "all is there, and nothing twice: {before:?}, then {after:?}");
    manager.token(&[]);
    let client = Client::new(&manager, Some(&cursor));
    let told = std::iter::from_fn(|| client.events.recv_timeout(PATIENCE).ok()).map(|(_, event, _)| event);
    let mut told = told.filter(|event| event["details"]["action"] == "join-token.create");
    let second = told.next().unwrap();
    let is_old = |item: &Value| before.iter().any(|old| old["id"] == item["id"]);
    assert!(!is_old(&second) && !items(&manager, &format!("?after={cursor}")).iter().any(is_old));
    let mut refused = String::new();
    ask(&manager, "?after=nonsense", "").read_to_string(&mut refused).unwrap();
    assert!(refused.contains(" 422 ") && refused.contains("bad-cursor"), "{refused}");
}

/// Also the measure of how fast that is: what one manager sees reaches a client of another.
#[tokio::test]
async fn every_manager_tells_the_same_and_what_one_told_outlives_it() {
    let first = Manager::init("m1").started().await;
    let second = Manager::join("m2", &first).await;
    let mut third = Manager::join("m3", &first).await;
    let client = Client::new(&second, None);
    let mut delays = Vec::new();
    let (mut cursor, mut last) = (String::new(), Value::Null);
    for _ in 0..5 {
        until("m1 reaches m3", || first.status()["managers"][2]["state"] == "serving").await;
        third.kill();
        let (at, event, now) = client.until("manager.lost", "m3");
        assert_eq!(event["details"]["seen_by"], "m1", "the lowest that is left tells it");
        let happened: jiff::Timestamp = event["at"].as_str().unwrap().parse().unwrap();
        delays.push(now.duration_since(SystemTime::from(happened)).unwrap_or_default());
        (cursor, last) = (at, event["id"].clone());
        third.start().await;
    }
    eprintln!("from the origin to a client of another manager: {delays:?}");
    assert!(delays.iter().all(|delay| *delay <= Duration::from_millis(200)), "{delays:?}");
    until("all have the same", || {
        let all = [&first, &second, &third].map(|manager| ids(&items(manager, "?limit=1000")));
        all[0] == all[1] && all[1] == all[2]
    })
    .await;
    // A cursor of one manager is good at another, also for what a lost manager told.
    drop(first);
    let elsewhere = Client::new(&third, Some(&cursor));
    let (_, event, _) = elsewhere.events.recv_timeout(PATIENCE).unwrap();
    assert_ne!(event["id"], last, "it was read before");
    let told_by_first = |item: &&Value| item["id"].as_str().unwrap().starts_with("m1.");
    assert!(items(&second, "?limit=1000").iter().filter(told_by_first).count() >= 5);
}

/// All events, a page at a time.
fn all(manager: &Manager, filter: &str) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = page(manager, &format!("?limit=1000{filter}{after}"));
        found.extend(page["items"].as_array().unwrap().iter().cloned());
        if page["more"] != true {
            return found;
        }
        after = format!("&after={}", page["next"].as_str().unwrap());
    }
}

#[tokio::test]
async fn every_manager_tells_the_head_of_its_audit_log_and_an_export_is_checked_against_it() {
    let manager = Manager::init("m1").started().await;
    let heads = || all(&manager, "&kind=audit.head");
    until("the head is told", || !heads().is_empty()).await;
    let export = manager.file("export.jsonl");
    manager.must(&["audit", "export", export.to_str().unwrap()]);
    let kept = manager.file("heads.json");
    std::fs::write(&kept, serde_json::to_string(&heads()).unwrap()).unwrap();
    let verify = || manager.run(&["audit", "verify", export.to_str().unwrap(), "--heads", kept.to_str().unwrap()]);
    assert!(verify().status.success(), "{}", String::from_utf8_lossy(&verify().stderr));
    // An export that ends before what was kept.
    let number = heads().last().unwrap()["details"]["number"].as_u64().unwrap() as usize;
    let lines = std::fs::read_to_string(&export).unwrap();
    let short: String = lines.lines().take(number - 1).map(|line| format!("{line}\n")).collect();
    std::fs::write(&export, short).unwrap();
    let output = verify();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains(&format!("entry {number} is missing")), "{error}");
}
