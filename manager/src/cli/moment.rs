//! A time as an admin writes it.

use std::str::FromStr;
use std::time::Duration;

use festoon_api::Time;

use super::record::now;
use crate::config::parse_duration;

/// When something ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// It does not.
    Never,
    /// So long from now on.
    In(Duration),
    /// Then.
    At(Time),
}

/// A text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a length of time, as in 12h or 7d, a time, as in 2026-11-21T15:04:05Z, or never")]
pub(super) struct ParseMomentError;

impl FromStr for Moment {
    type Err = ParseMomentError;

    fn from_str(text: &str) -> Result<Self, ParseMomentError> {
        if text == "never" {
            return Ok(Self::Never);
        }
        match parse_duration(text) {
            Ok(length) => Ok(Self::In(length)),
            Err(_) => text.parse().map(Self::At).map_err(|_| ParseMomentError),
        }
    }
}

impl Moment {
    /// The time; none if there is none.
    pub(super) fn time(self) -> Option<Time> {
        match self {
            Self::Never => None,
            Self::In(length) => {
                let ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
                Some(Time(now().0.saturating_add(ms)))
            }
            Self::At(time) => Some(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_length_a_time_or_never() {
        assert_eq!("never".parse(), Ok(Moment::Never));
        assert_eq!("7d".parse(), Ok(Moment::In(Duration::from_secs(604_800))));
        assert_eq!("1970-01-01T00:00:01Z".parse(), Ok(Moment::At(Time(1000))));
        assert_eq!("soon".parse::<Moment>(), Err(ParseMomentError));
    }
}
