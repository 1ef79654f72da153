//! Snapshots: taken, kept, checked, and all that there is after everything was lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::harness::{Agent, Manager, text, until};

/// The recovery key that `init` printed, in a file.
fn recovery_key(manager: &Manager) -> PathBuf {
    let path = manager.file("recovery.key");
    assert!(manager.founding.contains("AGE-SECRET-KEY-1"), "{}", manager.founding);
    fs::write(&path, &manager.founding).unwrap();
    path
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn restore(manager: &Manager, file: &Path, key: &Path, name: &str) -> Output {
    restore_with(&[], manager, file, key, name)
}

fn restore_with(more: &[&str], manager: &Manager, file: &Path, key: &Path, name: &str) -> Output {
    let addresses = manager.addresses();
    let mut arguments = vec!["snapshots", "restore", path(file), "--key", path(key), "--name", name];
    arguments.extend(addresses.iter().map(String::as_str).chain(more.iter().copied()));
    manager.run(&arguments)
}

fn must_restore(manager: &Manager, file: &Path, key: &Path, name: &str) -> String {
    let output = restore(manager, file, key, name);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test]
async fn a_cluster_that_lost_all_its_managers_is_restored_and_agents_find_it_by_themselves() {
    let first = Manager::init("m1").started().await;
    let second = Manager::join("m2", &first).await;
    let third = Manager::join("m3", &first).await;
    let outside = tempfile::tempdir().unwrap();
    let (key, file) = (outside.path().join("key"), outside.path().join("backup.age"));
    fs::copy(recovery_key(&first), &key).unwrap();
    let token = first.token(&["--address", "172.31.5.5"]);
    let web = Agent::new(1, &token);
    let before = web.join(second.https, &token).await.unwrap().map;
    first.must(&["endpoints", "add", "laptop"]);
    until("the third has both", || third.status()["version"] == first.status()["version"]).await;
    third.must(&["snapshots", "create", path(&file)]);
    // What comes now is lost.
    let late = first.token(&[]);
    let lost = Agent::new(2, &late);
    let lost_endpoint = lost.join(first.https, &late).await.unwrap().map.endpoint;
    until("the others have it", || second.status()["version"] == first.status()["version"]).await;
    let newest = web.map(first.https, before.endpoint).await.unwrap();

    let verified = third.must(&["snapshots", "verify", path(&file), "--key", path(&key)]);
    assert!(verified.contains("2 endpoints, managers: m1, m2, m3"), "{verified}");
    let (mut first, second, third) = (first.replaced(), second.replaced(), third.replaced());
    let said = must_restore(&first, &file, &key, "m1");
    assert!(said.contains("1 agents come back by themselves") && said.contains("m2, m3"), "{said}");
    first.start().await;

    let after = web.map(first.https, before.endpoint).await.unwrap();
    assert_eq!((&after.addresses, &after.name, after.cluster), (&before.addresses, &before.name, before.cluster));
    assert!(after.version > newest.version, "it takes the place of any map of before");
    assert_eq!(after.managers.len(), 1);
    assert!(before.managers.iter().all(|lost| lost.id != after.managers[0].id), "nobody takes it for a lost one");
    assert_ne!(after.managers[0].public_key, before.managers[0].public_key);
    let gone = lost.map(first.https, lost_endpoint).await.unwrap_err();
    assert_eq!(gone.kind, "bad-credential", "it is told to join again");
    assert_eq!(first.status()["registry"]["epoch"]["number"], 2);

    // The cluster grows as any other.
    let fresh = first.token(&[]);
    let map = Agent::new(3, &fresh).join(first.https, &fresh).await.unwrap().map;
    assert_ne!(map.addresses, before.addresses);
    assert!(map.endpoint.0 > lost_endpoint.0, "an id that may have been given is not given again");
    drop(second);
    let second = Manager::join("m2", &first).await;
    until("it has a copy", || second.status()["version"] == first.status()["version"]).await;
    assert_eq!(web.map(second.https, before.endpoint).await.unwrap().addresses, before.addresses);
    until("two vote", || first.must(&["status"]).contains("no spare manager")).await;
    second.must(&["snapshots", "create", path(&outside.path().join("next.age"))]);
    drop(third);
}

#[tokio::test]
async fn it_is_restored_under_another_name_too() {
    let lost = Manager::init("m1").started().await;
    let outside = tempfile::tempdir().unwrap();
    let (key, file) = (outside.path().join("key"), outside.path().join("backup.age"));
    fs::copy(recovery_key(&lost), &key).unwrap();
    let token = lost.token(&[]);
    let web = Agent::new(1, &token);
    let before = web.join(lost.https, &token).await.unwrap().map;
    lost.must(&["snapshots", "create", path(&file)]);
    let mut manager = lost.replaced();
    must_restore(&manager, &file, &key, "phoenix");
    manager.start().await;
    let after = web.map(manager.https, before.endpoint).await.unwrap();
    assert_eq!((&after.addresses, after.managers[0].name.as_str()), (&before.addresses, "phoenix"));
    assert!(manager.must(&["status"]).contains("phoenix"));
    // The audit log of before is lost too. What there is now is written down, and that it is not all is said.
    manager.must(&["tokens", "add"]);
    let (log, none) = (manager.file("audit.jsonl"), manager.file("none.jsonl"));
    let written = manager.run(&["audit", "export", path(&log)]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    let oldest = fs::read_to_string(&log).unwrap().lines().next().map(|line| line.parse::<serde_json::Value>());
    let oldest = oldest.unwrap().unwrap()["number"].as_u64().unwrap();
    assert!(text(&written.stderr).contains(&format!("up to number {} are not", oldest - 1)), "{oldest}: {written:?}");
    assert!(manager.must(&["audit", "verify", path(&log)]).contains("is whole"));
    let (gone, last) = ((oldest - 2).to_string(), (oldest - 1).to_string());
    let behind = manager.run(&["audit", "export", path(&none), "--after", &gone]);
    assert_eq!(behind.status.code(), Some(1), "one is missing: {behind:?}");
    assert!(!none.exists() && text(&behind.stderr).contains("are not on this manager"), "{behind:?}");
    let quiet = manager.run(&["audit", "export", "-", "--after", &last]);
    assert!(quiet.status.success() && quiet.stderr.is_empty(), "nothing is missing behind that: {quiet:?}");
    let listed = manager.run(&["audit", "list"]);
    assert!(text(&listed.stderr).contains("writes all that this manager has"), "{listed:?}");
    // Once more, from the same snapshot: its agents must not keep the map of the first time.
    let mut again = manager.replaced();
    let minutes = after.version.0 >> 24;
    must_restore(&again, &file, &key, "phoenix");
    again.start().await;
    let twice = web.map(again.https, before.endpoint).await.unwrap();
    assert!(twice.version.0 >> 24 >= minutes);
    assert_ne!(twice.managers[0].public_key, after.managers[0].public_key);
}

#[tokio::test]
async fn what_can_t_be_read_is_refused_and_nothing_is_written() {
    let mut first = Manager::init("m1").started().await;
    let key = recovery_key(&first);
    let file = first.file("backup.age");
    first.must(&["snapshots", "create", path(&file)]);
    assert!(first.must_fail(&["snapshots", "create", path(&file)]).contains("exists already"));
    let good = fs::read(&file).unwrap();
    let fresh = Manager::unjoined();
    let refused = |file: &Path, key: &Path, name: &str| {
        let output = restore(&fresh, file, key, name);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.lines().count() == 1, "{said}");
        assert!(!fresh.root.exists(), "something was written: {said}");
        said
    };
    let bad = first.file("bad.age");
    for at in (0..good.len()).step_by(good.len() / 16) {
        let mut flipped = good.clone();
        flipped[at] ^= 4;
        fs::write(&bad, &flipped).unwrap();
        refused(&bad, &key, "m1");
        fs::write(&bad, &good[..at]).unwrap();
        refused(&bad, &key, "m1");
    }
    fs::write(&bad, &good[..good.len() - 1]).unwrap();
    assert!(refused(&bad, &key, "m1").contains("bad.age: the snapshot is damaged or cut off: use another one"));
    let other = Manager::init("x");
    assert!(refused(&file, &recovery_key(&other), "m1").contains("this recovery key does not open the snapshot"));
    assert!(refused(&key, &key, "m1").contains("this is no snapshot"));
    assert!(refused(&file, &file, "m1").contains("can't read"), "no text at all");
    assert!(refused(&file, &bad.with_file_name("nothing"), "m1").contains("can't read"));
    fs::write(&bad, "a word").unwrap();
    assert!(refused(&file, &bad, "m1").contains("holds no recovery key"));
    assert!(refused(&file, &key, "Not A Name").contains("name"));
    let taken = restore(&first, &file, &key, "m1");
    assert!(text(&taken.stderr).contains("holds a manager already"));
    assert_eq!(first.status()["managers"].as_array().unwrap().len(), 1, "it runs on");
    first.kill();
    assert!(restore(&fresh, &file, &key, "m1").status.success(), "the file itself is good");
}

#[tokio::test]
async fn a_cluster_that_lives_is_restored_only_by_force_and_lives_on() {
    let first = Manager::init("m1").started().await;
    let outside = tempfile::tempdir().unwrap();
    let (key, file) = (outside.path().join("key"), outside.path().join("backup.age"));
    fs::copy(recovery_key(&first), &key).unwrap();
    let second = Manager::join("m2", &first).await;
    let third = Manager::join("m3", &first).await;
    until("three vote", || third.must(&["status"]).contains("one more manager may fail")).await;
    first.must(&["snapshots", "create", path(&file)]);

    let mut first = first.replaced();
    let refused = restore(&first, &file, &key, "m1");
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.lines().count() == 1, "{said}");
    let there = format!("m2 ({}), m3 ({}) of it still serve", second.https, third.https);
    assert!(said.contains(&there) && said.contains("--force") && !said.contains("m1 ("), "{said}");
    assert!(!first.root.exists(), "something was written");

    let forced = restore_with(&["--force"], &first, &file, &key, "m1");
    let said = text(&forced.stdout);
    assert!(forced.status.success() && said.contains("stop them now"), "{said}{}", text(&forced.stderr));
    first.start().await;
    // They speak to whoever is where their third manager was, and its certificate is not that manager's.
    until("they met", || first.log().matches("a TLS handshake failed").count() > 4).await;
    until("the majority goes on", || {
        second.run(&["networks", "add", "on", "--prefix", "10.1.0.0/16"]).status.success()
    })
    .await;
    for survivor in [&second, &third] {
        let shown = survivor.must(&["status"]);
        assert!(!shown.contains("FENCED") && shown.contains("epoch 1,"), "{shown}");
    }
    assert_eq!(first.status()["managers"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn snapshots_are_taken_on_schedule_and_a_failure_shows() {
    let mut manager = Manager::init("m1");
    let (key, kept) = (recovery_key(&manager), manager.file("kept"));
    let config = format!("[snapshots]\nevery = \"1s\"\nkeep = 2\ndirectory = {:?}\n", path(&kept));
    manager.configure(&config);
    manager.start().await;
    let list = || -> Vec<String> {
        let all: serde_json::Value = serde_json::from_str(&manager.must(&["snapshots", "list", "--json"])).unwrap();
        all.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    until("two are kept", || list().len() == 2).await;
    let early = list();
    until("older ones go", || list().iter().all(|name| !early.contains(name))).await;
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 2);
    let copy = manager.file("copy.age");
    manager.must(&["snapshots", "get", &list()[0], path(&copy)]);
    manager.must(&["snapshots", "verify", path(&copy), "--key", path(&key)]);
    assert!(manager.must(&["status"]).contains("every 1s: the last good one is of 20"));
    // A file in the place of the directory.
    fs::remove_dir_all(&kept).unwrap();
    fs::write(&kept, "").unwrap();
    until("a failure shows", || manager.must(&["status"]).contains("the last attempt FAILED")).await;
    assert!(manager.log().contains("ERROR") && manager.log().contains("no snapshot could be taken"));
    let refused = manager.must_fail(&["snapshots", "create"]);
    assert!(refused.contains("may be written by the manager"), "{refused}");
    fs::remove_file(&kept).unwrap();
    until("it goes on by itself", || !manager.must(&["status"]).contains("FAILED")).await;
    let name = manager.must(&["snapshots", "create"]);
    assert!(list().contains(&name.trim().to_owned()));
    assert!(
        manager.must_fail(&["snapshots", "get", "other.age", path(&manager.file("x"))]).contains("keeps no snapshot")
    );
    assert!(
        manager.must_fail(&["snapshots", "get", "../x", path(&manager.file("x"))]).contains("keeps no snapshot ../x")
    );
    assert!(!manager.file("x").exists() && !manager.file("x.new").exists());
}

#[tokio::test]
async fn a_new_recovery_key_is_for_snapshots_from_then_on() {
    let manager = Manager::init("m1").started().await;
    let old_key = recovery_key(&manager);
    let [before, after] = ["before.age", "after.age"].map(|name| manager.file(name));
    manager.must(&["snapshots", "create", path(&before)]);
    let new_key = manager.file("new.key");
    let said = manager.must(&["snapshots", "key", "--yes"]);
    fs::write(&new_key, &said).unwrap();
    // Through the standard output, as into another program.
    let output = manager.run(&["snapshots", "create", "-"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    fs::write(&after, &output.stdout).unwrap();
    let verify = |file: &Path, key: &Path| manager.run(&["snapshots", "verify", path(file), "--key", path(key)]);
    assert!(verify(&before, &old_key).status.success() && verify(&after, &new_key).status.success());
    assert!(!verify(&before, &new_key).status.success() && !verify(&after, &old_key).status.success());
    let secret = said.lines().last().unwrap();
    assert!(secret.starts_with("AGE-SECRET-KEY-1") && !manager.log().contains(secret), "it is in the log");
}
