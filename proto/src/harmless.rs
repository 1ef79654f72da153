//! Text from outside (names, errors of other programs, events) made harmless where people read it: on terminals and in logs.
//!
//! A terminal obeys control characters, and some characters change the order in which others are shown or are not shown at all.
//! Each of them is written as its escape, as in `\u{1b}`. What programs read (JSON, YAML) is not for this module: there it stays
//! exact.

use std::borrow::Cow;
use std::io::{self, Write};

/// Whether a character shows as what it is, and as nothing else.
pub fn is_harmless(c: char) -> bool {
    !c.is_control() && !is_invisible(c)
}

/// Characters that are not shown, or that change how others are: bidirectional controls (Unicode Standard Annex 9), zero-width
/// characters, fillers, line and paragraph separators, variation selectors of the supplement and tags.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// `text` on one line: line breaks too are written as escapes.
pub fn harmless(text: &str) -> Cow<'_, str> {
    escaped(text, is_harmless)
}

/// `text` on as many lines as it has.
pub fn harmless_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n' || is_harmless(c))
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&is_kept) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if is_kept(c) => escaped.push(c),
            '\n' | '\r' | '\t' => escaped.extend(c.escape_default()),
            c => escaped.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(escaped)
}

/// Where a log goes: each write is one entry, and becomes one line that is harmless.
#[derive(Debug, Clone)]
pub struct HarmlessLines<W>(pub W);

impl<W: Write> Write for HarmlessLines<W> {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(entry);
        let line = harmless(text.strip_suffix('\n').unwrap_or(&text));
        // In one write, so that entries of several threads do not mix.
        self.0.write_all(format!("{line}\n").as_bytes())?;
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An error and its causes in one line. Some errors name their cause in their own words: it is not said twice.
pub fn one_line(causes: impl Iterator<Item = String>) -> String {
    let line = causes.fold(String::new(), |line, cause| match line.as_str() {
        "" => cause,
        said if said.contains(&cause) => line,
        _ => format!("{line}: {cause}"),
    });
    line.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        for (text, shown) in [
            ("web-1", "web-1"),
            ("größe \u{65e5}\u{672c} 🙂", "größe \u{65e5}\u{672c} 🙂"),
            ("\x1b]0;owned\x07\x1b[2J", "\\u{1b}]0;owned\\u{7}\\u{1b}[2J"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("safe\u{202e}gpj.exe", "safe\\u{202e}gpj.exe"),
            ("ad\u{200b}min\u{feff}\u{2028}\u{e0041}", "ad\\u{200b}min\\u{feff}\\u{2028}\\u{e0041}"),
        ] {
            assert_eq!(harmless(text), shown);
        }
        assert_eq!(harmless_lines("a\n\x1b[1mb\r\n"), "a\n\\u{1b}[1mb\\r\n");
    }

    #[test]
    fn an_entry_of_a_log_is_one_line() {
        let mut log = HarmlessLines(Vec::new());
        log.write_all(b"INFO it failed error=x\nERROR forged\x1b[2J\n").unwrap();
        log.write_all(b"INFO next\n").unwrap();
        assert_eq!(log.0, b"INFO it failed error=x\\nERROR forged\\u{1b}[2J\nINFO next\n");
    }

    proptest! {
        #[test]
        fn nothing_harmful_is_left_and_harmless_text_is_as_it_was(text: String) {
            let shown = harmless(&text);
            prop_assert!(shown.chars().all(is_harmless));
            prop_assert_eq!(matches!(shown, Cow::Borrowed(_)), text.chars().all(is_harmless));
            prop_assert!(harmless_lines(&text).chars().all(|c| c == '\n' || is_harmless(c)));
        }
    }

    #[test]
    fn a_cause_is_said_once() {
        let line = |causes: &[&str]| one_line(causes.iter().map(|cause| (*cause).to_owned()));
        assert_eq!(line(&["cannot join", "m1: refused", "refused"]), "cannot join: m1: refused");
        assert_eq!(line(&["not\n  there", "not\n  there"]), "not there");
    }
}
