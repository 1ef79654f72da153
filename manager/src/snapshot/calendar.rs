//! Times as people read them, in UTC.

use festoon_control::registry::UnixMs;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// ISO 8601, basic format, as in `20261121T062238Z`.
const COMPACT: &str = "%Y%m%dT%H%M%SZ";

/// As in `20261121T062238Z`.
pub(super) fn compact(at: UnixMs) -> String {
    timestamp(at).strftime(COMPACT).to_string()
}

/// As in `2026-11-21 06:22:38 UTC`.
pub fn readable(at: UnixMs) -> String {
    timestamp(at).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The time in a text of [`compact`].
pub(super) fn parse_compact(text: &str) -> Option<UnixMs> {
    let parsed = DateTime::strptime(COMPACT, text).ok()?.to_zoned(TimeZone::UTC).ok()?;
    let at = UnixMs(parsed.timestamp().as_millisecond().try_into().ok()?);
    // Whatever is odd about it comes out differently.
    (compact(at) == text).then_some(at)
}

/// The latest there is for one that no calendar reaches.
fn timestamp(at: UnixMs) -> Timestamp {
    i64::try_from(at.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_795_242_158, "20261121T062238Z"),
            (4_107_542_399, "21000228T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
            (16_725_225_600, "25000101T000000Z"),
        ] {
            assert_eq!(compact(UnixMs(seconds * 1000)), text);
            assert_eq!(parse_compact(text), Some(UnixMs(seconds * 1000)));
        }
        assert_eq!(readable(UnixMs(1_795_242_158_999)), "2026-11-21 06:22:38 UTC");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "20261121",
            "20261321T062238Z",
            "20260230T000000Z",
            "20261121T250000Z",
            "2026112XT062238Z",
            "20261121T0622385",
        ] {
            assert_eq!(parse_compact(bad), None, "{bad}");
        }
    }
}
