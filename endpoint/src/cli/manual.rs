//! What shells and `man` need to know of the commands: made from what the command line takes.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

/// Prints the completions for a shell.
pub(super) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "festoon", &mut text);
    Ok(io::stdout().lock().write_all(&text)?)
}

/// Writes a manual page for the program and for each of its commands.
pub(super) fn write(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("can't make {}", directory.display()))?;
    let write = clap_mangen::generate_to(Cli::command(), directory);
    write.with_context(|| format!("can't write to {}", directory.display()))
}
