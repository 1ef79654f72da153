//! One-shot commands whose failures say what failed.

use std::env::current_exe;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Runs a command to its end and gives its standard output. `input` becomes its standard input.
///
/// # Errors
/// Names the command, and its standard error when it failed.
pub(super) fn run<A: AsRef<OsStr>>(program: &str, args: &[A], input: &str) -> anyhow::Result<String> {
    let shown = show(program, args);
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{shown}`: is {program} installed? (see tests/install-needs)"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that fails at once closes its input: its own words say why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({}): {}{}", output.status, stderr.trim(), show_input(input));
    }
    Ok(stdout)
}

fn show<A: AsRef<OsStr>>(program: &str, args: &[A]) -> String {
    let mut shown = program.to_owned();
    for arg in args {
        let _ = write!(shown, " {}", arg.as_ref().display());
    }
    shown
}

fn show_input(input: &str) -> String {
    if input.is_empty() { String::new() } else { format!("\nits input:\n{input}") }
}

/// Where `name`, a program of this workspace, was built: beside the running program, or one folder up for a test.
///
/// # Errors
/// When it was not built.
pub fn tool(name: &str) -> anyhow::Result<PathBuf> {
    let exe = current_exe().context("cannot tell where this program lies")?;
    let mut places = exe.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    places.find(|path| path.is_file()).with_context(|| format!("{name} is not built beside {}", exe.display()))
}
