//! When snapshots are taken.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use festoon_control::registry::UnixMs;
use festoon_proto::ManagerId;
use serde::{Deserialize, Serialize};

use crate::config::{ParseDurationError, parse_duration};

/// Of snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often one is taken.
    pub every: Every,
    /// How many are kept.
    pub keep: usize,
    /// Where they are kept; in `snapshots` of the data directory by default.
    pub directory: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self { every: Every(Some(Duration::from_secs(24 * 3600))), keep: 14, directory: None }
    }
}

/// How often something is done. Written `24h`, `30m`, `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Every(pub Option<Duration>);

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.map(|every| every.as_secs()) {
            None => f.write_str("never"),
            Some(seconds) if seconds % 3600 == 0 => write!(f, "{}h", seconds / 3600),
            Some(seconds) if seconds % 60 == 0 => write!(f, "{}m", seconds / 60),
            Some(seconds) => write!(f, "{seconds}s"),
        }
    }
}

impl From<Every> for String {
    fn from(every: Every) -> Self {
        every.to_string()
    }
}

impl TryFrom<String> for Every {
    type Error = ParseDurationError;

    fn try_from(text: String) -> Result<Self, ParseDurationError> {
        if text == "never" { Ok(Self(None)) } else { parse_duration(&text).map(|every| Self(Some(every))) }
    }
}

/// Whether a snapshot is due, when the last one is of this time.
///
/// Time is divided into slots, and there is one snapshot a slot, so that a manager that is restarted often takes no more.
/// The slots of different managers begin at different times: no two do it at once, and together they have newer ones than
/// each alone.
pub(super) fn is_due(now: UnixMs, last: Option<UnixMs>, every: Duration, me: ManagerId) -> bool {
    // One from the future is of a clock that was wrong.
    last.filter(|last| *last <= now).is_none_or(|last| slot(now, every, me) != slot(last, every, me))
}

fn slot(at: UnixMs, every: Duration, me: ManagerId) -> u64 {
    let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
    // Multiples of the golden ratio stay far from one another.
    let fraction = u32::from(me.0).wrapping_mul(0x9e37_79b9);
    let shift = (u128::from(every) * u128::from(fraction)) >> 32;
    let shift = u64::try_from(shift).unwrap_or_default();
    at.0.saturating_add(shift) / every
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn there_is_one_a_day_however_often_it_is_asked() {
        for me in (1..20).map(ManagerId) {
            let (mut last, mut taken) = (None, Vec::new());
            for hour in 0..240 {
                let now = UnixMs(1_795_242_158_000 + hour * HOUR_MS);
                if is_due(now, last, DAY, me) {
                    last = Some(now);
                    taken.push(hour);
                }
            }
            assert_eq!(taken[0], 0, "the first at once");
            assert!((10..=11).contains(&taken.len()), "{taken:?}");
            assert!(taken[1..].windows(2).all(|pair| pair[1] - pair[0] == 24), "{taken:?}");
        }
    }

    #[test]
    fn managers_take_them_at_different_times() {
        let due = |me| (0..24 * 60).find(|minute| is_due(UnixMs((minute + 1) * 60_000), Some(UnixMs(0)), DAY, me));
        let mut times: Vec<u64> = (1..=9).map(|me| due(ManagerId(me)).unwrap_or(24 * 60)).collect();
        times.sort_unstable();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 60), "{times:?} in minutes");
    }

    #[test]
    fn a_clock_that_was_ahead_stops_nothing() {
        let now = UnixMs(1_795_242_158_000);
        assert!(is_due(now, Some(now.after(1)), DAY, ManagerId(1)));
        assert!(!is_due(now, Some(now), DAY, ManagerId(1)));
    }

    #[test]
    fn it_is_written_as_people_do() {
        let config: Config = toml::from_str("every = \"90m\"\nkeep = 3").unwrap();
        assert_eq!((config.every.0, config.keep), (Some(Duration::from_secs(5400)), 3));
        assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()), Ok(config));
        assert_eq!(toml::from_str::<Config>("every = \"never\"").unwrap().every, Every(None));
        assert_eq!(Config::default().every.to_string(), "24h");
        let error = toml::from_str::<Config>("every = \"daily\"").unwrap_err().to_string();
        assert!(error.contains("as in 45s, 30m, 12h or 7d"), "{error}");
    }
}
