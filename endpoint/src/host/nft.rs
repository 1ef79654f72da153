//! Runs `nft`, the program of nftables.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::guard;
use super::plan::Desired;
use super::slot::Slot;

/// Where distributions have it. A service may have been started without a useful `PATH`.
const PLACES: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"];
const PATIENCE: Duration = Duration::from_secs(10);
/// What nft says of a table that is not there. A hint may follow.
const NOT_THERE: &str = "Error: No such file or directory";
/// How often in a row the filter is set while somebody else changes it.
const TRIES: u32 = 3;

/// The packet filter could not be set or read.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// There is no program for it.
    #[error(
        "the program nft is not installed, so nothing keeps overlay traffic in the tunnel when a neighbour announces a route: \
         install the package nftables, or start the agent with --leak-protection warn to run without this protection"
    )]
    Missing,
    /// It failed.
    #[error(
        "nft failed on the packet filter that keeps overlay traffic in the tunnel ({0}): see whether `nft list ruleset` works as \
         root, or start the agent with --leak-protection warn to run without this protection"
    )]
    Failed(String),
    /// The device's name would be part of a script.
    #[error(
        "the interface name {0:?} has characters other than letters, digits, '-', '_' and '.': choose another with --interface"
    )]
    Interface(String),
}

impl GuardError {
    /// Whether the kernel cannot have a table of this kind at all.
    fn is_for_want_of_kernel(&self) -> bool {
        matches!(self, Self::Failed(reason) if reason.contains("not supported"))
    }
}

/// The packet filter of one agent.
#[derive(Debug)]
pub(super) struct Guard {
    slot: Slot,
    interface: String,
    filter: Table,
    arp: Table,
}

impl Guard {
    pub(super) fn new(slot: Slot, interface: &str) -> Result<Self, GuardError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !interface.bytes().all(is_plain) {
            return Err(GuardError::Interface(interface.to_owned()));
        }
        let (filter, arp) = (Table::new("inet", slot), Table::new("arp", slot));
        Ok(Self { slot, interface: interface.to_owned(), filter, arp })
    }

    /// Sets the filter if it should be another. With `look` also if it is not as it was set.
    pub(super) async fn set(&mut self, desired: &Desired, look: bool) -> Result<(), GuardError> {
        self.filter.set(guard::script(self.slot, &self.interface, desired), look).await
    }

    /// The same for the filter of ARP, which not every kernel has.
    pub(super) async fn set_arp(&mut self, desired: &Desired, look: bool) -> Result<(), GuardError> {
        self.arp.set(guard::arp_script(self.slot, &self.interface, desired), look).await
    }
}

/// A table of nftables.
#[derive(Debug)]
struct Table {
    family: &'static str,
    name: String,
    /// The script that was set last, and what nft then listed.
    known: Option<(String, String)>,
}

impl Table {
    fn new(family: &'static str, slot: Slot) -> Self {
        Self { family, name: slot.filter(), known: None }
    }

    async fn set(&mut self, script: String, look: bool) -> Result<(), GuardError> {
        if let Some((set, listed)) = &self.known
            && *set == script
            && (!look || self.list().await.is_ok_and(|now| now.as_ref() == Some(listed)))
        {
            return Ok(());
        }
        let healed = self.known.take().is_some_and(|(set, _)| set == script);
        // Somebody may change it between one and the other: what is listed then must not be taken for what was set.
        for _ in 0..TRIES {
            run(&["-f", "-"], &script).await?;
            let listed = self.list().await?.filter(|listed| is_whole(&script, listed));
            self.known = listed.map(|listed| (script.clone(), listed));
            if self.known.is_some() {
                break;
            }
        }
        if healed {
            tracing::warn!("something changed or removed the packet filter of this agent; it has been set again");
        }
        // Nobody knows it after so many tries; then the next look sets it.
        Ok(())
    }

