//! The command line as an admin and a script use it: over the admin socket, and from elsewhere over HTTPS.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Manager, PROGRAM, text, until};
use crate::two_managers;
use crate::web::{PASSWORD, set_up_secret};

/// A machine of an admin, with a home of its own.
pub(crate) struct Desk {
    home: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Desk {
    pub(crate) fn new(environment: Vec<(&'static str, String)>) -> Self {
        Self { home: tempfile::tempdir().unwrap(), environment }
    }

    /// At the machine of a manager.
    pub(crate) fn at(manager: &Manager) -> Self {
        Self::new(vec![("FESTOON_MANAGER_DATA", manager.root.display().to_string())])
    }

    /// Elsewhere, with a token.
    fn with_token(managers: &[&Manager], token: &str) -> Self {
        let servers: Vec<_> = managers.iter().map(|manager| manager.https.to_string()).collect();
        let ca = fingerprint(managers[managers.len() - 1]);
        let token = ("FESTOON_TOKEN", token.to_owned());
        Self::new(vec![("FESTOON_SERVER", servers.join(",")), ("FESTOON_CA_FINGERPRINT", ca), token])
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments);
        self.equip(&mut command);
        command
    }

    /// Gives a command its environment.
    pub(crate) fn equip<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let environment = self.environment.iter().map(|(name, value)| (*name, value));
        command.env("HOME", self.home.path()).env_remove("XDG_CONFIG_HOME").envs(environment)
    }

    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        let pipe = Stdio::piped;
        let mut child = self.command(arguments).stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn().unwrap();
        // A program that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        self.must_with(arguments, "")
    }

    pub(crate) fn must_with(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What a command that fails ends with, and the line it says.
    pub(crate) fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments, "");
        (output.status.code().unwrap(), text(&output.stderr))
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.must(&[arguments, &["-o", "json"]].concat())).unwrap()
    }

    fn profile(&self) -> PathBuf {
        self.home.path().join(".config/festoon/config.toml")
    }
}

/// The fingerprint of the CA, as an admin reads it on a manager.
pub(crate) fn fingerprint(manager: &Manager) -> String {
    let shown: Value = serde_json::from_str(&manager.must(&["ca", "show", "-o", "json"])).unwrap();
    shown["authorities"][0]["fingerprint"].as_str().unwrap().to_owned()
}

/// A token of an owner, made at the machine of a manager.
pub(crate) fn owner_token(manager: &Manager) -> String {
    let here = Desk::at(manager);
    here.must_with(&["users", "add", "root", "--role", "owner"], &format!("{PASSWORD}\n"));
    here.must(&["api-tokens", "add", "laptop", "--user", "root", "--role", "owner", "--sensitive"]).trim().to_owned()
}

