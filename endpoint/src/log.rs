//! The agent's log: to standard error, and its last lines in memory for `festoon debug bundle`. Text from outside is made
//! harmless, and an entry is one line. Colours would have to be told from what others put into it, so there are none.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use festoon_proto::harmless::HarmlessLines;
use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// Lines that are kept.
const LINES: usize = 2_000;
/// Bytes that are kept of one.
const LINE_LEN: usize = 1_000;

/// The last lines of the log, of bounded length. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct LastLines {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl LastLines {
    /// The lines, the oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn push(&self, line: &str) {
        let mut end = line.len().min(LINE_LEN);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line[..end].to_owned());
    }
}

/// Takes one event at a time, which the formatter writes as a whole.
impl Write for LastLines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        String::from_utf8_lossy(event).lines().for_each(|line| self.push(line));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts it, at INFO unless `FESTOON_LOG` says otherwise, as in `FESTOON_LOG=debug`.
pub fn start() -> LastLines {
    let last = LastLines::default();
    let memory = last.clone();
    let wanted = std::env::var("FESTOON_LOG").ok().filter(|filter| !filter.is_empty());
    // What matters of tunnels, the agent says itself.
    let filter = EnvFilter::builder().parse_lossy(format!("boringtun=off,{}", wanted.as_deref().unwrap_or("info")));
    let shown = layer().with_writer(|| HarmlessLines(io::stderr())).with_target(false).with_ansi(false);
    // The journal has its own clock.
    let has_clock = std::env::var_os("JOURNAL_STREAM").is_some();
    let shown = if has_clock { shown.without_time().boxed() } else { shown.boxed() };
    let kept = layer().with_writer(move || HarmlessLines(memory.clone())).with_target(false).with_ansi(false);
    // At TRACE every exchange with the kernel would push the agent's own lines out.
    let kept =
        kept.with_filter(filter_fn(|line| *line.level() <= Level::INFO || !line.target().starts_with("netlink_proto")));
    tracing_subscriber::registry().with(filter).with(shown).with(kept).init();
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_no_more() {
        let mut last = LastLines::default();
        for number in 0..LINES + 3 {
            last.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        let lines = last.lines();
        assert_eq!((lines.len(), &*lines[0], &*lines[LINES - 1]), (LINES, "line 3", "line 2002"));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let last = LastLines::default();
        last.push(&"ä".repeat(LINE_LEN));
        last.push(&format!("a{}", "ä".repeat(LINE_LEN)));
        assert_eq!(last.lines().iter().map(String::len).collect::<Vec<_>>(), [LINE_LEN, LINE_LEN - 1]);
    }
}
