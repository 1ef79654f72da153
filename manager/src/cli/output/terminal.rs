//! The person at the terminal, if there is one.

use std::io::{self, BufRead, IsTerminal as _, Write as _};

use anyhow::Context as _;
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
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
    show(question)?;
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 && io::stdin().is_terminal() {
        // The next line of the terminal begins at its left edge.
        show("\n")?;
    }
    Ok(line.trim().to_owned())
}

fn show(text: &str) -> io::Result<()> {
    let mut err = io::stderr().lock();
    err.write_all(text.as_bytes())?;
    err.flush()
}

/// Asks for a line that nobody may read over a shoulder. Ctrl-C ends the program as ever, with the terminal as it was.
pub(in crate::cli) fn ask_secret(question: &str) -> anyhow::Result<Zeroizing<String>> {
    let input = io::stdin();
    let before = tcgetattr(&input).context("this can only be asked for at a terminal")?;
    tcsetattr(&input, OptionalActions::Flush, &silent(before.clone()))?;
    let interrupt = before.special_codes[SpecialCodeIndex::VINTR];
    let answer = show(question).and_then(|()| secret_line(input.lock(), Some(interrupt)));
    tcsetattr(&input, OptionalActions::Flush, &before)?;
    show("\n")?;
    let Some(answer) = answer? else {
        kill_process(getpid(), Signal::INT)?;
        return Err(Fault::Declined.into());
    };
    Ok(answer)
}

/// A secret, from a person or, where there is none, the next line of the standard input.
pub(in crate::cli) fn secret_or_line(question: &str) -> anyhow::Result<Zeroizing<String>> {
    match is_interactive() {
        true => ask_secret(question),
        // Nobody can interrupt a file.
        false => Ok(secret_line(io::stdin().lock(), None)?.unwrap_or_default()),
    }
}

/// Shows nothing of what is typed. The key that would interrupt the program is read as the end of a line instead, for a
/// program that is interrupted restores no terminal.
fn silent(mut modes: Termios) -> Termios {
    modes.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    modes.special_codes[SpecialCodeIndex::VEOL] = modes.special_codes[SpecialCodeIndex::VINTR];
    modes
}

/// The next line to the letter, for a password may end with a space, or none if it is interrupted.
fn secret_line(input: impl BufRead, interrupt: Option<u8>) -> io::Result<Option<Zeroizing<String>>> {
    // Large enough for any, so that it leaves no copies where it was before it grew.
    let mut line = Zeroizing::new(Vec::with_capacity(1024));
    for byte in input.bytes() {
        match byte? {
            b'\n' => break,
            byte if Some(byte) == interrupt => return Ok(None),
            byte => line.push(byte),
        }
    }
    let text = std::str::from_utf8(&line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(Some(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_ends_with_its_line_and_is_given_up_at_an_interrupt() {
        let read = |text: &str| secret_line(text.as_bytes(), Some(3)).unwrap().map(|line| line.to_string());
        assert_eq!(read("a b\u{e4}\nnext"), Some("a b\u{e4}".to_owned()));
        assert_eq!(read(" a space at its end \r\n"), Some(" a space at its end ".to_owned()));
        assert_eq!(read("cut off"), Some("cut off".to_owned()));
        assert_eq!(read(""), Some(String::new()));
        assert_eq!(read("ab\u{3}c\n"), None);
        assert!(secret_line(&[0xff, b'\n'][..], None).is_err());
    }
}