/// Every command that changes or shows something of the cluster, with a part of what it prints.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["status"], "a single copy"),
    (&["whoami"], "role"),
    (&["networks", "list"], "default"),
    (&["networks", "add", "lab", "--prefix", "10.7.0.0/24"], "lab (n2) is added"),
    (&["networks", "set", "lab", "--reserve", "10.7.0.2-10.7.0.9", "--mtu", "1400"], "is changed"),
    (&["networks", "show", "lab"], "10.7.0.2-10.7.0.9"),
    (&["endpoints", "list", "--network", "lab"], "Nothing matches this filter"),
    (&["endpoints", "add", "one", "--network", "lab", "--tag", "blue", "--expires", "7d"], "PrivateKey = "),
    (&["endpoints", "list", "--tag", "blue"], "10.7.0.10"),
    (&["endpoints", "show", "10.7.0.10"], "(in 7d)"),
    (&["endpoints", "set", "one", "--address", "10.7.0.20", "--yes"], "is changed"),
    (&["endpoints", "tags", "one", "--add", "green", "--remove", "blue"], "is changed"),
    (&["endpoints", "expiry", "one", "never"], "is changed"),
    (&["endpoints", "rename", "one", "first"], "first (e1) is renamed"),
    (&["endpoints", "disable", "first", "--yes"], "is disabled"),
    (&["endpoints", "list", "--disabled"], "first"),
    (&["endpoints", "enable", "e1"], "is enabled"),
    (&["endpoints", "move", "first", "default", "--yes"], "is moved"),
    (&["endpoints", "config", "first"], "<the private key"),
    (&["endpoints", "config", "first", "--qr"], "▄"),
    (&["endpoints", "list", "--kind", "client", "--search", "irs"], "172.31.0."),
    (&["endpoints", "remove", "first", "--yes"], "first (e1) is removed"),
    (&["tokens", "add", "--name", "fleet", "--network", "lab", "--tag", "x", "--reusable", "--ephemeral"], "festoon1"),
    (&["tokens", "list"], "fleet"),
    (&["tokens", "show", "fleet"], "many"),
    (&["tokens", "remove", "fleet", "--yes"], "is removed"),
    (&["managers", "list"], "serving"),
    (&["managers", "set", "m1", "--priority", "7"], "is changed"),
    (&["managers", "priority", "m1", "8"], "is changed"),
    (&["managers", "region", "m1", "fra"], "is changed"),
    (&["managers", "show", "m1"], "fra"),
    (&["managers", "drain", "m1"], "is draining"),
    (&["managers", "undrain", "m1"], "takes endpoints again"),
    (&["drain"], "is draining"),
    (&["undrain"], "takes endpoints again"),
    (&["routes", "list", "--network", "lab", "--approved", "false"], "Nothing matches this filter"),
    (&["users", "list"], "root"),
    (&["users", "set", "root", "--name", "boss"], "boss (u1) is changed"),
    (&["users", "set", "boss", "--name", "root"], "is changed"),
    (&["users", "show", "root"], "owner"),
    (&["users", "sessions", "root"], "logged in nowhere"),
    (&["users", "end-sessions", "root", "--yes"], "have ended"),
    (&["api-tokens", "list"], "laptop"),
    (&["api-tokens", "add", "ci", "--user", "root", "--role", "viewer", "--network", "lab"], "festoon-api-"),
    (&["api-tokens", "show", "ci"], "viewer"),
    (&["api-tokens", "remove", "ci", "--yes"], "is removed"),
    (&["events", "list", "--kind", "admin.changed", "--since", "1h"], "network.add lab (n2)"),
    (&["audit", "list", "--last", "1000"], "manager.update"),
    (&["audit", "export", "-"], "\"previous\""),
    (&["oidc", "show"], "at no identity provider"),
    (&["oidc", "set", "https://id.example.com", "festoon", "--scope", "email"], "/session/oidc/callback"),
    (&["oidc", "set", "https://id.example.com", "other", "--yes"], "other"),
    (&["oidc", "set", "https://id.example.org", "festoon", "--yes"], "https://id.example.org"),
    (&["oidc", "show"], "festoon"),
    (&["oidc", "remove", "--yes"], "at no identity provider"),
    (&["destinations", "list"], "Events are sent nowhere"),
    (&["destinations", "add", "hook", "https://hooks.example.com/festoon", "--event", "endpoint.up"], "whsec_"),
    (&["destinations", "list"], "https://hooks.example.com/festoon"),
    (&["destinations", "set", "hook", "--network", "lab"], "is changed"),
    (&["destinations", "show", "hook"], "endpoint.up"),
    (&["destinations", "rotate-secret", "hook", "--overlap", "1h"], "whsec_"),
    (&["destinations", "dead-letters", "hook"], "No event was given up"),
    (&["destinations", "redeliver", "hook"], "are sent again"),
    (&["destinations", "disable", "hook"], "is disabled"),
    (&["destinations", "enable", "hook"], "is enabled"),
    (&["destinations", "remove", "hook", "--yes"], "is removed"),
    (&["snapshots", "create"], "festoon-2"),
    (&["snapshots", "list"], "KiB"),
    (&["networks", "remove", "lab", "--yes"], "lab (n2) is removed"),
];

