//! Of the metrics' listener.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The port beside that of HTTPS. The ports that Prometheus's list had for programs like this are all given away.
const PORT: u16 = 8444;
/// Endpoints of one manager that have series of their own.
const ENDPOINTS: usize = 10_000;

/// Of the metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where they are served, without a login: on this machine alone by default.
    pub listen: Listen,
    /// The most endpoints that have series of their own.
    pub endpoints: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: Listen::At((Ipv4Addr::LOCALHOST, PORT).into()), endpoints: ENDPOINTS }
    }
}

/// Where something is served. Written `127.0.0.1:8444`, `[::1]:8444`, `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// Nowhere.
    Off,
    /// At this address.
    At(SocketAddr),
}

/// A text is no address to listen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an address and a port, as in 127.0.0.1:8444, or \"off\"")]
pub struct ParseListenError;

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl TryFrom<String> for Listen {
    type Error = ParseListenError;

    fn try_from(text: String) -> Result<Self, ParseListenError> {
        match text.as_str() {
            "off" => Ok(Self::Off),
            address => address.parse().map(Self::At).map_err(|_| ParseListenError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_people_do() {
        let config: Config = toml::from_str("listen = \"off\"").unwrap();
        assert_eq!((config.listen, config.endpoints), (Listen::Off, ENDPOINTS));
        let config: Config = toml::from_str("listen = \"[::1]:9000\"\nendpoints = 5").unwrap();
        assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()), Ok(config));
        assert_eq!(Config::default().listen.to_string(), "127.0.0.1:8444");
        let error = toml::from_str::<Config>("listen = \"8444\"").unwrap_err().to_string();
        assert!(error.contains("as in 127.0.0.1:8444, or \"off\""), "{error}");
    }
}
