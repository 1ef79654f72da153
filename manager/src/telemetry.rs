//! Logs, to stderr. Text from outside is made harmless, and an entry is one line.

use std::io;

use festoon_proto::harmless::HarmlessLines;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// What says too much for anybody who does not ask for it by name. What matters of it, `festoon_cluster` says.
const QUIET: &str = "openraft=off";

/// Of the logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is logged, as `tracing` filters are written: `info`, `warn,festoon_manager=debug`. The environment variable
    /// `FESTOON_LOG` goes before it.
    pub filter: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { filter: "info".to_owned() }
    }
}

/// Starts logging. A filter that is wrong falls back to `info` and is reported.
pub fn start(config: &Config) {
    let filter = std::env::var("FESTOON_LOG").unwrap_or_else(|_| config.filter.clone());
    let parsed = EnvFilter::try_new(format!("{QUIET},{filter}"));
    let wrong = parsed.as_ref().err().map(ToString::to_string);
    let subscriber = tracing_subscriber::fmt().with_writer(|| HarmlessLines(io::stderr())).with_ansi(false);
    // Tests start several; the first wins.
    let _ = subscriber.with_env_filter(parsed.unwrap_or_else(|_| EnvFilter::new("info"))).try_init();
    if let Some(error) = wrong {
        tracing::warn!(filter, error, "the log filter is wrong, so it is \"info\"");
    }
}
