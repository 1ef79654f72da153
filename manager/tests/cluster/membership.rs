//! Managers that leave, are promoted, are fenced off and begin anew.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::harness::{Agent, Manager, text, until};

fn votes(manager: &Manager) -> usize {
    let status = manager.status();
    let members = status["registry"]["members"].as_array().unwrap().iter();
    members.filter(|member| member["votes"] == true && member["is_heard"] == true).count()
}

async fn three_managers() -> (Manager, Manager, Manager) {
    let first = Manager::init("m1").started().await;
    let second = Manager::join("m2", &first).await;
    let third = Manager::join("m3", &second).await;
    until("three vote", || votes(&third) == 3).await;
    (first, second, third)
}

pub(crate) async fn join_witness(first: &Manager) -> Manager {
    let token = first.must(&["tokens", "add", "--witness"]);
    let witness = Manager::unjoined();
    let https = witness.https.to_string();
    witness.must(&["witness", token.trim(), "--name", "w", "--https", &https]);
    witness.started().await
}

/// The files in the directory of `manager` whose name begins so.
fn files(manager: &Manager, prefix: &str) -> Vec<String> {
    let names = fs::read_dir(&manager.root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(prefix)).collect()
}

fn flip_bytes(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    // The file's head stays, so that it is still a database: what is in it is wrong.
    bytes.iter_mut().skip(4096).step_by(512).for_each(|byte| *byte ^= 0x20);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_manager_leaves_by_one_command_whether_it_leads_or_not() {
    let (first, mut second, mut third) = three_managers().await;
    for (number, leaving) in [&mut third, &mut second].into_iter().enumerate() {
        assert!(leaving.must(&["leave", "--yes"]).contains("has left"));
        assert!(leaving.ended("it stops").await.success());
        until("the others know", || first.status()["managers"].as_array().unwrap().len() == 2 - number).await;
        first.must(&["tokens", "add"]);
        assert!(leaving.must_fail(&["serve"]).contains("holds no manager"));
    }
    until("the last one votes alone", || votes(&first) == 1).await;
    assert!(first.must_fail(&["leave", "--yes"]).contains("m1"), "the last one can't leave");
    assert_eq!(first.status()["draining"], false);
    let again = first.must(&["tokens", "add", "--manager"]);
    assert!(second.try_join("m2", again.trim()).status.success(), "it may come back as a new one");
}

#[tokio::test]
async fn a_survivor_is_promoted_and_the_other_rejoins_and_keeps_what_only_it_had() {
    let first = Manager::init("m1").started().await;
    let mut first = first;
    let second = Manager::join("m2", &first).await;
    until("both vote", || votes(&first) == 2 && votes(&second) == 2).await;
    let token = first.token(&[]);
    let web = Agent::new(1, &token);
    let map = web.join(first.https, &token).await.unwrap().map;
    for promote in [&["promote"][..], &["promote", "--yes"]] {
        assert!(second.must_fail(promote).contains("nothing to promote"));
    }
    until("it has the endpoint", || second.status()["endpoints"].as_array().unwrap().len() == 1).await;
    // Written by the one that leads, whichever that is, and acknowledged by nobody.
    second.freeze();
    first.must_fail(&["networks", "add", "only-here", "--prefix", "10.9.0.0/16"]);
    first.kill();
    second.thaw();
    assert!(second.must_fail(&["tokens", "add"]).contains("can't be changed now"));
    let warning = second.must_fail(&["promote"]);
    assert_eq!(second.run(&["promote"]).status.code(), Some(2));
    assert!(warning.contains("m1") && warning.contains("--yes"), "{warning}");
    assert!(second.must(&["promote", "--yes"]).contains("epoch 2/m2"));
    second.must(&["networks", "add", "after", "--prefix", "10.10.0.0/16"]);
    assert_eq!(web.map(second.https, map.endpoint).await.unwrap().addresses, map.addresses);

    first.start().await;
    until("it is fenced off", || first.must(&["status"]).contains("FENCED OFF")).await;
    for refused in [&["tokens", "add"][..], &["promote"]] {
        assert!(first.must_fail(refused).contains("rejoin"));
    }
    assert!(second.must_fail(&["rejoin", "--yes"]).contains("not fenced"));
    second.freeze();
    first.terminate().await;
    first.start().await;
    assert!(first.must(&["status"]).contains("FENCED OFF"), "a restart does not forget it");
    second.thaw();
    let said = first.must(&["rejoin", "--yes"]);
    assert!(said.contains("epoch 2/m2"), "{said}");
    let kept = files(&first, "unreplicated").pop().unwrap();
    let kept = fs::read_to_string(first.root.join(kept)).unwrap();
    assert!(kept.lines().all(|line| line.starts_with('{')) && kept.contains("only-here"), "{kept}");
    assert_eq!(files(&first, "registry.epoch-1").len(), 1);
    until("both vote again", || votes(&first) == 2 && votes(&second) == 2).await;
    until("it has all", || first.must(&["networks", "list"]).contains("after")).await;
    assert!(!first.must(&["networks", "list"]).contains("only-here"));
    first.must(&["tokens", "add"]);
    first.terminate().await;
    first.start().await;
    until("and has it after a restart", || first.status()["registry"]["epoch"]["number"] == 2 && votes(&first) == 2)
        .await;
}

#[tokio::test]
async fn who_is_removed_in_a_later_epoch_keeps_what_only_it_had_as_well() {
    for is_back_before in [true, false] {
        let mut first = Manager::init("m1").started().await;
        let second = Manager::join("m2", &first).await;
        until("both vote", || votes(&first) == 2 && votes(&second) == 2).await;
        second.freeze();
        first.must_fail(&["networks", "add", "only-here", "--prefix", "10.9.0.0/16"]);
        first.kill();
        second.thaw();
        until("the quorum is lost", || second.run(&["promote", "--yes"]).status.success()).await;
        if is_back_before {
            first.start().await;
            until("it is fenced off", || first.must(&["status"]).contains("FENCED OFF")).await;
        }
        second.must(&["managers", "remove", "m1", "--yes"]);
        if is_back_before {
            assert!(!first.ended("it hears of it").await.success());
        }
        let said = text(&first.run(&["serve"]).stderr);
        let last = said.lines().last().unwrap();
        assert!(last.contains("was removed") && last.contains("unreplicated.epoch-1.jsonl"), "{said}");
        assert!(text(&first.run(&["serve"]).stderr).contains("was removed"));
        let kept = files(&first, "unreplicated");
        assert_eq!(kept.len(), 1, "the same again is kept once");
        assert!(fs::read_to_string(first.root.join(&kept[0])).unwrap().contains("only-here"));
    }
}

#[tokio::test]
async fn of_two_that_are_promoted_apart_the_later_one_goes_on() {
    let mut first = Manager::init("m1").started().await;
    let mut second = Manager::join("m2", &first).await;
    until("both vote", || votes(&first) == 2 && votes(&second) == 2).await;
    second.kill();
    until("the quorum is lost", || first.run(&["promote", "--yes"]).status.success()).await;
    for number in 0..8 {
        first.must(&["networks", "add", &format!("first-{number}"), "--prefix", &format!("10.{number}.0.0/16")]);
    }
    first.kill();
    second.start().await;
    until("the quorum is lost", || second.run(&["promote", "--yes"]).status.success()).await;
    second.must(&["networks", "add", "second", "--prefix", "10.50.0.0/16"]);
    first.start().await;
    until("one is fenced off", || first.must(&["status"]).contains("FENCED OFF")).await;
    assert!(first.must(&["rejoin", "--yes"]).contains("unreplicated"));
    let kept = files(&first, "unreplicated").pop().unwrap();
    assert!(fs::read_to_string(first.root.join(kept)).unwrap().contains("first-7"));
    until("both vote again", || votes(&first) == 2 && votes(&second) == 2).await;
    until("it has what the other has", || first.must(&["networks", "list"]).contains("second")).await;
    assert!(!first.must(&["networks", "list"]).contains("first-"), "and what it had itself no more");
    first.must(&["networks", "add", "both", "--prefix", "10.60.0.0/16"]);
    assert!(first.must(&["networks", "list"]).contains("both"), "whoever changes something sees it");
}

#[tokio::test]
async fn a_registry_that_is_gone_is_not_begun_again_as_if_nothing_had_been_promised() {
    let (first, mut second, mut third) = three_managers().await;
    second.terminate().await;
    third.terminate().await;
    fs::remove_file(second.root.join("registry.redb")).unwrap();
    fs::write(third.root.join("registry.redb"), b"").unwrap();
    let said = second.run(&["serve"]);
    let said = text(&said.stderr);
    assert!(said.lines().last().unwrap().contains("missing or empty"), "{said}");
    drop(first);
}

#[tokio::test]
async fn a_registry_that_is_gone_comes_back_from_the_others() {
    let (first, mut second, third) = three_managers().await;
    second.terminate().await;
    fs::remove_file(second.root.join("registry.redb")).unwrap();
    second.start().await;
    until("it votes again", || votes(&first) == 3 && votes(&third) == 3).await;
    let members = second.status()["registry"]["members"].as_array().unwrap().clone();
    assert!(members.iter().any(|member| member["id"]["incarnation"] == 1), "as somebody new: {members:?}");
}

#[tokio::test]
async fn with_a_witness_either_of_two_managers_may_be_lost() {
    let mut first = Manager::init("m1").started().await;
    let second = Manager::join("m2", &first).await;
    let mut witness = join_witness(&second).await;
    assert!(files(&witness, "seal.key").is_empty(), "it can read no secrets");
    until("three vote", || votes(&second) == 3).await;
    assert!(second.must(&["status"]).contains("one more manager may fail"));
    let shown = witness.must(&["status"]);
    assert!(shown.contains("witness") && !shown.contains("down"), "{shown}");
    let token = second.token(&[]);
    let map = Agent::new(1, &token).join(second.https, &token).await.unwrap().map;
    assert_eq!(map.managers.len(), 2, "agents do not know of the witness");
    first.kill();
    let killed = Instant::now();
    // Whoever leads heard it at last before that.
    until("it is missed", || killed.elapsed() > Duration::from_secs(2) && second.must(&["status"]).contains("silent"))
        .await;
    assert!(second.must_fail(&["leave", "--yes"]).contains("start m1 first"));
    until("changes go on", || second.run(&["networks", "add", "blue", "--prefix", "10.1.0.0/16"]).status.success())
        .await;
    assert!(witness.must(&["networks", "list"]).contains("blue"));
    // It only votes: it speaks neither for its root nor for anybody else.
    for refused in [&["tokens", "add", "--manager"][..], &["networks", "add", "red", "--prefix", "10.2.0.0/16"]] {
        assert!(witness.must_fail(refused).contains("is a witness, which only votes"));
    }
    assert!(witness.must_fail(&["drain"]).contains("carries no endpoints"));
    assert!(witness.must_fail(&["promote", "--yes"]).contains("nothing to promote"));
    first.start().await;
    until("three vote again", || votes(&first) == 3).await;
    assert!(witness.must(&["leave", "--yes"]).contains("has left"));
    assert!(witness.ended("it stops").await.success());
}

#[tokio::test]
async fn a_damaged_copy_is_named_and_replaced_by_one_from_the_others() {
    let (first, mut second, third) = three_managers().await;
    first.must(&["networks", "add", "blue", "--prefix", "10.1.0.0/16"]);
    second.terminate().await;
    flip_bytes(&second.root.join("registry.redb"));
    second.start().await;
    assert!(second.log().contains("is damaged"), "{}", second.log());
    assert!(second.must(&["networks", "list"]).contains("blue"));
    until("it votes again", || votes(&first) == 3 && votes(&third) == 3).await;
    assert_eq!(files(&second, "registry.damaged").len(), 1);
    second.must(&["tokens", "add"]);
}

#[tokio::test]
async fn of_two_a_damaged_copy_comes_back_once_the_other_is_promoted_a_witness_too() {
    for is_witness in [false, true] {
        let mut damaged = Manager::init("m1").started().await;
        let other = if is_witness { join_witness(&damaged).await } else { Manager::join("m2", &damaged).await };
        until("both vote", || votes(&damaged) == 2 && votes(&other) == 2).await;
        damaged.must(&["networks", "add", "blue", "--prefix", "10.1.0.0/16"]);
        damaged.terminate().await;
        flip_bytes(&damaged.root.join("registry.redb"));
        let said = text(&damaged.run(&["serve"]).stderr);
        let last = said.lines().last().unwrap();
        assert!(last.contains("is damaged") && last.contains("festoon-manager promote"), "{said}");
        assert!(files(&damaged, "registry.damaged").is_empty(), "it is all there is until then");
        if is_witness {
            let refused = other.must_fail(&["promote", "--yes"]);
            assert!(refused.contains("a witness") && refused.contains("--key-file"), "{refused}");
            // Its own key is that of a witness, and what a stranger has is no key of this cluster.
            let own = other.root.join("signing.key");
            assert!(
                other
                    .must_fail(&["promote", "--yes", "--key-file", own.to_str().unwrap()])
                    .contains("is signed neither by")
            );
            let strange = Manager::init("strange");
            let strange = strange.root.join("signing.key");
            assert!(!other.run(&["promote", "--yes", "--key-file", strange.to_str().unwrap()]).status.success());
            let key = damaged.root.join("signing.key");
            let key = ["promote", "--key-file", key.to_str().unwrap()];
            assert!(other.must_fail(&key).contains("This is a witness"), "an admin is asked first");
            other.must(&[&key[..], &["--yes"]].concat());
        } else {
            other.must(&["promote", "--yes"]);
        }
        damaged.start().await;
        until("both vote again", || votes(&damaged) == 2 && votes(&other) == 2).await;
        assert!(damaged.must(&["networks", "list"]).contains("blue"));
        let token = damaged.must(&["tokens", "add", "--manager"]);
        let third = Manager::unjoined();
        let joined = third.try_join("m3", token.trim());
        assert!(joined.status.success(), "it reads the secrets: {}", text(&joined.stderr));
    }
}

#[tokio::test]
async fn a_damaged_copy_without_another_is_named_and_left_alone() {
    let mut only = Manager::init("m1").started().await;
    only.terminate().await;
    let path = only.root.join("registry.redb");
    flip_bytes(&path);
    let damaged = fs::read(&path).unwrap();
    let ended = only.run(&["serve"]);
    let said = text(&ended.stderr);
    let last = said.lines().last().unwrap();
    assert!(!ended.status.success() && last.contains("damaged") && last.contains("restore"), "{said}");
    assert_eq!(fs::read(&path).unwrap().len(), damaged.len());
    assert!(files(&only, "registry.damaged").is_empty());
}

#[tokio::test]
async fn a_damaged_copy_is_not_replaced_by_one_of_an_epoch_that_is_over() {
    let (mut first, mut second, third) = three_managers().await;
    let mut behind = [third, Manager::join("m4", &first).await, Manager::join("m5", &first).await];
    until("five vote", || votes(&first) == 5 && votes(&second) == 5).await;
    behind.iter_mut().for_each(Manager::kill);
    assert!(first.must(&["promote", "--yes"]).contains("epoch 2/m1"));
    let knows =
        |manager: &Manager| fs::read_to_string(manager.root.join("identity.toml")).unwrap().contains("[fenced_by]");
    until("the second is told", || knows(&second)).await;
    first.kill();
    second.kill();
    flip_bytes(&second.root.join("registry.redb"));
    // Three of five, who have not heard of the new epoch.
    for manager in &mut behind {
        manager.start().await;
    }
    until("they go on", || behind[0].run(&["tokens", "add"]).status.success()).await;
    let ended = second.run(&["serve"]);
    let said = text(&ended.stderr);
    assert!(!ended.status.success() && said.contains("still in epoch 1"), "{said}");
    assert!(files(&second, "registry.damaged").is_empty() && knows(&second), "it gives up nothing");
    first.start().await;
    second.start().await;
    until("it is in the later epoch", || second.status()["registry"]["epoch"]["number"] == 2).await;
}

#[tokio::test]
async fn a_manager_that_was_fenced_off_is_promoted_only_when_nobody_of_the_later_epoch_answers() {
    let (mut first, mut second, mut third) = three_managers().await;
    second.kill();
    third.kill();
    assert!(first.must(&["promote", "--yes"]).contains("epoch 2/m1"));
    first.must(&["networks", "add", "lost", "--prefix", "10.9.0.0/16"]);
    second.start().await;
    third.start().await;
    until("both are told", || [&second, &third].iter().all(|it| it.must(&["status"]).contains("FENCED OFF"))).await;
    assert!(second.must_fail(&["promote", "--yes"]).contains("rejoin"), "the first is alive");
    first.kill();
    assert!(second.must_fail(&["rejoin", "--yes"]).contains("promote"), "nobody can let it begin anew");
    assert!(second.must_fail(&["promote"]).contains("gone on in epoch 2/m1"));
    assert!(second.must(&["promote", "--yes"]).contains("epoch 2/m2"));
    second.must(&["networks", "add", "after", "--prefix", "10.10.0.0/16"]);
    third.must(&["rejoin", "--yes"]);
    until("both vote", || votes(&second) == 2 && votes(&third) == 2).await;
    first.start().await;
    until("the first is fenced off now", || first.must(&["status"]).contains("FENCED OFF")).await;
    first.must(&["rejoin", "--yes"]);
    until("three vote", || votes(&first) == 3).await;
    let networks = first.must(&["networks", "list"]);
    assert!(networks.contains("after") && !networks.contains("lost"), "{networks}");
}
