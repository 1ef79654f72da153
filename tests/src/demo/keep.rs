//! `KEEP=1`: the lab stays, with a page of commands to look around in it.

use std::env;
use std::fs::{read_to_string, remove_dir_all};
use std::io::{IsTerminal, stdin};
use std::process::Command;

use anyhow::Context;

use crate::lab::{Lab, tool};
use crate::overlay::{Overlay, WireGuard};

/// Whether the user wants the lab to stay.
///
/// # Errors
/// Where it cannot.
pub(super) fn is_wanted() -> anyhow::Result<bool> {
    let is_wanted = env::var_os("KEEP").is_some_and(|value| !value.is_empty() && value != "0");
    let can_stay = is_real_root() || stdin().is_terminal();
    anyhow::ensure!(
        can_stay || !is_wanted,
        "KEEP=1: without root the lab ends with this program: run it in a terminal"
    );
    Ok(is_wanted)
}

/// What is left, in words.
pub(super) struct Remains {
    look: Vec<String>,
    remove: String,
}

/// Brings the lab into good order and writes down how to look around.
pub(super) fn prepare(lab: &Lab, mut overlay: Overlay<'_>, laptop: &WireGuard) -> anyhow::Result<Remains> {
    for manager in &mut overlay.managers {
        if !manager.program()?.is_running() {
            manager.start()?;
        }
    }
    overlay.wait_until_ready()?;
    let (agent, manager) = (tool("festoon")?, tool("festoon-manager")?);
    let (agent, manager) = (agent.display(), manager.display());
    let enter = |host: &crate::lab::Host| format!("ip netns exec {}", host.namespace().name());
    let mut look = Vec::new();
    for it in &overlay.managers {
        look.push(format!("{} {manager} --data-dir {} status", enter(&it.host), it.data_dir().display()));
    }
    for it in &overlay.agents {
        look.push(format!("{} {agent} --state-dir {} status", enter(&it.host), it.state_dir().display()));
    }
    look.push(format!("{} wg show {}", enter(&laptop.host), laptop.interface()));
    let to = overlay.agents.first().context("no agent")?.v4()?;
    look.push(format!("{} ping -i 0.2 {to}", enter(&laptop.host)));
    let remove = format!(
        "{} remove-lab {} && rm -r {} && rm -f /var/run/wireguard/{}.sock",
        tool("festoon-labtool")?.display(),
        lab.namespaces().join(" "),
        lab.dir().display(),
        laptop.interface()
    );
    // From here on they live on their own.
    lab.mark_kept();
    Ok(Remains { look, remove })
}

impl Remains {
    /// Leaves the lab to the user. In a user namespace of our own it ends with this program: so a shell in it comes first.
    pub(super) fn hand_over(self, lab: Lab) -> anyhow::Result<()> {
        println!("\nThe lab stays up, with m1 running again. To look around:\n  {}", self.look.join("\n  "));
        if is_real_root() {
            println!("To remove it all:\n  {}", self.remove);
            drop(lab);
            return Ok(());
        }
        println!(
            "The lab is in a user namespace that only this shell can see, and ends with it. Type `exit` to remove it."
        );
        let shell = env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
        Command::new(shell).status().context("cannot start a shell")?;
        // All else goes with the namespace.
        Ok(remove_dir_all(lab.dir())?)
    }
}

/// Whether root here is root of the machine: then all ids mean themselves.
fn is_real_root() -> bool {
    let map = read_to_string("/proc/self/uid_map").unwrap_or_default();
    let words: Vec<&str> = map.split_whitespace().collect();
    words == ["0", "0", "4294967295"]
}
