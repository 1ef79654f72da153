//! The person at the terminal, if there is one.

use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal as _, Write as _};

use festoon_proto::harmless::harmless_lines;
use rustix::termios::tcgetwinsize;
use zeroize::Zeroizing;

use super::hidden::Hidden;
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

/// Whether somebody can be asked: what is typed is read, and would be seen. Where the output goes is another matter.
pub(in crate::cli) fn is_interactive() -> bool {
    io::stdin().is_terminal()
}

/// Sees that `what` is meant: by `is_sure`, or by asking.
pub(in crate::cli) fn confirm(what: &str, is_sure: bool) -> anyhow::Result<()> {
    if is_sure {
        return Ok(());
    }
    if !is_interactive() {
        return Err(Fault::Unconfirmed(what.to_owned()).into());
    }
    let answer = ask(&format!("{what}. Continue? [y/N] "))?;
    match matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") {
        true => Ok(()),
        false => Err(Fault::Declined.into()),
    }
}

/// Asks for a line.
pub(in crate::cli) fn ask(question: &str) -> anyhow::Result<String> {
    show(question)?;
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 && is_interactive() {
        // The next line of the terminal begins at its left edge.
        show("\n")?;
    }
    Ok(line.trim().to_owned())
}

/// Shows `text` to whoever answers: at the terminal, even if the standard error goes elsewhere.
fn show(text: &str) -> io::Result<()> {
    let text = harmless_lines(text);
    if !io::stderr().is_terminal()
        && let Ok(mut terminal) = OpenOptions::new().write(true).open("/dev/tty")
    {
        return terminal.write_all(text.as_bytes());
    }
    let mut err = io::stderr().lock();
    err.write_all(text.as_bytes())?;
    err.flush()
}

/// Asks for a line that nobody may read over a shoulder.
pub(in crate::cli) fn ask_secret(question: &str) -> anyhow::Result<Zeroizing<String>> {
    let hidden = Hidden::begin()?;
    let answer = show(question).and_then(|()| secret_line(io::stdin().lock()));
    drop(hidden);
    show("\n")?;
    Ok(answer?)
}

/// A secret: that of the environment's `variable`, or from a person, or where there is none the next line of the standard input.
pub(in crate::cli) fn secret_or_line(question: &str, variable: &str) -> anyhow::Result<Zeroizing<String>> {
    match festoon_secrets::variable(variable) {
        Some(secret) => Ok(secret),
        None if is_interactive() => ask_secret(question),
        None => Ok(secret_line(io::stdin().lock())?),
    }
}

/// The next line to the letter, for a password may end with a space.
fn secret_line(input: impl BufRead) -> io::Result<Zeroizing<String>> {
    // Large enough for any, so that it leaves no copies where it was before it grew.
    let mut line = Zeroizing::new(Vec::with_capacity(1024));
    for byte in input.bytes() {
        match byte? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    let text = std::str::from_utf8(&line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_ends_with_its_line() {
        let read = |text: &str| secret_line(text.as_bytes()).unwrap().to_string();
        assert_eq!(read("a b\u{e4}\nnext"), "a b\u{e4}");
        assert_eq!(read(" a space at its end \r\n"), " a space at its end ");
        assert_eq!(read("cut off"), "cut off");
        assert_eq!(read(""), "");
        assert!(secret_line(&[0xff, b'\n'][..]).is_err());
    }
}