async fn every_command_works(choose: impl Fn(&Manager, &str) -> Desk) {
    let manager = Manager::init("m1").started().await;
    let token = owner_token(&manager);
    let desk = choose(&manager, &token);
    for (command, expected) in COMMANDS {
        let said = desk.must(command);
        assert!(said.contains(expected), "{command:?}: {said}");
        assert!(!said.contains(&token), "{command:?} shows a token");
        if command.get(1) == Some(&"list") {
            let all = desk.json(command);
            assert!(all.is_array(), "{command:?}: {all}");
            assert!(!desk.must(&[*command, &["-o", "yaml"]].concat()).is_empty());
        }
    }
    let (file, copy) = (desk.home.path().join("audit.jsonl"), desk.home.path().join("copy.age"));
    desk.must(&["audit", "export", file.to_str().unwrap()]);
    assert!(desk.must(&["audit", "verify", file.to_str().unwrap()]).contains("is whole"));
    let altered = std::fs::read_to_string(&file).unwrap().replacen("network.add", "network.odd", 1);
    std::fs::write(&file, altered).unwrap();
    assert_eq!(desk.fails(&["audit", "verify", file.to_str().unwrap()]).0, 1);
    let name = desk.json(&["snapshots", "list"])[0]["name"].as_str().unwrap().to_owned();
    desk.must(&["snapshots", "get", &name, copy.to_str().unwrap()]);
    assert!(std::fs::read(&copy).unwrap().starts_with(b"age-encryption.org"));
    assert!(!manager.log().contains(&token), "the token is in the log");
}

#[tokio::test]
async fn every_command_works_at_the_machine_of_a_manager() {
    every_command_works(|manager, _| Desk::at(manager)).await;
}

#[tokio::test]
async fn every_command_works_from_elsewhere_with_a_token() {
    every_command_works(|manager, token| Desk::with_token(&[manager], token)).await;
}

#[tokio::test]
async fn servers_of_the_environment_are_for_commands_that_can_ask_one() {
    let mut manager = Manager::init("m1");
    manager.environment.push(("FESTOON_SERVER", "https://192.0.2.1".into()));
    manager.environment.push(("FESTOON_PROFILE", "none".into()));
    manager.start().await;
    let data = manager.root.to_str().unwrap();
    let elsewhere = ("FESTOON_SERVER", "https://192.0.2.1".to_owned());
    let desk = Desk::new(vec![elsewhere.clone(), ("FESTOON_PROFILE", "none".to_owned())]);
    for here in [&["ca", "show", "--data-dir", data][..], &["status", "--data-dir", data]] {
        desk.must(here);
    }
    let here = Desk::new(vec![elsewhere, ("FESTOON_MANAGER_DATA", data.to_owned())]);
    here.must(&["ca", "show"]);
    let (code, said) = here.fails(&["ca", "show", "--server", "192.0.2.1"]);
    assert!(code == 2 && said.contains("without --server"), "{said}");
    let (code, said) = here.fails(&["status"]);
    assert!(code == 2 && said.contains("FESTOON_MANAGER_DATA"), "nobody guesses which is meant: {said}");
}

#[tokio::test]
async fn the_newest_of_a_long_audit_log_is_listed_and_that_there_is_more_is_said() {
    let manager = Manager::init("m1").started().await;
    let desk = Desk::at(&manager);
    for name in ["one", "two", "three"] {
        desk.must(&["networks", "add", name, "--prefix", "10.7.0.0/24"]);
    }
    let output = desk.run(&["audit", "list", "--last", "2", "-o", "json"], "");
    let entries: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = entries.as_array().unwrap().iter().map(|entry| &entry["subject"]["name"]).collect();
    assert_eq!(names, ["two", "three"]);
    assert!(text(&output.stderr).contains("audit export"), "{}", text(&output.stderr));
    assert!(desk.run(&["audit", "list"], "").stderr.is_empty());
    let after = entries[0]["number"].to_string();
    let output = desk.run(&["audit", "list", "--last", "1", "--after", &after, "-o", "json"], "");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()[0], entries[1]);
    assert!(output.stderr.is_empty());
    assert_eq!(desk.fails(&["audit", "list", "--last", "10001"]).0, 2);
}