    /// Takes it away if it is there. Whoever cannot see whether it is has not taken it away.
    async fn remove(&self, removal: &str) -> Result<(), GuardError> {
        match self.list().await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => run(&["-f", "-"], removal).await.map(drop),
            Err(error) if error.is_for_want_of_kernel() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What nft says of it, without counts. None if it is not there.
    async fn list(&self) -> Result<Option<String>, GuardError> {
        let listed = run(&["--stateless", "list", "table", self.family, &self.name], "").await;
        match listed {
            Ok(text) => Ok(Some(text)),
            Err(GuardError::Failed(reason)) if reason.starts_with(NOT_THERE) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether a listing has as many verdicts and sets with elements as the script that was set: nft writes what it lists in other words
/// than scripts, which differ between its versions.
fn is_whole(script: &str, listed: &str) -> bool {
    ["accept", "drop", "elements ="].iter().all(|word| script.matches(word).count() == listed.matches(word).count())
}

/// Takes the filters away.
pub(super) async fn remove(slot: Slot) -> Result<(), GuardError> {
    let arp = Table::new("arp", slot).remove(&guard::arp_removal(slot)).await;
    Table::new("inet", slot).remove(&guard::removal(slot)).await.and(arp)
}

async fn run(args: &[&str], input: &str) -> Result<String, GuardError> {
    let program = find().ok_or(GuardError::Missing)?;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => GuardError::Missing,
        _ => GuardError::Failed(error.to_string()),
    };
    let mut child = Command::new(program)
        .args(args)
        // Its errors are read.
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let exchange = exchange(&mut child, input.to_owned());
    let Ok(said) = timeout(PATIENCE, spawn_blocking(exchange)).await else {
        // Its pipes close, and the thread that reads them ends.
        let _ = child.kill();
        let _ = child.wait();
        return Err(GuardError::Failed(format!("it was still running after {} s", PATIENCE.as_secs())));
    };
    // It has closed its output, so it is about to end.
    let status = child.wait().map_err(failed)?;
    let (output, errors) = said.map_err(io::Error::other).flatten().map_err(failed)?;
    if status.success() {
        return Ok(output);
    }
    let line = errors.lines().find(|line| !line.trim().is_empty()).unwrap_or("it printed no error");
    Err(GuardError::Failed(line.trim().to_owned()))
}

/// Writes `input` to the program and reads what it says until it is done: its output and its errors.
fn exchange(child: &mut Child, input: String) -> impl FnOnce() -> io::Result<(String, String)> + Send + use<> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    move || {
        if let Some(mut stdin) = stdin {
            // A program that does not want its input says why in its errors.
            let _ = stdin.write_all(input.as_bytes());
        }
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        if let Some(mut stdout) = stdout {
            stdout.read_to_end(&mut output)?;
        }
        if let Some(mut stderr) = stderr {
            stderr.read_to_end(&mut errors)?;
        }
        Ok((String::from_utf8_lossy(&output).into_owned(), String::from_utf8_lossy(&errors).into_owned()))
    }
}

pub(super) fn find() -> Option<PathBuf> {
    PLACES.iter().map(|place| PathBuf::from(place).join("nft")).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_left_of_the_filter_is_not_taken_for_it() {
        let script = guard::script(Slot::of("festoon0"), "festoon0", &Desired::default());
        let (_, table) = script.split_once("table inet festoon").unwrap();
        assert!(is_whole(&script, table));
        let flushed: String = table.lines().filter(|line| !line.contains("drop")).collect();
        assert!(!is_whole(&script, &flushed));
        assert!(!is_whole(&script, ""));
    }

    #[test]
    fn a_kernel_without_nftables_has_no_filter() {
        for (reason, expected) in [
            ("netlink.c: Unable to initialize Netlink socket: Protocol not supported", true),
            ("Error: cache initialization failed: Operation not permitted", false),
            ("it was still running after 10 s", false),
        ] {
            assert_eq!(GuardError::Failed(reason.into()).is_for_want_of_kernel(), expected, "{reason}");
        }
    }
}
