//! The person at the terminal, if there is one.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcgetwinsize, tcsetattr};
use zeroize::Zeroizing;

use crate::cli::fault::Fault;

/// How wide the terminal is that the output goes to; none if it goes elsewhere.
pub(super) fn width() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let columns = tcgetwinsize(&out).map(|size| usize::from(size.ws_col)).ok();
    columns.filter(|&columns| columns > 0).or(Some(80))
}

/// Whether somebody can be asked.
pub(in crate::cli) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Sees that `what` is meant: by `is_sure`, or by asking.
pub(in crate::cli) fn confirm(what: &str, is_sure: bool) -> anyhow::Result<()> {
    if is_sure {
        return Ok(());
    }
    if !is_interactive() {
        return Err(Fault::Unconfirmed(what.to_owned()).into());
    }
    let answer = ask(&format!("{what}. Go on? [y/N] "))?;
    match matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") {
        true => Ok(()),
        false => Err(Fault::Declined.into()),
    }
}

/// Asks for a line.
pub(in crate::cli) fn ask(question: &str) -> anyhow::Result<String> {
    let mut err = io::stderr().lock();
    err.write_all(question.as_bytes())?;
    err.flush()?;
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 && io::stdin().is_terminal() {
        // The next line of the terminal begins at its left edge.
        err.write_all(b"\n")?;
    }
    Ok(line.trim().to_owned())
}

/// Asks for a line that nobody may read over a shoulder.
pub(in crate::cli) fn ask_secret(question: &str) -> anyhow::Result<Zeroizing<String>> {
    let input = io::stdin();
    let before = tcgetattr(&input).context("this can only be asked for at a terminal")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&input, OptionalActions::Flush, &silent)?;
    let answer = ask(question).map(Zeroizing::new);
    tcsetattr(&input, OptionalActions::Flush, &before)?;
    eprintln!();
    answer
}