#[tokio::test]
async fn a_script_tells_failures_apart_by_the_exit_code() {
    let mut manager = Manager::init("m1").started().await;
    let token = owner_token(&manager);
    let here = Desk::at(&manager);
    here.must(&["endpoints", "add", "laptop"]);
    let viewer = here.must(&["api-tokens", "add", "v", "--user", "root", "--role", "viewer"]);
    let (viewer, nobody) = (Desk::with_token(&[&manager], viewer.trim()), Desk::with_token(&[&manager], "x"));
    for (desk, command, code) in [
        (&here, &["endpoints", "add", "Not A Name"][..], 1),
        (&here, &["networks", "add", "x"], 2),
        (&here, &["endpoints", "remove", "laptop"], 2),
        (&here, &["endpoints", "show", "no"], 3),
        (&here, &["endpoints", "show", "e99"], 3),
        (&here, &["networks", "show", "no"], 3),
        (&here, &["endpoints", "add", "x", "--network", "no"], 3),
        (&here, &["endpoints", "add", "laptop"], 4),
        (&here, &["networks", "remove", "default", "--yes"], 4),
        (&viewer, &["endpoints", "remove", "laptop", "--yes"], 5),
        (&nobody, &["endpoints", "list"], 5),
    ] {
        let (got, said) = desk.fails(command);
        assert_eq!(got, code, "{command:?}: {said}");
        assert!(!said.is_empty() && !said.contains("panicked"), "{said}");
    }
    assert_eq!(here.fails(&["endpoints", "remove", "laptop"]).1.lines().count(), 1);
    assert!(here.must(&["endpoints", "list"]).contains("laptop"), "nothing of it did anything");
    let elsewhere = Desk::with_token(&[&manager], &token);
    manager.kill();
    assert_eq!((here.fails(&["status"]).0, elsewhere.fails(&["status"]).0), (6, 6));
}

