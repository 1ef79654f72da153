//! The configuration file of `festoon-manager serve`: what is local to one machine. All else is in the registry.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{driver, https, telemetry};

/// All of it. Every part belongs to the subsystem of that name; unknown keys are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Tunnels and links.
    pub underlay: driver::Config,
    /// The HTTPS listener.
    pub https: https::Config,
    /// Logs.
    pub log: telemetry::Config,
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
