//! What commands print: for people with text from outside made harmless, for programs exactly.

use std::fmt::Display;
use std::io::{self, Write as _};

use clap::ValueEnum;
use festoon_proto::harmless::{harmless, harmless_lines};
use serde::Serialize;

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

impl Output {
    /// Prints `value`, with an end of line.
    ///
    /// # Errors
    /// Standard output is closed, or full.
    pub fn print(self, value: &(impl Serialize + Display)) -> io::Result<()> {
        match self {
            Self::Table => write(&harmless_lines(&value.to_string())),
            Self::Json => write(&(serde_json::to_string_pretty(value)? + "\n")),
        }
    }
}

/// `name (id)`; the id alone if that is the name too.
pub fn titled(name: &str, id: impl Display) -> String {
    let id = id.to_string();
    if name == id { id } else { format!("{} ({id})", harmless(name)) }
}

/// Prints a line for people.
///
/// # Errors
/// As for [`Output::print`].
pub fn say(text: &str) -> io::Result<()> {
    write(&(harmless(text) + "\n"))
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Whether nobody reads the output any more, as in `festoon status | head -1`. Then there is nothing to say about it either.
pub fn is_unread(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Tells people something beside the output.
pub fn warn(text: &str) {
    eprintln!("festoon: {}", harmless(text));
}
