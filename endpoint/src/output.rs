//! What commands that tell something print.

use std::fmt::Display;

use clap::ValueEnum;
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
            Self::Table => print!("{value}"),
            Self::Json => println!("{}", serde_json::to_string_pretty(value)?),
        }
        Ok(())
    }
}
