//! What commands print: for people with text from outside made harmless, for programs exactly.

use std::fmt::Display;

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
    pub fn print(self, value: &(impl Serialize + Display)) -> serde_json::Result<()> {
        match self {
            Self::Table => print!("{}", harmless_lines(&value.to_string())),
            Self::Json => println!("{}", serde_json::to_string_pretty(value)?),
        }
        Ok(())
    }
}

/// Prints a line for people.
pub fn say(text: &str) {
    println!("{}", harmless(text));
}

/// Tells people something beside the output.
pub fn warn(text: &str) {
    eprintln!("festoon: {}", harmless(text));
}
