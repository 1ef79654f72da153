//! Tests that need a network of their own run again in one: `unshare` makes it, and it is gone when they end.

use std::process::{Command, Stdio};

const INSIDE: &str = "FESTOON_TEST_NAMESPACE";

/// Whether this process is in a namespace of its own. If not, runs the test called `name` in one and says `false` once
/// it has passed there. Works without root too, where the kernel allows user namespaces.
pub(crate) fn in_fresh_namespace(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        return true;
    }
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "in a namespace of its own:\n{text}");
    false
}

/// Runs `ip` and gives what it printed.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
