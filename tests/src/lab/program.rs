//! A program that runs on a host.

use std::ffi::OsStr;
use std::fs::{File, read_to_string};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::wait::{wait_for, wait_until};
use super::{Namespace, Site};

/// How much of a log [`log_tail`] gives.
const TAIL_LINES: usize = 40;

/// A program on a host, with everything it prints in a log file. Killed when dropped, unless the lab is kept.
#[derive(Debug)]
pub struct Program {
    site: Arc<Site>,
    name: String,
    child: Child,
    /// Open as long as the program is wanted: lab tools end with it, even when we are killed.
    stdin: Option<ChildStdin>,
    log: PathBuf,
}

impl Program {
    pub(super) fn spawn<A: AsRef<OsStr>>(
        site: &Arc<Site>,
        (namespace, host): (&Namespace, &str),
        environment: Vec<(&'static str, String)>,
        program: &Path,
        args: &[A],
    ) -> anyhow::Result<Self> {
        let file = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
        let name = format!("{file} on {host}");
        let log = site.new_log(host, &file);
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        // `ip netns exec` becomes the program: the child's id is the program's.
        let mut child = Command::new("ip")
            .args(["netns", "exec", namespace.name()])
            .arg(program)
            .args(args)
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name}: is `ip` installed? (see tests/install-needs)"))?;
        let stdin = child.stdin.take();
        Ok(Self { site: Arc::clone(site), name, child, stdin, log })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// All it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        read_to_string(&self.log).unwrap_or_default()
    }

    /// Stops it as if its machine hung (SIGSTOP).
    ///
    /// # Errors
    /// When it has ended; so for all signals.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Errors
    /// When it has ended.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Kills it (SIGKILL). When this returns it is gone.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait().map(drop).with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it has not by then, with the end of its log.
    pub fn wait(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        let status = wait_for(within, &what, || self.child.try_wait().ok().flatten());
        status.with_context(|| log_tail(&self.log))
    }

    /// Waits until it has printed `text`.
    ///
    /// # Errors
    /// When it has not by then or has ended without it, with the end of its log.
    pub fn wait_for_log(&mut self, within: Duration, text: &str) -> anyhow::Result<Duration> {
        let what = format!("`{text}` in the log of {}", self.name);
        let mut ended = false;
        let waited = wait_until(within, &what, || {
            // In this order: what it printed just before its end still counts.
            ended = !self.is_running();
            self.log().contains(text) || ended
        })?;
        anyhow::ensure!(self.log().contains(text), "{} ended without `{text}`:\n{}", self.name, log_tail(&self.log));
        Ok(waited)
    }

    fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        anyhow::ensure!(self.is_running(), "{} has ended:\n{}", self.name, log_tail(&self.log));
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.site.is_kept() {
            // Only fails when it has ended.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The last lines of a log, for error messages.
#[must_use]
pub fn log_tail(log: &Path) -> String {
    let text = read_to_string(log).unwrap_or_else(|error| format!("cannot read {}: {error}", log.display()));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
