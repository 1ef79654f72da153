//! What the agent tells systemd, and asks of it.

use std::path::Path;
use std::process::Command;

use sd_notify::NotifyState;

use crate::cli::TOKEN_VARIABLE;

const UNIT: &str = "festoon.service";
const UNIT_DIRS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// The agent carries traffic, or will as soon as a manager answers.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// The agent takes everything back.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(state: &[NotifyState<'_>]) {
    // Without systemd there is no socket to notify, and that is no error.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd cannot be notified");
    }
}

/// Whether systemd runs and knows the agent's unit.
pub fn has_unit() -> bool {
    sd_notify::booted().unwrap_or(false) && UNIT_DIRS.iter().any(|directory| Path::new(directory).join(UNIT).exists())
}

/// Starts the agent, now and with every start of the host. Says whether systemd did.
pub fn enable() -> bool {
    systemctl("enable")
}

/// Stops the agent, now and for good. Says whether systemd did.
pub fn disable() -> bool {
    systemctl("disable")
}

fn systemctl(action: &str) -> bool {
    Command::new("systemctl")
        .args([action, "--now", UNIT])
        .env_remove(TOKEN_VARIABLE)
        .status()
        .is_ok_and(|status| status.success())
}
