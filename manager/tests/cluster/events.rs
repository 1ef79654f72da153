//! What happens, told by every manager.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use festoon_events::{Cursor, Kind};
use festoon_manager::audit::Trail;
use festoon_manager::data_dir::DataDir;
use festoon_manager::node::{Seen, Sighting, Step};
use festoon_manager::pki::Credentials;
use festoon_manager::{cluster, events};
use festoon_proto::{EndpointId, Generation, ManagerId};
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

/// Has the node of a manager, which is not running, see this. Everything but the node is what runs in the program.
async fn see(root: &Path, seen: impl IntoIterator<Item = Seen>) {
    let data = DataDir::open(root).unwrap();
    let identity = data.identity().unwrap();
    let parts = cluster::build(&data, &identity, &Credentials::load(&data).unwrap()).await.unwrap();
    let trail = Trail::new(identity.manager, parts.cluster.clone(), parts.managers.clone());
    let record =
        events::open(&data, identity.manager, parts.cluster.clone(), parts.managers.clone(), trail.watch()).unwrap();
    let (sightings, told) = (record.sightings.clone(), record.events.clone());
    // What ends last is what the node saw last.
    let last = Seen::LinkDown(ManagerId(99));
    let feed = async move {
        for what in seen.into_iter().chain([last]) {
            sightings.send(Sighting { at: Instant::now(), what }).await.unwrap();
        }
        drop(sightings);
        let mut news = told.watch();
        loop {
            let page = told.page(Cursor::default(), 100_000, |event| event.kind == Kind::LinkDown).await.unwrap();
            if !page.events.is_empty() {
                return;
            }
            news.changed().await.unwrap();
        }
    };
    tokio::select! {
        fed = tokio::time::timeout(PATIENCE * 6, feed) => fed.unwrap(),
        () = record.run() => panic!("the record ended"),
        () = trail.run() => panic!("the registry ended"),
        never = parts.supervisor.run() => match never {},
    }
    parts.cluster.shutdown().await;
}

fn attached(endpoint: u64, generation: u64) -> Seen {
    let (endpoint, generation) = (EndpointId(endpoint), Generation(generation));
    Seen::Endpoint { endpoint, network: None, generation, what: Step::Up }
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
async fn an_endpoint_that_attaches_60_000_times_leaves_all_that_others_did() {
    let mut manager = Manager::init("m1").started().await;
    (0..20).for_each(|_| drop(manager.token(&[])));
    let admin = |manager: &Manager| all(manager, "&kind=admin.changed");
    until("the tokens are told of", || admin(&manager).len() >= 20).await;
    let (before, audit) = (admin(&manager), manager.must(&["audit", "list", "--last", "1000", "-o", "json"]));
    manager.kill();
    let others = (1..=200).map(|endpoint| attached(endpoint, 1));
    see(&manager.root, others.chain((1..=60_000).map(|generation| attached(7_777, generation)))).await;
    manager.start().await;
    let told = all(&manager, "&kind=endpoint.up");
    let of = |endpoint: &str| told.iter().filter(|event| event["endpoint"] == endpoint).count();
    assert!((1..=200).all(|endpoint| of(&format!("e{endpoint}")) == 1), "others' events are there");
    let counts = all(&manager, "&kind=events.suppressed");
    let left_out: u64 = counts.iter().map(|event| event["details"]["count"].as_u64().unwrap()).sum();
    assert!(counts.iter().all(|event| event["endpoint"] == "e7777") && counts.len() <= 2, "{counts:?}");
    assert_eq!((of("e7777") as u64 + left_out, of("e7777") < 100), (60_000, true));
    assert!(admin(&manager).starts_with(&before), "what the audit log tells is there");
    let after: Vec<Value> =
        serde_json::from_str(&manager.must(&["audit", "list", "--last", "1000", "-o", "json"])).unwrap();
    assert!(after.starts_with(&serde_json::from_str::<Vec<Value>>(&audit).unwrap()), "the audit log is whole");
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
