//! How far the times that changes carry may be from that of the cluster.

use serde::{Deserialize, Serialize};

use super::change::{Change, Who};
use super::{Command, UnixMs};

/// Clocks that differ by no more agree with each other, in milliseconds.
pub const CLOCK_TOLERANCE_MS: u64 = 5 * 60_000;

/// A change carries a time that is not the time of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ClockError {
    /// It was made by another clock.
    #[error(
        "the clock of the manager that made this change is {} the clocks of the majority: nothing was changed. Set its clock (see `timedatectl`), or ask another manager", ahead_text(*.ahead_ms)
    )]
    Differs {
        /// How far that clock is ahead, in milliseconds.
        ahead_ms: i64,
    },
    /// Nobody knows what the time is.
    #[error(
        "the clocks of the managers differ by more than 5 minutes, or too few answer, so nobody knows what the time is: nothing was changed. See `festoon-manager status`, and set the clocks (`timedatectl`)"
    )]
    Unknown,
}

impl ClockError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Differs { .. } => "clock-differs",
            Self::Unknown => "time-unknown",
        }
    }
}

/// As in "2 h 5 min ahead of".
fn ahead_text(ahead_ms: i64) -> String {
    let minutes = ahead_ms.unsigned_abs() / 60_000;
    let (days, hours, rest) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    let far = match (days, hours) {
        (0, 0) => format!("{rest} min"),
        (0, _) => format!("{hours} h {rest} min"),
        _ => format!("{days} days {hours} h"),
    };
    format!("{far} {}", if ahead_ms < 0 { "behind" } else { "ahead of" })
}

impl Change {
    /// The times that decide what it does: what has expired by then, and until when what it makes is good.
    pub fn dates(&self) -> impl Iterator<Item = UnixMs> {
        let parts = match &self.command {
            Command::Batch(parts) => parts.as_slice(),
            command => std::slice::from_ref(command),
        };
        parts.iter().filter_map(Command::now).chain(self.is_dated().then_some(self.at))
    }

    /// Whether the time when it was wanted decides what it does.
    pub(super) const fn is_dated(&self) -> bool {
        self.key.is_some() || matches!(self.by.who, Who::Endpoint(_))
    }

    /// Whether its dates are those of a clock that shows `now`.
    pub fn check_dates(&self, now: UnixMs) -> Result<(), ClockError> {
        let ahead = |date: UnixMs| i64::try_from(i128::from(date.0) - i128::from(now.0)).unwrap_or(i64::MAX);
        let farthest = self.dates().map(ahead).max_by_key(|ahead| ahead.unsigned_abs());
        match farthest {
            Some(ahead_ms) if ahead_ms.unsigned_abs() > CLOCK_TOLERANCE_MS => Err(ClockError::Differs { ahead_ms }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);

    #[test]
    fn a_date_is_taken_from_a_clock_that_is_nearly_right_and_from_no_other() {
        let expire = |now: u64| Change::from(Command::Expire(UnixMs(now)));
        for good in [NOW.0, NOW.0 + CLOCK_TOLERANCE_MS, NOW.0 - CLOCK_TOLERANCE_MS] {
            assert_eq!(expire(good).check_dates(NOW), Ok(()));
        }
        for (bad, ahead_ms) in [
            (NOW.0 + CLOCK_TOLERANCE_MS + 1, 300_001),
            (NOW.0 - 3_600_000, -3_600_000),
            (u64::MAX, i64::MAX),
            (0, -1_700_000_000_000),
        ] {
            assert_eq!(expire(bad).check_dates(NOW), Err(ClockError::Differs { ahead_ms }));
            let batch = Command::Batch(vec![Command::Expire(NOW), Command::Expire(UnixMs(bad))]);
            assert_eq!(Change::from(batch).check_dates(NOW), Err(ClockError::Differs { ahead_ms }));
        }
        let undated = Change { at: UnixMs(1), ..Change::from(Command::Note(super::super::Deed::TakeSnapshot)) };
        assert_eq!(undated.check_dates(NOW), Ok(()), "nothing depends on when it was wanted");
    }

    #[test]
    fn how_far_a_clock_is_off_is_told_in_words() {
        for (ahead_ms, text) in [
            (6 * 60_000, "6 min ahead of"),
            (-125 * 60_000, "2 h 5 min behind"),
            (31 * 86_400_000, "31 days 0 h ahead of"),
        ] {
            assert_eq!(ahead_text(ahead_ms), text);
        }
    }
}
