//! What can't be undone, or cuts somebody off, is asked about first.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::Admin;
use crate::canaries::code_of;
use crate::cli::{Desk, owner_token};
use crate::harness::until;
use crate::two_managers;

/// Commands that ask.
const DANGEROUS: &[&[&str]] = &[
    &["ca", "retire"],
    &["ca", "retire", "--force"],
    &["destinations", "remove", "hook"],
    &["destinations", "rotate-secret", "hook", "--overlap", "0s"],
    &["endpoints", "disable", "laptop"],
    &["endpoints", "disconnect", "laptop"],
    &["endpoints", "move", "laptop", "lab"],
    &["endpoints", "remove", "laptop"],
    &["endpoints", "set", "laptop", "--address", "172.31.0.77"],
    &["endpoints", "set", "laptop", "--move-to", "lab"],
    &["leave"],
    &["managers", "remove", "m2"],
    &["managers", "rotate-key", "--overlap", "0s"],
    &["networks", "remove", "lab"],
    &["oidc", "remove"],
    &["oidc", "set", "https://id.example.com", "festoon"],
    &["oidc", "set", "https://id.example.com", "other", "--scope", "email"],
    &["oidc", "set", "https://id.example.org", "festoon", "--scope", "email"],
    &["rejoin"],
    &["snapshots", "key"],
    &["tokens", "remove", "fleet"],
    &["users", "disable", "root"],
    &["users", "end-sessions", "root"],
    &["users", "end-sessions", "root", "s1"],
    &["users", "password", "root"],
    &["users", "remove", "root"],
    &["users", "set", "root", "--issuer", "https://id.example.com", "--subject", "1"],
    &["users", "set", "root", "--network", "lab"],
    &["users", "set", "root", "--role", "viewer"],
    &["users", "totp", "disable", "root"],
    &["users", "totp", "recovery-codes", "root"],
];

#[tokio::test]
async fn what_destroys_is_refused_without_a_person_or_yes() {
    let (first, _second) = two_managers().await;
    owner_token(&first);
    let desk = Desk::at(&first);
    desk.must(&["endpoints", "add", "laptop"]);
    desk.must(&["networks", "add", "lab", "--prefix", "10.7.0.0/24"]);
    desk.must(&["tokens", "add", "--name", "fleet"]);
    desk.must(&["destinations", "add", "hook", "https://hooks.example.com/festoon"]);
    desk.must(&["oidc", "set", "https://id.example.com", "festoon", "--scope", "email"]);
    let admin = Admin::of(&first);
    let enrolment = admin.ask(Method::POST, "/users/u1/totp", &[], None).await.json::<Value>().await.unwrap();
    let confirm = json!({"secret": enrolment["secret"], "code": code_of(enrolment["secret"].as_str().unwrap())});
    let confirmed = admin.ask(Method::PUT, "/users/u1/totp", &[], Some(confirm)).await;
    assert!(confirmed.status().is_success(), "{confirmed:?}");
    desk.must(&["ca", "rotate"]);
    until("the next CA is trusted", || desk.run(&["ca", "promote"], "").status.success()).await;
    let done = || {
        let entries = desk.json(&["audit", "list"]);
        entries.as_array().unwrap().iter().filter(|entry| entry["by"]["kind"] == "local").count()
    };
    let before = done();
    assert!(before > 5, "{before}");
    for command in DANGEROUS {
        let (code, said) = desk.fails(command);
        assert!(code == 2 && said.contains("--yes") && said.lines().count() == 1, "{command:?}: {code} {said}");
    }
    assert_eq!(done(), before, "nothing was changed");
    // What takes nothing away, or gives time to follow, is not asked about.
    desk.must(&["oidc", "set", "https://id.example.com", "festoon", "--scope", "email", "--scope", "groups"]);
    desk.must(&["users", "set", "root", "--role", "owner", "--all-networks"]);
    desk.must(&["endpoints", "set", "laptop", "--tags", "x", "--expires", "7d"]);
    desk.must(&["managers", "rotate-key", "--overlap", "1h"]);
    desk.must(&["managers", "rotate-key", "--overlap", "0s", "--yes"]);
    desk.must(&["destinations", "rotate-secret", "hook", "--overlap", "0s", "--yes"]);
    let (code, said) = desk.fails(&["endpoints", "disconnect", "laptop", "--yes"]);
    assert!(code == 4 && said.contains("nothing to cut off"), "{said}");
}
