//! Logs, to stderr. Text from outside is made harmless, and an entry is one line.

use std::fmt;
use std::io;
use std::sync::Arc;

use festoon_proto::harmless::HarmlessLines;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// What says too much for anybody who does not ask for it by name. What matters of it, our own parts say.
const QUIET: &str = "openraft=off,boringtun=off";

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

/// The filter of the running program.
#[derive(Clone)]
pub struct Filter(Arc<dyn Fn(EnvFilter) + Send + Sync>);

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}

impl Filter {
    /// Logs what `config` says from now on. A filter that is wrong falls back to `info` and is reported.
    pub fn set(&self, config: &Config) {
        let (filter, wrong) = parse(config);
        (self.0)(filter);
        report(wrong);
    }
}

/// Starts logging. A filter that is wrong falls back to `info` and is reported.
pub fn start(config: &Config) -> Filter {
    let (filter, wrong) = parse(config);
    let subscriber = tracing_subscriber::fmt().with_writer(|| HarmlessLines(io::stderr())).with_ansi(false);
    let subscriber = subscriber.with_env_filter(filter).with_filter_reloading();
    let handle = subscriber.reload_handle();
    // Tests start several; the first wins.
    let _ = subscriber.try_init();
    report(wrong);
    // It fails only when nothing is logged any more.
    Filter(Arc::new(move |filter| drop(handle.reload(filter))))
}

/// The filter, and if it is wrong, what it is and why.
fn parse(config: &Config) -> (EnvFilter, Option<(String, String)>) {
    let filter = std::env::var("FESTOON_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = filter.unwrap_or_else(|| config.filter.clone());
    match EnvFilter::try_new(format!("{QUIET},{filter}")) {
        Ok(parsed) => (parsed, None),
        Err(error) => (EnvFilter::new("info"), Some((filter, error.to_string()))),
    }
}

fn report(wrong: Option<(String, String)>) {
    if let Some((filter, error)) = wrong {
        tracing::warn!(filter, error, "the log filter is wrong, so it is \"info\"");
    }
}
