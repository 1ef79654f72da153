//! Files of a manager that are lost, left over, or held by a process that should be gone.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::harness::{Manager, modes, text, until};

/// The last line that a start says which fails.
fn refused_start(manager: &Manager) -> String {
    let ended = manager.run(&["serve"]);
    assert!(!ended.status.success());
    text(&ended.stderr).lines().last().unwrap().to_owned()
}

fn remove(manager: &Manager, names: &[&str]) {
    names.iter().for_each(|name| fs::remove_file(manager.root.join(name)).unwrap());
}

#[tokio::test]
async fn certificates_that_are_gone_are_made_again_from_the_registry() {
    let first = Manager::init("m1").started().await;
    let mut second = Manager::join("m2", &first).await;
    for lost in [&["ca.crt"][..], &["tls.pem"], &["ca.crt", "tls.pem"]] {
        until("it has the CA", || second.run(&["tokens", "add"]).status.success()).await;
        second.terminate().await;
        let kept = |name| fs::read(second.root.join(name)).unwrap();
        let before = ["ca.crt", "tls.pem"].map(kept);
        remove(&second, lost);
        second.start().await;
        let again = ["ca.crt", "tls.pem"].map(|name| fs::read(second.root.join(name)).unwrap());
        assert_eq!(before[0], again[0]);
        assert_eq!(before[1] == again[1], !lost.contains(&"tls.pem"), "a new key only if the old one is gone");
        until("others believe it", || second.run(&["tokens", "add"]).status.success()).await;
        assert!(modes(&second.root).iter().all(|(_, mode)| *mode == 0o600));
    }
}

#[tokio::test]
async fn a_certificate_that_can_t_be_made_again_is_named_with_what_to_do() {
    let first = Manager::init("m1").started().await;
    let token = first.must(&["tokens", "add", "--manager"]);
    let newcomer = Manager::unjoined();
    assert!(newcomer.try_join("m2", token.trim()).status.success());
    remove(&newcomer, &["ca.crt"]);
    let said = refused_start(&newcomer);
    assert!(said.contains("ca.crt is missing") && said.contains("no copy of the registry"), "{said}");
    assert!(said.contains("from a backup") && said.contains("managers remove"), "{said}");

    let (token, mut witness) = (first.must(&["tokens", "add", "--witness"]), Manager::unjoined());
    let https = witness.https.to_string();
    witness.must(&["witness", token.trim(), "--name", "w", "--https", &https]);
    witness.start().await;
    witness.terminate().await;
    remove(&witness, &["ca.crt"]);
    witness.start().await;
    witness.terminate().await;
    remove(&witness, &["tls.pem"]);
    let said = refused_start(&witness);
    assert!(said.contains("tls.pem is missing") && said.contains("a witness can't sign"), "{said}");
}

#[tokio::test]
async fn a_start_removes_what_interrupted_writes_left() {
    let mut manager = Manager::init("m1").started().await;
    manager.must(&["snapshots", "create", "-"]);
    let snapshots = manager.root.join("snapshots");
    fs::create_dir_all(&snapshots).unwrap();
    let ours = ["tls.pem.new", "identity.toml.new", "registry.next", "snapshots/festoon-20261121T062238Z-m1.age.new"];
    let others = ["notes.new", "snapshots/notes.age.new", "snapshots/festoon-20261121T062238Z-m2.age.new"];
    ours.iter().chain(&others).for_each(|name| fs::write(manager.root.join(name), "half").unwrap());
    assert!(refused_start(&manager).contains("another festoon-manager runs"));
    assert!(ours.iter().all(|name| manager.root.join(name).exists()), "the one that runs may be writing");
    manager.terminate().await;
    manager.start().await;
    assert!(!ours.iter().any(|name| manager.root.join(name).exists()));
    assert!(others.iter().all(|name| manager.root.join(name).exists()));
}

/// The process that checks the registry for `manager`, stopped while it holds the registry's lock.
struct StoppedCheck(Pid);

impl StoppedCheck {
    /// `None` if the check was over too soon.
    fn catch(manager: &Manager) -> Option<Self> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(5) {
            let Some(check) = child_of(manager.pid()) else { continue };
            if holds_a_lock(check) {
                kill_process(check, Signal::STOP).ok()?;
                let caught = Self(check);
                while state_of(check)? != 'T' {}
                return holds_a_lock(check).then_some(caught);
            }
        }
        None
    }
}

impl Drop for StoppedCheck {
    fn drop(&mut self) {
        // It is gone, if all is well.
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// A process that `parent` started.
fn child_of(parent: Pid) -> Option<Pid> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).ok()?.flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    children.collect::<String>().split_whitespace().find_map(|pid| Pid::from_raw(pid.parse().ok()?))
}

fn holds_a_lock(pid: Pid) -> bool {
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.split_whitespace().any(|word| word == pid.to_string()))
}

/// As in `proc(5)`: T is stopped. `None` if there is no such process.
fn state_of(pid: Pid) -> Option<char> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.rsplit(") ").next()?.chars().next()
}

#[tokio::test]
async fn the_check_of_a_killed_manager_does_not_keep_the_next_one_out() {
    let mut manager = Manager::init("m1");
    let deadline = Instant::now() + Duration::from_secs(60);
    let check = loop {
        assert!(Instant::now() < deadline, "no check was caught while it held the lock");
        manager.spawn();
        if let Some(check) = StoppedCheck::catch(&manager) {
            break check;
        }
        manager.kill();
    };
    manager.kill();
    manager.start().await;
    drop(check);
}
