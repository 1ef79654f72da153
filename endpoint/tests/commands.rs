//! The program as a person meets it, without an overlay.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use festoon_endpoint::state::StateDir;
use festoon_proto::token::{JoinToken, TokenKind, TokenSecret};
use festoon_proto::{ClusterId, Fingerprint};

fn festoon(state: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_festoon"));
    command.env_clear().arg("--state-dir").arg(state).args(arguments).output().unwrap()
}

/// The one line the program fails with.
fn complaint(state: &Path, arguments: &[&str]) -> String {
    let output = festoon(state, arguments);
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim().to_owned()
}

/// The one line that `join` fails with, given this token in a file.
fn complaint_about(state: &Path, token: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), token).unwrap();
    complaint(state, &["join", &format!("@{}", file.path().display())])
}

/// A port on which nothing listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn token(kind: TokenKind) -> String {
    let token = JoinToken {
        kind,
        cluster: ClusterId([1; 16]),
        managers: vec![nobody()],
        ca_fingerprint: Fingerprint([2; 32]),
        secret: TokenSecret::from_bytes([3; 32]),
    };
    token.to_secret_string()
}

#[test]
fn a_token_that_is_none_is_refused_by_what_is_wrong_with_it() {
    let state = tempfile::tempdir().unwrap();
    let good = token(TokenKind::Endpoint);
    assert!(complaint_about(state.path(), "hello").contains("not a join token"));
    assert!(complaint_about(state.path(), &good[..good.len() - 5]).contains("damaged or cut off"));
    let manager = token(TokenKind::Manager);
    assert!(complaint_about(state.path(), &manager).contains("festoon-manager join"));
    let argument = festoon(state.path(), &["join", "hello"]);
    assert!(String::from_utf8_lossy(&argument.stderr).contains("FESTOON_JOIN_TOKEN"), "{argument:?}");
    assert!(!state.path().join("identity.json").exists());
}

#[test]
fn a_join_that_nobody_answers_can_be_repeated_with_the_same_key() {
    let state = tempfile::tempdir().unwrap();
    let token = token(TokenKind::Endpoint);
    let error = complaint_about(state.path(), &token);
    assert!(error.starts_with("festoon: cannot join: no manager answers (127.0.0.1:"), "{error}");
    assert_eq!(error.matches("no manager answers").count(), 1, "{error}");
    let identity = || StateDir::new(state.path()).identity().unwrap().unwrap().private_key.public_key();
    let first = identity();
    complaint_about(state.path(), &token);
    assert_eq!(identity(), first);
}

#[test]
fn what_asks_the_agent_exits_with_3_without_a_membership() {
    let state = tempfile::tempdir().unwrap();
    for arguments in
        [&["ping", "m1"][..], &["netcheck", "-o", "json"], &["status", "--watch"], &["status", "-o", "json"]]
    {
        let output = festoon(state.path(), arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?} {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    assert_eq!(festoon(state.path(), &["ping"]).status.code(), Some(2));
}

#[test]
fn a_bundle_is_for_its_owner_alone_and_takes_the_place_of_nothing() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("bundle.tar.gz");
    let arguments = ["debug", "bundle", "-o", file.to_str().unwrap()];
    let output = festoon(state.path(), &arguments);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let list = Command::new("tar").arg("-tzf").arg(&file).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.lines().next().unwrap().starts_with("festoon-debug-host-"), "{list}");
    assert!(list.contains("/INDEX\n") && list.contains("/host/sysctl\n"), "{list}");
    assert!(complaint(state.path(), &arguments).contains("name another with -o"));
}

#[test]
fn without_an_agent_status_says_what_to_do_and_exits_with_3() {
    let state = tempfile::tempdir().unwrap();
    let output = festoon(state.path(), &["status"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("this host has not joined an overlay"));
    assert!(festoon(state.path(), &["down"]).status.success());
}

#[test]
fn a_host_that_is_no_member_can_neither_go_up_nor_leave() {
    let state = tempfile::tempdir().unwrap();
    assert!(complaint(state.path(), &["up"]).contains("has not joined"));
    assert!(complaint(state.path(), &["leave"]).contains("has not joined"));
    assert!(complaint(&state.path().join("nowhere"), &["up"]).contains("has not joined"));
}

#[test]
fn a_second_user_of_the_state_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::new(directory.path());
    let _lock = state.lock().unwrap();
    let error = complaint(directory.path(), &["up"]);
    assert!(error.contains("another festoon uses"), "{error}");
}

#[test]
fn an_output_that_nobody_reads_is_no_error() {
    let state = tempfile::tempdir().unwrap();
    for arguments in [&["version"][..], &["down"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_festoon"));
        command.env_clear().arg("--state-dir").arg(state.path()).args(arguments).stdout(writer);
        let output = command.output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?} {output:?}");
    }
}

#[test]
fn a_variable_that_is_empty_is_not_set_and_a_switch_takes_every_word_for_yes_and_no() {
    let state = tempfile::tempdir().unwrap();
    let run = |name: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_festoon"));
        command.env_clear().env(name, value).arg("--state-dir").arg(state.path()).arg("version").output().unwrap()
    };
    for name in ["FESTOON_LISTEN_PORT", "FESTOON_ROUTES", "FESTOON_METRICS", "FESTOON_NO_SEGMENTATION"] {
        assert!(run(name, "").status.success(), "{name}");
    }
    for word in ["1", "0", "true", "false", "yes", "no"] {
        assert!(run("FESTOON_NO_SEGMENTATION", word).status.success(), "{word}");
    }
    assert_eq!(run("FESTOON_NO_SEGMENTATION", "perhaps").status.code(), Some(2));
}
