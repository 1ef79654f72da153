//! A network namespace that we made, and everything in it.

use std::ffi::OsStr;

use rustix::process::{Pid, Signal, kill_process};

use super::command::run;

/// A network namespace under `/run/netns`.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes it, with loopback up, without duplicate address detection, and with source checks off: a router that
    /// delays packets sees them twice.
    pub(super) fn create(name: String) -> anyhow::Result<Self> {
        run("ip", &["netns", "add", &name], "")?;
        let namespace = Self { name };
        namespace.set(&[
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
        ])?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command in it to the end and gives its standard output.
    pub(super) fn run<A: AsRef<OsStr>>(&self, program: &str, args: &[A], input: &str) -> anyhow::Result<String> {
        let mut all = vec![OsStr::new("netns"), OsStr::new("exec"), OsStr::new(&self.name), OsStr::new(program)];
        all.extend(args.iter().map(AsRef::as_ref));
        run("ip", &all, input)
    }

    /// Runs lines of `ip` commands in it.
    pub(super) fn ip(&self, lines: &str) -> anyhow::Result<()> {
        run("ip", &["-n", &self.name, "-batch", "-"], lines).map(drop)
    }

    /// The same, where the family does not show from the addresses.
    pub(super) fn ip6(&self, lines: &str) -> anyhow::Result<()> {
        run("ip", &["-6", "-n", &self.name, "-batch", "-"], lines).map(drop)
    }

    /// Runs lines of `nft` commands in it, all or none.
    pub(super) fn nft(&self, lines: &str) -> anyhow::Result<()> {
        self.run("nft", &["-f", "-"], lines).map(drop)
    }

    /// Sets kernel parameters: path under `/proc/sys` and value.
    pub(super) fn set(&self, parameters: &[(&str, &str)]) -> anyhow::Result<()> {
        let lines = parameters.iter().map(|(path, value)| format!("echo {value} > /proc/sys/{path}\n"));
        self.run("sh", &["-e"], &lines.collect::<String>()).map(drop)
    }

    /// Ends every process in it and removes it.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        Self::remove_by_name(&self.name)
    }

    pub(super) fn remove_by_name(name: &str) -> anyhow::Result<()> {
        for pid in run("ip", &["netns", "pids", name], "")?.split_whitespace() {
            if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
                // It may have ended by itself since.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        run("ip", &["netns", "del", name], "").map(drop)
    }
}
