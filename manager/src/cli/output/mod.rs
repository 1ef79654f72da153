//! What a command prints: a table for people, JSON or YAML for programs.
//!
//! All that is for people goes through [`print_people`], [`warn`] or the questions in `terminal`, which make text from outside
//! harmless. What is for programs is printed exactly as it is.

mod figures;
mod hidden;
mod qr;
mod table;
mod terminal;
mod watch;

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use festoon_proto::harmless::{harmless, harmless_lines};
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
            Format::Table | Format::Wide => harmless_lines(&people()).into_owned(),
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
            Format::Table | Format::Wide => harmless(people().trim_end()).into_owned() + "\n",
            Format::Json => serde_json::to_string(value)? + "\n",
            Format::Yaml => format!("---\n{}", serde_saphyr::to_string(value)?),
        })
    }

    /// What was done, for people alone: programs know by the exit code.
    pub(super) fn say(self, text: &str) -> anyhow::Result<()> {
        match self.is_for_people() {
            true => print_people(text),
            false => Ok(()),
        }
    }
}

/// Prints `text` for people, with an end of line.
pub(super) fn print_people(text: &str) -> anyhow::Result<()> {
    print(&format!("{}\n", harmless_lines(text)))
}

/// Tells people something beside the output, with an end of line. That nobody reads it is no error.
pub(super) fn warn(text: &str) {
    let _ = io::stderr().lock().write_all(format!("{}\n", harmless_lines(text)).as_bytes());
}

/// Prints `text` as it is, for programs. That nobody reads it any more is an error, which ends the program quietly.
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
    fn people_see_what_a_terminal_would_obey_and_programs_get_it_exactly() {
        let evil = "a\x1b[2J\u{202e}b\nc";
        let value = json!([{ "name": evil }]);
        let table = |text: &str| Table::new(&[Column::always("NAME")], "none").rows([vec![text.to_owned()]]);
        let text = |format| Output { format, width: None }.table_text(&value, || table(evil)).unwrap();
        assert_eq!(text(Format::Table), "NAME\na\\u{1b}[2J\\u{202e}b\\nc\n");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text(Format::Json)).unwrap(), value);
        assert_eq!(text(Format::Yaml), serde_saphyr::to_string(&value).unwrap());
        let shown = Output::default().text(&value, || details(evil, &[("note", evil.to_owned())])).unwrap();
        assert_eq!(shown, "a\\u{1b}[2J\\u{202e}b\\nc\n  note  a\\u{1b}[2J\\u{202e}b\\nc\n");
    }

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
