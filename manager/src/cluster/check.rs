//! Looking at the registry's file before it is used.
//!
//! redb takes a file that was closed properly for undamaged and panics where it is not, and a manager that carries traffic
//! must not die of that. So the file is first read by another process, which may. That process ends with the manager, however
//! the manager ends: it holds the registry's lock, and the next start needs that.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use festoon_cluster::storage;
use festoon_proto::harmless::harmless_lines;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::{BuildError, DiskError, disk};
use crate::data_dir::DataDir;

/// What the other process ends with when it panics: what Rust ends with.
const PANICKED: i32 = 101;

/// The signals that a program gets for what it did itself: SIGILL, SIGABRT, SIGBUS, SIGSEGV.
const CRASHES: [i32; 4] = [4, 6, 7, 11];

/// One of the files that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The registry.
    Registry,
    /// The audit log.
    Audit,
}

impl Part {
    fn path(self, data: &DataDir) -> PathBuf {
        match self {
            Self::Registry => data.registry(),
            Self::Audit => data.audit(),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Audit => "audit",
        }
    }
}

/// Reads and checks all of a file in `data`; an error says what is wrong. Ends the process if the file makes redb
/// panic, so it is for a process of its own: `festoon-manager check`.
pub fn check(data: &DataDir, part: Part) -> Result<(), BuildError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing is to be put back, and after a panic nothing can be trusted"
    )]
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{}", harmless_lines(&panic.to_string()));
        std::process::exit(PANICKED);
    }));
    // The thread that started it may go before others, and this need not.
    let _ = rustix::process::setpriority_process(None, 0);
    let path = part.path(data);
    if part == Part::Audit && !path.exists() {
        return Ok(());
    }
    let database = disk::open(&path)?;
    match part {
        Part::Registry => Ok(storage::check(database)?),
        Part::Audit => storage::check_audit(database).or_else(|damage| {
            // Nobody checks it a second time, as the registry is.
            eprintln!("{}", harmless_lines(&damage.to_string()));
            #[expect(clippy::disallowed_methods, reason = "nothing is to be put back")]
            std::process::exit(PANICKED)
        }),
    }
}

/// Has the kernel end this process with the manager `parent` that started it. An error says that the manager has ended.
pub fn end_with(parent: i32) -> std::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before that.
    match getppid() == Pid::from_raw(parent) {
        true => Ok(()),
        false => Err(std::io::Error::other("the manager that asked for this check has ended")),
    }
}

/// Has a process of its own check a file, if there is one. That it says an error is none here: opening the registry says
/// the same, and better.
pub(super) async fn check_apart(data: &DataDir, part: Part) -> Result<(), BuildError> {
    let path = part.path(data);
    if !path.exists() {
        return Ok(());
    }
    let mut program = program();
    program.args(["check", "--part", part.word(), "--for"]).arg(std::process::id().to_string());
    program.arg("--data-dir").arg(data.root());
    // The kernel takes the end of this very thread for that of the manager; it waits here until the check is over.
    let output = tokio::task::spawn_blocking(move || program.output()).await;
    let io = |reason: String| BuildError::Disk(DiskError::Io { path: path.clone(), reason });
    let output = output.map_err(|error| io(error.to_string()))?;
    let output = output.map_err(|error| io(format!("it can't be checked: {error}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().next().unwrap_or("it can't be read").to_owned();
    match (output.status.code(), output.status.signal()) {
        (Some(PANICKED), _) => Err(DiskError::Damaged { path, reason }.into()),
        (_, Some(signal)) if CRASHES.contains(&signal) => Err(DiskError::Damaged { path, reason }.into()),
        // Somebody ended it, which says nothing of the file.
        (_, Some(signal)) => Err(io(format!("its check was ended by signal {signal}: start this manager again"))),
        _ => Ok(()),
    }
}

/// This program, even if its file was replaced since it was started.
fn program() -> Command {
    let mut command = Command::new(Path::new("/proc/self/exe"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}
