//! What a command prints: a table for people, JSON or YAML for programs.

mod figures;
mod hidden;
mod qr;
mod table;
mod terminal;
mod watch;

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use serde::Serialize;

pub(super) use figures::{ago_of, bytes, list_of, or_dash, second, span, when};
pub(super) use qr::qr;
pub(super) use table::{Column, Table, details};
pub(super) use terminal::{ask, ask_secret, confirm, is_interactive, secret_or_line};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// All columns there are
    Wide,
    /// The API's objects
    Json,
    /// The same, in YAML
    Yaml,
}

/// How to print.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct Printing {
    /// In which form
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORM", hide_short_help = true)]
    output: Format,
    /// The same as -o json
    #[arg(long, global = true, conflicts_with = "output", hide_short_help = true)]
    json: bool,
}

/// Where a command prints to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Output {
    /// In which form.
    pub(super) format: Format,
    /// How wide the terminal is, if it is one.
    width: Option<usize>,
}

impl Printing {
    pub(super) fn output(&self) -> Output {
        let format = if self.json { Format::Json } else { self.output };
        Output { format, width: terminal::width() }
    }
}

impl Output {
    /// Whether a person reads it.
    pub(super) const fn is_for_people(self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// `value` for programs, or what `people` makes of it.
    pub(super) fn show<T: Serialize>(self, value: &T, people: impl FnOnce() -> String) -> anyhow::Result<()> {
        print(&self.text(value, people)?)
    }

    /// As [`Output::show`], of a table.
    pub(super) fn table<T: Serialize>(self, value: &T, table: impl FnOnce() -> Table) -> anyhow::Result<()> {
        print(&self.table_text(value, table)?)
    }

    fn text<T: Serialize>(self, value: &T, people: impl FnOnce() -> String) -> anyhow::Result<String> {
        Ok(match self.format {
            Format::Table | Format::Wide => people(),
            Format::Json => serde_json::to_string_pretty(value)? + "\n",
            Format::Yaml => serde_saphyr::to_string(value)?,
        })
    }

    fn table_text<T: Serialize>(self, value: &T, table: impl FnOnce() -> Table) -> anyhow::Result<String> {
        self.text(value, || self.rendered(&table()))
    }

    /// A table as it is shown here.
    pub(super) fn rendered(self, table: &Table) -> String {
        table.render(self.format == Format::Wide, self.width)
    }

    /// One object of many, on a line of its own for programs.
    pub(super) fn line<T: Serialize>(self, value: &T, people: impl FnOnce() -> String) -> anyhow::Result<()> {
        print(&match self.format {
            Format::Table | Format::Wide => people(),
            Format::Json => serde_json::to_string(value)? + "\n",
            Format::Yaml => format!("---\n{}", serde_saphyr::to_string(value)?),
        })
    }

    /// What was done, for people alone: programs know by the exit code.
    pub(super) fn say(self, text: &str) -> anyhow::Result<()> {
        match self.is_for_people() {
            true => print(&format!("{text}\n")),
            false => Ok(()),
        }
    }
}

/// Prints `text` as it is. That nobody reads it any more is an error, which ends the program quietly.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn programs_get_the_same_in_json_and_yaml() {
        let value = json!([{"name": "a", "tags": ["x", "no", "1"], "expires": null, "version": 7}, {"name": "b: c", "tags": []}]);
        let text = |format| Output { format, width: None }.text(&value, || "people\n".to_owned()).unwrap();
        assert_eq!(text(Format::Table), "people\n");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text(Format::Json)).unwrap(), value);
        let yaml = text(Format::Yaml);
        assert!(yaml.contains("  name: a\n"), "{yaml}");
        assert!(
            yaml.contains("version: 7\n")
                && yaml.contains("name: \"b: c\"\n")
                && !yaml.contains("- no\n")
                && !yaml.contains("- 1\n"),
            "{yaml}"
        );
    }
}
