//! A list that is shown again whenever it changes.

use std::time::Duration;

use serde::Serialize;

use super::{Format, Output, Table, print, warn};

const PERIOD: Duration = Duration::from_secs(2);
/// To the upper left corner, and nothing below it (ECMA-48).
const CLEAR: &str = "\x1b[H\x1b[2J";

impl Output {
    /// Prints what `load` gives, again whenever that changes, until the program is ended: in the place of what it gave before
    /// on a terminal, below it elsewhere, and a line each time for programs. That no manager answers for a while is no reason
    /// to stop.
    pub(in crate::cli) async fn watch<T: Serialize>(
        self,
        mut load: impl AsyncFnMut() -> anyhow::Result<(T, Table)>,
    ) -> anyhow::Result<()> {
        let mut before: Option<String> = None;
        loop {
            let now = load().await.and_then(|(value, table)| self.frame(&value, &table));
            match now {
                Ok(now) if before.as_ref() != Some(&now) => {
                    print(&format!("{}{now}", self.between(before.is_none())))?;
                    before = Some(now);
                }
                Ok(_) => {}
                Err(error) if before.is_none() => return Err(error),
                Err(error) => warn(&format!("festoon-manager: {error:#}")),
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    fn frame<T: Serialize>(self, value: &T, table: &Table) -> anyhow::Result<String> {
        match self.format {
            Format::Json => Ok(serde_json::to_string(value)? + "\n"),
            _ => self.table_text(value, || table.clone()),
        }
    }

    const fn between(self, is_first: bool) -> &'static str {
        match self.format {
            Format::Table | Format::Wide if self.width.is_some() => CLEAR,
            Format::Table | Format::Wide if !is_first => "\n",
            Format::Yaml => "---\n",
            _ => "",
        }
    }
}