#[tokio::test]
async fn a_login_pins_the_ca_and_is_forgotten_at_the_logout() {
    let manager = Manager::init("m1").started().await;
    let (url, ca) = (format!("https://{}", manager.https), fingerprint(&manager));
    let desk = Desk::new(Vec::new());
    let (code, said) = desk.fails(&["login", &url, "--user", "root", "--password-stdin"]);
    assert!(code == 2 && said.contains("--ca-fingerprint"), "nobody is there to compare it: {said}");
    let wrong = ["login", url.as_str(), "--user", "root", "--password-stdin", "--ca-fingerprint", &"0".repeat(64)];
    let (code, said) = desk.fails(&wrong);
    assert!(code == 6 && said.contains("another CA"), "{said}");
    assert!(!desk.profile().exists());

    let set_up = ["login", url.as_str(), "--set-up", "--user", "root", "--password-stdin", "--ca-fingerprint", &ca];
    let secrets = format!("{}\n{PASSWORD}\n", set_up_secret(&manager));
    assert!(desk.must_with(&set_up, &secrets).contains("Logged in as root"));
    assert_eq!(std::fs::metadata(desk.profile()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(desk.must(&["whoami"]).contains("session s1"));
    desk.must(&["networks", "add", "lab", "--prefix", "10.7.0.0/24"]);
    assert!(desk.must(&["users", "sessions", "root"]).contains("festoon-manager/"));
    assert!(desk.must(&["profiles"]).contains(&url));

    // Another person, limited to a network, in a profile of its own.
    let ann = format!("{PASSWORD}\n");
    desk.must_with(&["users", "add", "ann", "--role", "operator", "--network", "lab"], &ann);
    let login =
        ["login", url.as_str(), "--profile", "ann", "--user", "ann", "--password-stdin", "--ca-fingerprint", &ca];
    assert_eq!(desk.run(&login, "wrong\n").status.code(), Some(5));
    desk.must_with(&login, &ann);
    let nowhere = "0".repeat(64);
    let habits =
        [("FESTOON_SERVER", "https://127.0.0.1:1"), ("FESTOON_TOKEN", "x"), ("FESTOON_CA_FINGERPRINT", &nowhere)];
    let elsewhere = desk.command(&["whoami", "--profile", "ann"]).envs(habits).output().unwrap();
    assert!(text(&elsewhere.stdout).starts_with("ann"), "the other cluster's token stays there: {elsewhere:?}");
    let networks = desk.json(&["networks", "list", "--profile", "ann"]);
    assert_eq!(networks.as_array().unwrap().len(), 1, "{networks}");
    assert_eq!(desk.fails(&["networks", "add", "x", "--prefix", "10.8.0.0/24", "--profile", "ann"]).0, 5);
    assert_eq!(desk.json(&["networks", "list", "--profile", "default"]).as_array().unwrap().len(), 2);

    std::fs::set_permissions(desk.profile(), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(desk.fails(&["whoami"]).1.contains("chmod 600"));
    std::fs::set_permissions(desk.profile(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let kept = std::fs::read_to_string(desk.profile()).unwrap();
    desk.must(&["logout", "--profile", "default"]);
    assert!(!std::fs::read_to_string(desk.profile()).unwrap().contains("profiles.default"));
    std::fs::write(desk.profile(), kept).unwrap();
    let (code, said) = desk.fails(&["whoami", "--profile", "default"]);
    assert!(code == 5 && said.contains("session has ended"), "it is over at the manager too: {said}");
    assert!(!manager.log().contains(PASSWORD), "a password in the log");
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_does_not_answer() {
    let (mut first, second) = two_managers().await;
    let third = Manager::join("m3", &second).await;
    until("three vote", || third.must(&["status"]).contains("one more manager may fail")).await;
    let token = owner_token(&second);
    let servers = [&first, &second];
    let desk = Desk::with_token(&servers, &token);
    desk.must(&["networks", "list"]);
    first.kill();
    assert!(desk.must(&["networks", "list"]).contains("default"));
    until("changes go on", || desk.run(&["tokens", "add"], "").status.success()).await;
    let elsewhere = desk.json(&["status"]);
    assert_eq!(elsewhere["cluster"]["manager"], "m2");
}

/// A command that runs until it is ended, and the lines it prints.
struct Running {
    child: Child,
    lines: Receiver<Value>,
}

impl Running {
    fn start(desk: &Desk, arguments: &[&str]) -> Self {
        let mut child = desk.command(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let reader = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn next(&self) -> Value {
        self.lines.recv_timeout(Duration::from_secs(20)).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn events_go_on_at_another_manager_and_a_list_is_shown_again_when_it_changes() {
    let (mut first, second) = two_managers().await;
    let third = Manager::join("m3", &second).await;
    until("three vote", || third.must(&["status"]).contains("one more manager may fail")).await;
    let token = owner_token(&second);
    let desk = Desk::with_token(&[&first, &second], &token);
    let last = desk.json(&["events", "list", "--limit", "1", "--kind", "admin.changed"]);
    assert_eq!(last.as_array().unwrap().len(), 1);
    let watching =
        Running::start(&desk, &["events", "list", "--watch", "--limit", "1", "--kind", "admin.changed", "-o", "json"]);
    assert_eq!(watching.next()["id"], last[0]["id"]);
    let networks = Running::start(&desk, &["networks", "list", "--watch", "-o", "json"]);
    assert_eq!(networks.next().as_array().unwrap().len(), 1);
    second.must(&["networks", "add", "one", "--prefix", "10.1.0.0/24"]);
    assert_eq!(watching.next()["details"]["subject"]["name"], "one");
    assert_eq!(networks.next().as_array().unwrap().len(), 2);
    first.kill();
    until("changes go on", || second.run(&["networks", "add", "two", "--prefix", "10.2.0.0/24"]).status.success())
        .await;
    assert_eq!(watching.next()["details"]["subject"]["name"], "two", "nothing is missed, and nothing told twice");
    assert_eq!(networks.next().as_array().unwrap().len(), 3);
}

/// Who is named for this action in the audit log.
fn person_for(desk: &Desk, action: &str) -> Option<String> {
    let entries = desk.json(&["audit", "list"]);
    let entry = entries.as_array().unwrap().iter().rfind(|entry| entry["action"] == action)?.clone();
    assert_eq!((&entry["by"]["kind"], &entry["by"]["id"]), (&json!("local"), &json!("m1")), "{entry}");
    entry["by"]["person"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_laptop_follows_the_ca_and_the_audit_log_names_who_replaced_it() {
    let manager = Manager::init("m1").started().await;
    let here = Desk::at(&manager);
    let token = owner_token(&manager);
    let laptop = Desk::new(Vec::new());
    let login = ["login", &manager.https.to_string(), "--ca-fingerprint", &fingerprint(&manager)];
    let output = laptop.command(&login).env("FESTOON_TOKEN", &token).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let own = fingerprint(&manager);
    here.must(&["ca", "rotate"]);
    laptop.must(&["whoami"]);
    until("the next CA issues certificates", || here.run(&["ca", "promote"], "").status.success()).await;
    laptop.must(&["whoami"]);
    until("the CA before is given up", || here.run(&["ca", "retire", "--yes"], "").status.success()).await;
    until("the laptop believes the manager", || laptop.run(&["whoami"], "").status.success()).await;
    let profile = std::fs::read_to_string(laptop.profile()).unwrap();
    assert!(profile.contains(&fingerprint(&manager)) && !profile.contains(&own), "{profile}");
    here.must(&["managers", "rotate-key", "--overlap", "1h"]);
    for action in ["ca.add", "ca.promote", "ca.retire", "manager.rotate-key"] {
        let person = person_for(&here, action).unwrap_or_default();
        assert!(!person.is_empty(), "{action} names nobody");
    }
}

#[tokio::test]
async fn a_token_may_come_from_anywhere_and_is_hidden_if_it_is_an_argument() {
    let manager = Manager::init("m1").started().await;
    let token = manager.must(&["tokens", "add", "--witness"]).trim().to_owned();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    // What stands in front of each is a witness that could join; none does, for the directory is no place to write to.
    let said = |given: &[&str], environment: &[(&str, &str)], input: &str| {
        let desk = Desk::new(Vec::new());
        let rest = ["--name", "w1", "--https", "127.0.0.1:1", "--data-dir", "/dev/null/x"];
        let mut command = desk.command(&[&["witness"], given, &rest].concat());
        command.envs(environment.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        text(&child.wait_with_output().unwrap().stderr)
    };
    let named = format!("@{}", file.display());
    let by_argument = said(&[&token], &[], "");
    assert!(by_argument.contains("warning") && by_argument.contains("FESTOON_JOIN_TOKEN"), "{by_argument}");
    for (given, environment, input) in [
        (&["-"][..], &[][..], token.as_str()),
        (&[named.as_str()][..], &[][..], ""),
        (&[][..], &[("FESTOON_JOIN_TOKEN", token.as_str())][..], ""),
    ] {
        let said = said(given, environment, input);
        assert!(said.contains("/dev/null/x") && !said.contains("warning"), "{given:?}: {said}");
    }
    for missing in [said(&[], &[("FESTOON_JOIN_TOKEN", "")], ""), said(&["-"], &[], "")] {
        assert!(missing.contains("join token") && !missing.contains("/dev/null/x"), "{missing}");
    }
}
