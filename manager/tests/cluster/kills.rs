//! Three managers, one of which is killed again and again while endpoints are added through all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::harness::{Manager, run_at, text, until};

const KILLS: usize = 30;
/// Endpoints are added for this long between two kills, and a little more each time, so that kills fall anywhere.
const CALM: Duration = Duration::from_millis(60);

/// An endpoint that was to be added, and what was said.
struct Added {
    name: String,
    asked: Instant,
    told: Instant,
    said: Said,
}

#[derive(PartialEq)]
enum Said {
    /// It is there, with these addresses.
    Done(Vec<String>),
    /// Nothing was changed, for certain.
    Unchanged,
    Unknown,
}

/// Adds endpoints through one manager after the other, until it is stopped.
fn write(roots: &[PathBuf], writer: usize, stop: &AtomicBool) -> Vec<Added> {
    let mut added = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("w{writer}-{number}");
        let asked = Instant::now();
        let output = run_at(&roots[(writer + number) % roots.len()], &["endpoints", "add", &name]);
        let said = if output.status.success() {
            Said::Done(addresses(&text(&output.stdout)))
        } else if text(&output.stderr).contains("nothing was changed: try again") {
            Said::Unchanged
        } else {
            Said::Unknown
        };
        added.push(Added { name, asked, told: Instant::now(), said });
    }
    added
}

/// Those in the configuration that is printed for a client.
fn addresses(configuration: &str) -> Vec<String> {
    let line = configuration.lines().find_map(|line| line.strip_prefix("Address = ")).unwrap();
    line.split(", ").map(|net| net.split('/').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_and_nothing_is_given_twice() {
    let first = Manager::init("m1").started().await;
    let second = Manager::join("m2", &first).await;
    let third = Manager::join("m3", &second).await;
    until("three vote", || third.must(&["status"]).contains("one more manager may fail")).await;
    let mut managers = [first, second, third];
    let roots: Vec<PathBuf> = managers.iter().map(|manager| manager.root.clone()).collect();
    let stop = AtomicBool::new(false);
    let all: Vec<Added> = thread::scope(|scope| {
        let (roots, stop) = (&roots, &stop);
        let writers: Vec<_> = (0..roots.len()).map(|writer| scope.spawn(move || write(roots, writer, stop))).collect();
        let killed = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(kill(&mut managers)));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(killed, KILLS);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    until("all agree", || {
        let states: BTreeSet<String> = managers.iter().map(|manager| manager.status()["version"].to_string()).collect();
        states.len() == 1 && managers[0].run(&["tokens", "add"]).status.success()
    })
    .await;
    for manager in &managers {
        judge(&all, &endpoints(manager));
    }
}

/// Kills one manager after the other, at moments that differ.
async fn kill(managers: &mut [Manager]) -> usize {
    for number in 0..KILLS {
        // Which one, as good as by chance; the leader is hit as often as any.
        let victim = &mut managers[number * number % 7 % 3];
        tokio::time::sleep(CALM + CALM * (number as u32 * 13 % 17) / 4).await;
        victim.kill();
        victim.start().await;
    }
    KILLS
}

/// All endpoints that a manager knows, by name: id and addresses.
fn endpoints(manager: &Manager) -> BTreeMap<String, (u64, Vec<String>)> {
    let rows: Vec<Value> = serde_json::from_str(&manager.must(&["endpoints", "list", "--json"])).unwrap();
    let known = |row: &Value| {
        let addresses = row["addresses"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned());
        (
            row["name"].as_str().unwrap().to_owned(),
            (row["id"].as_str().unwrap()[1..].parse().unwrap(), addresses.collect()),
        )
    };
    rows.iter().map(known).collect()
}

fn judge(all: &[Added], there: &BTreeMap<String, (u64, Vec<String>)>) {
    let done: Vec<&Added> = all.iter().filter(|it| matches!(it.said, Said::Done(_))).collect();
    assert!(done.len() > KILLS, "{} of {} were acknowledged", done.len(), all.len());
    for added in all {
        let found = there.get(&added.name);
        match &added.said {
            Said::Done(addresses) => {
                assert_eq!(found.map(|(_, found)| found), Some(addresses), "{} is lost", added.name);
            }
            Said::Unchanged => assert_eq!(found, None, "{} was said not to be there", added.name),
            Said::Unknown => {}
        }
    }
    let given: Vec<&String> = there.values().flat_map(|(_, addresses)| addresses).collect();
    assert_eq!(given.len(), given.iter().collect::<BTreeSet<_>>().len(), "an address was given twice");
    assert!(there.len() <= all.len(), "one was carried out twice");
    // Ids are given in the order of the log: it must be one in which the calls can have happened.
    for earlier in &done {
        let later = done.iter().filter(|later| earlier.told < later.asked);
        let id = |added: &Added| there[&added.name].0;
        assert!(later.clone().all(|later| id(earlier) < id(later)), "{} came first", earlier.name);
    }
}
