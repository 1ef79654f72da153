//! `festoon debug bundle`: one file with what helps to find a fault, and nothing that is secret.
//!
//! It is made of what is named here and of nothing else: values of types that hold no secrets, written anew, and the output of a
//! few fixed commands and files of the host. The state directory is never copied. As a second line, what holds a secret of
//! this endpoint all the same is left out, and the index says so.

mod archive;
mod host;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::UNIX_EPOCH;

use serde::Serialize;

use crate::config::Config;
use crate::control::{self, Settings};
use crate::netcheck::netcheck;
use crate::state::StateDir;

pub use archive::{ArchiveError, write};

/// The file that says what is in the others.
pub const INDEX: &str = "INDEX";

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path in the bundle.
    pub name: String,
    /// What it is, in one line.
    pub about: String,
    /// What is in it.
    pub content: Vec<u8>,
}

impl Entry {
    fn new(name: impl Into<String>, about: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), about: about.into(), content: content.into() }
    }

    /// A value as JSON, or why there is none.
    fn json<T: Serialize, E: std::fmt::Display>(name: &str, about: &str, value: Result<T, E>) -> Self {
        let text = match value {
            Ok(value) => serde_json::to_string_pretty(&value).unwrap_or_else(|error| error.to_string()),
            Err(error) => format!("none: {error}"),
        };
        Self::new(name, about, text + "\n")
    }
}

/// Gathers everything. What cannot be had is told of in its place.
pub async fn gather(config: &Config) -> Vec<Entry> {
    let mut entries = vec![
        Entry::new("version", "the version of this program", format!("festoon {}\n", env!("CARGO_PKG_VERSION"))),
        Entry::json("config.json", "the options of this command", Ok::<_, String>(Settings::from(config))),
        Entry::json("state.json", "the files of the state directory, without their content", files(config)),
        Entry::json("map.json", "the last map: managers, network, public keys", StateDir::new(&config.state_dir).map()),
        Entry::json(
            "status.json",
            "what `festoon status` shows, counters of dropped packets too",
            control::status(&config.socket()),
        ),
    ];
    match control::facts(&config.socket()) {
        Ok(facts) => {
            let log = facts.log.join("\n") + "\n";
            let agent = (&facts.version, &facts.settings, &facts.io);
            entries.push(Entry::json(
                "agent.json",
                "the running agent: version, options, counters of its socket and device",
                Ok::<_, String>(agent),
            ));
            entries.push(Entry::new("log", "the last lines of the running agent's log", log));
        }
        Err(error) => entries.push(Entry::new("log", "the last lines of the agent's log", format!("none: {error}\n"))),
    }
    let checked = netcheck(config).await.map_err(|error| format!("{error:#}"));
    entries.push(Entry::json("netcheck.json", "what `festoon netcheck` finds", checked));
    entries.extend(host::gather());
    finish(entries, &secrets(config))
}

/// Leaves out what holds a secret, and puts the index in front.
fn finish(entries: Vec<Entry>, secrets: &[String]) -> Vec<Entry> {
    let is_clean = |entry: &Entry| !secrets.iter().any(|secret| contains(&entry.content, secret.as_bytes()));
    let (clean, foul): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(is_clean);
    let mut index = String::from("A debug bundle of Festoon, without keys, tokens and credentials.\n\n");
    for Entry { name, about, content } in &clean {
        index += &format!("{name:32} {:>8} bytes  {about}\n", content.len());
    }
    for Entry { name, about, .. } in &foul {
        index += &format!("{name:32} left out, for a secret of this endpoint was in it; please report this  {about}\n");
    }
    [vec![Entry::new(INDEX, "this list", index)], clean].concat()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

/// What must be in no bundle, in all ways in which programs write it.
fn secrets(config: &Config) -> Vec<String> {
    let identity = StateDir::new(&config.state_dir).identity();
    identity.ok().flatten().map_or_else(Vec::new, |identity| identity.secret_texts())
}

/// A file of the state directory, from outside.
#[derive(Debug, Serialize)]
struct StateFile {
    name: &'static str,
    bytes: u64,
    mode: String,
    changed_unix_s: Option<u64>,
}

fn files(config: &Config) -> Result<Vec<StateFile>, String> {
    let file = |name: &'static str| {
        let metadata = fs::metadata(config.state_dir.join(name)).ok()?;
        let changed = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Some(StateFile {
            name,
            bytes: metadata.len(),
            mode: format!("{:o}", metadata.permissions().mode() & 0o7777),
            changed_unix_s: changed.map(|since| since.as_secs()),
        })
    };
    Ok(crate::state::FILES.into_iter().filter_map(file).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_secret_is_left_out_and_the_index_says_so() {
        let entries = vec![Entry::new("a", "good", "fine"), Entry::new("b", "bad", "it is canary!")];
        let finished = finish(entries, &["canary".into(), String::new()]);
        assert_eq!(finished.iter().map(|it| &*it.name).collect::<Vec<_>>(), [INDEX, "a"]);
        let index = String::from_utf8(finished[0].content.clone()).unwrap();
        assert!(index.lines().any(|line| line.starts_with("a ") && line.ends_with("4 bytes  good")), "{index}");
        assert!(index.lines().any(|line| line.starts_with("b ") && line.contains("left out")), "{index}");
        assert!(!index.contains("canary"));
    }
}
