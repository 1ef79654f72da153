//! The configuration file of `festoon-manager serve`: what is local to one machine. All else is in the registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{deliver, driver, https, metrics, snapshot, telemetry};

/// All of it. Every part belongs to the subsystem of that name; unknown keys are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Tunnels and links.
    pub underlay: driver::Config,
    /// The HTTPS listener.
    pub https: https::Config,
    /// Snapshots.
    pub snapshots: snapshot::Config,
    /// Metrics.
    pub metrics: metrics::Config,
    /// Events that are sent to places outside the cluster.
    pub delivery: deliver::Config,
    /// Logs.
    pub log: telemetry::Config,
}

/// A text is no length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a number and a unit, as in 45s, 30m, 12h or 7d")]
pub struct ParseDurationError;

/// A length of time as people write it, in whole seconds, at least one.
pub fn parse_duration(text: &str) -> Result<Duration, ParseDurationError> {
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(ParseDurationError)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(ParseDurationError),
    };
    let number: u32 = number.parse().ok().filter(|&number| number > 0).ok_or(ParseDurationError)?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no configuration.
    #[error("{path}: {text}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and what.
        text: String,
    },
}

impl Config {
    /// The names of the parts in which this one differs from another.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let parts = [
            ("underlay", self.underlay == other.underlay),
            ("https", self.https == other.https),
            ("snapshots", self.snapshots == other.snapshots),
            ("metrics", self.metrics == other.metrics),
            ("delivery", self.delivery == other.delivery),
            ("log", self.log == other.log),
        ];
        parts.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name).collect()
    }

    /// From `path`; the defaults without one.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            ConfigError::Toml { path: path.to_owned(), text: format!("line {line}: {}", error.message()) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("45s"), Ok(Duration::from_secs(45)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        for bad in ["", "5", "0s", "h", "-1h", "1w", "1ä"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_is_read_and_an_unknown_key_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("manager.toml");
        fs::write(&path, "[https]\nlisten = \"127.0.0.1:8443\"\n[log]\nfilter = \"debug\"\n").unwrap();
        let config = Config::load(Some(&path)).unwrap();
        assert_eq!(config.https.listen, Some(([127, 0, 0, 1], 8443).into()));
        assert_eq!(config.log.filter, "debug");
        fs::write(&path, "[https]\nlisten = \"127.0.0.1:8443\"\nlissten = 1\n").unwrap();
        let error = Config::load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("line 3: unknown field `lissten`"), "{error}");
        assert_eq!(Config::load(None).unwrap(), Config::default());
    }
}
