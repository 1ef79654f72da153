//! `festoon-manager audit`: who did what.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use festoon_control::registry::audit;
use serde_json::Value;

use super::client::{Query, api};
use super::output::{Column, Table, or_dash, print_people, second, warn};
use super::record::Session;
use super::snapshot::Output as NewFile;
use super::telling::{subject, who};

/// Entries that are asked for at once.
const PAGE: usize = 10_000;
/// Entries that are shown if nobody says how many.
const USUAL: u16 = 100;
const MOST: i64 = PAGE as i64;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// List who did what, the latest last
    List {
        /// So many of the latest, 10000 at most; `audit export` has all
        #[arg(long, visible_alias = "limit", value_name = "N", default_value_t = USUAL,
            value_parser = clap::value_parser!(u16).range(1..=MOST))]
        last: u16,
        /// Those with higher numbers
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
    },
    /// Write the audit log down, all that is on this manager, as lines of JSON that are chained by their hashes
    Export {
        /// Where to: a new file, or - for the standard output
        file: PathBuf,
        /// Those with higher numbers alone, and none if the next is not on this manager [default: from the oldest that is]
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
    },
    /// See that in a log that was written down no line is removed or altered; needs no manager
    ///
    /// The chain alone does not reveal a log that was rewritten as a whole. To detect that, keep its heads (the hash of the newest
    /// entry at some time) elsewhere: every event destination gets them as events of the kind audit.head, and each manager logs
    /// them as `audit head`.
    Verify {
        /// The file
        file: PathBuf,
        /// A file with heads that were kept elsewhere, or - for the standard input: events in JSON, or lines of a manager's log
        #[arg(long, value_name = "FILE")]
        heads: Option<PathBuf>,
    },
}

pub(super) async fn run(
    session: impl FnOnce() -> anyhow::Result<Session>,
    command: AuditCommand,
) -> anyhow::Result<()> {
    match command {
        AuditCommand::List { last, after } => list(&session()?, last, after).await,
        AuditCommand::Export { file, after } => export(&session()?, &file, after).await,
        AuditCommand::Verify { file, heads } => verify(&file, heads.as_deref()),
    }
}

/// Gives every line behind `after` to `each`, or from the oldest that is there. That the next is missing is an error.
async fn lines(
    session: &Session,
    mut after: Option<u64>,
    mut each: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    loop {
        let query = Query::of("/audit").with("after", after).with("limit", Some(PAGE)).with("format", Some("jsonl"));
        let text = session.client.text(&api(query.as_str())).await?;
        let mut last = None;
        for line in text.lines() {
            each(line)?;
            last = Some(line);
        }
        let Some(last) = last else { return Ok(()) };
        after = Some(number(last)?);
    }
}

fn number(line: &str) -> anyhow::Result<u64> {
    let entry: Value = serde_json::from_str(line)?;
    entry["number"].as_u64().context("an entry of the audit log has no number")
}

async fn list(session: &Session, last: u16, after: u64) -> anyhow::Result<()> {
    let query = Query::of("/audit").with("after", Some(after)).with("last", Some(last)).with("format", Some("jsonl"));
    let text = session.client.text(&api(query.as_str())).await?;
    let entries: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    session.output.table(&entries, || table(&entries))?;
    let first = entries.first().and_then(|entry| entry["number"].as_u64());
    if let Some(up_to) = first.map(|first| first.saturating_sub(1)).filter(|up_to| *up_to > after) {
        warn(&format!(
            "Entries up to number {up_to} are not listed: `audit list --last N` lists more, and `audit export` writes all that this manager has."
        ));
    }
    Ok(())
}

fn table(entries: &[Value]) -> Table {
    let columns = [
        Column::if_room(1, "NUMBER"),
        Column::always("TIME"),
        Column::always("WHO"),
        Column::if_room(2, "FROM"),
        Column::always("DID"),
        Column::always("TO"),
        Column::wide("BEFORE"),
        Column::wide("AFTER"),
    ];
    let row = |entry: &Value| {
        let json = |member: &str| or_dash(entry.get(member));
        vec![
            json("number"),
            entry["at"].as_str().and_then(|at| at.parse().ok()).map_or_else(|| json("at"), second),
            who(&entry["by"]),
            or_dash(entry["by"]["from"].as_str()),
            or_dash(entry["action"].as_str()),
            or_dash(entry.get("subject").map(subject)),
            json("before"),
            json("after"),
        ]
    };
    Table::new(&columns, "Nobody has done anything yet.").rows(entries.iter().map(row))
}

async fn export(session: &Session, file: &Path, after: Option<u64>) -> anyhow::Result<()> {
    let mut output = NewFile::create_text(file)?;
    let mut first = None;
    let write = |line: &str| {
        first = first.map_or_else(|| number(line), Ok).map(Some)?;
        Ok(writeln!(output, "{line}")?)
    };
    lines(session, after, write).await?;
    output.finish()?;
    if let Some(up_to) = first.map(|first| first.saturating_sub(1)).filter(|up_to| *up_to > after.unwrap_or_default()) {
        warn(&format!("Entries up to number {up_to} are not on this manager: the export begins after them."));
    }
    Ok(())
}

fn verify(file: &Path, heads: Option<&Path>) -> anyhow::Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    if let Some(heads) = heads {
        return verify_against(file, &text, heads);
    }
    match audit::verify(text.lines())? {
        Some((number, hash)) => print_people(&format!(
            "{} is whole: {} entries up to number {number}, whose hash is {hash}.",
            file.display(),
            text.lines().count()
        )),
        None => bail!("{} has no entries", file.display()),
    }
}

fn verify_against(file: &Path, text: &str, heads: &Path) -> anyhow::Result<()> {
    let kept = match heads == Path::new("-") {
        true => io::read_to_string(io::stdin().lock()),
        false => fs::read_to_string(heads),
    };
    let kept = audit::anchors_in(&kept.with_context(|| format!("can't read {}", heads.display()))?);
    let fit = audit::verify_against(text.lines(), &kept).with_context(|| file.display().to_string())?;
    print_people(&format!(
        "{} is whole up to entry {}, and matches {} heads that were kept elsewhere.",
        file.display(),
        fit.last,
        fit.fitting
    ))?;
    if fit.anchored < fit.last {
        print_people(&format!(
            "There is no kept head of entries {} to {}: nothing confirms those yet.",
            fit.anchored + 1,
            fit.last
        ))?;
    }
    if fit.older > 0 {
        print_people(&format!(
            "{} heads were not checked: they are of entries before the first one in the file.",
            fit.older
        ))?;
    }
    Ok(())
}
